"""Every method with noise, one evaluation at a time: its step, its diffusion and its law, written in numpy."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import flowdyn as fd
from flowdyn._tools.randomness import Draw
from flowdyn.methods.sampling import batch_noise_scale, check_batch, distinct, order_of
from flowdyn.problems import linear_gradients
from flowdyn.theory import moments_work

A, SIGMA = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, 0.2], [0.2, 0.5]])
Q = fd.problems.Quadratic(A, noise=SIGMA)
W, Z = np.array([0.7, -1.3]), np.array([-0.4, 0.9])
X, Y = np.array([[1.0, 2.0], [0.5, -1.0], [0.3, 0.3], [-1.0, 0.4]]), np.array([1.0, 0.2, 0.4, -0.3])
LINEAR, SQUARES = fd.problems.LinearRegression(X, Y), fd.problems.SquaredRegression(X, Y)  # l_i = 2 r_i^2 and r_i^2 / 4
SCHEDULE = fd.schedules.PiecewiseConstant([0.2, 0.1], [3])


def root(S):
    lam, U = np.linalg.eigh(S)
    return (U * np.sqrt(lam)) @ U.T


def words_of(*index, n=4):
    """Words from which these indices of n are drawn: the middle of each one's share of 2^32."""
    return jnp.asarray([int((i + 0.5) / n * 2**32) for i in index], dtype=jnp.uint32)


def linear_grads(w):
    return 4 * X * (X @ w - Y)[:, None]


def squared_grads(w, shift=0.0):
    """Gradients of (f_i - y_i - shift)^2 / 4 for f = <w^2, x>."""
    return 0.5 * (X @ w**2 - Y - shift)[:, None] * 2 * X * w


def test_a_step_of_sgd():
    none = jnp.zeros(0)
    for eta, k in ((0.2, 1), (0.1, 3)):
        step = fd.SGD(LINEAR, SCHEDULE, 3).step(k, W, Draw(words_of(1, 3, 1), none), ())
        assert np.allclose(step, W - eta * linear_grads(W)[[1, 3, 1]].mean(axis=0))
        # Gaussian noise enters as the increment of the limit: + eta root(Sigma / B) z
        step = fd.SGD(Q, SCHEDULE, 4).step(k, W, Draw(none, jnp.asarray(Z)), ())
        assert np.allclose(step, W - eta * A @ W + eta * root(SIGMA) @ Z / 2)
        assert np.allclose(fd.SGD(Q, SCHEDULE).mean_step(k, W), W - eta * A @ W)
        assert np.allclose(fd.SGD(LINEAR, SCHEDULE).mean_step(k, W), W - eta * linear_grads(W).mean(axis=0))
    order = jnp.asarray([2, 0, 3, 1])
    sgd = fd.SGD(LINEAR, 0.1, 2, "reshuffle")
    for k, index in ((0, [2, 0]), (1, [3, 1]), (2, [2, 0])):
        assert np.array_equal(sgd.batch(k, jnp.zeros(0), order), index)
        assert np.allclose(sgd.step(k, W, Draw(none, none), order), W - 0.1 * linear_grads(W)[index].mean(axis=0))


def test_what_a_step_of_sgd_draws():
    drawn = {
        sampling: fd.SGD(LINEAR, 0.1, 3, sampling).random_inputs[:2] for sampling in ("with", "without", "reshuffle")
    }
    assert drawn == {"with": (3, 0), "without": (3, 0), "reshuffle": (0, 0)}
    assert fd.SGD(Q, 0.1, 3).random_inputs == (0, 2, "float64") and fd.SVAG(Q, 0.1).random_inputs[:2] == (0, 4)
    assert fd.SVAG(LINEAR, 0.1, 3).random_inputs[:2] == (6, 0) and fd.SGD(Q, 0.1).batch(0, None, ()) is None
    reshuffled, drawn = fd.SGD(LINEAR, 0.1, 3, "reshuffle"), fd.SGD(LINEAR, 0.1, 3)
    assert (reshuffled.epoch, reshuffled.epoch_bits) == (1, 256) and (drawn.epoch, drawn.epoch_bits) == (0, 0)
    assert drawn.start_epoch(None) == () and len(reshuffled.start_epoch(jnp.arange(8, dtype=jnp.uint32))) == 4
    assert fd.SGD(LINEAR, 0.1, 2, "reshuffle").epoch == 2
    assert fd.SGD(Q, 0.1).has_brownian_increments and not drawn.has_brownian_increments
    labels = fd.LabelNoiseSGD(SQUARES, 0.1, 0.5, 3), fd.LabelNoiseSGD(SQUARES, 0.1, 0.5, 3, noise="sign")
    assert [m.random_inputs for m in labels] == [(3, 3, "float64"), (3, 3, "rademacher")]
    assert (labels[0].epoch, labels[0].epoch_bits, labels[0].start_epoch(None)) == (0, 0, ())
    assert not labels[0].has_brownian_increments


def test_a_random_order_is_that_of_its_keys_of_64_bits():
    words = jnp.asarray([7, 1, 0, 5, 7, 0, 0, 9, 3, 2], dtype=jnp.uint32)  # high, low; ties of the high word
    keys = [7 * 2**32 + 1, 5, 7 * 2**32, 9, 3 * 2**32 + 2]
    assert np.array_equal(order_of(words, 5), np.argsort(keys))
    assert np.array_equal(order_of(words, 4), np.argsort(keys[:4]))
    top = jnp.asarray([2**31, 0, 3, 0, 2**31, 5], dtype=jnp.uint32)  # the highest bit counts
    assert np.array_equal(order_of(top, 3), [1, 0, 2])


def test_distinct_indices_are_every_subset_equally_often():
    """Floyd: j-th draw from 0 .. n - B + j, all 4 x 5 pairs of draws once: each of the 10 subsets of 2 of 5 twice."""
    found = [distinct(jnp.concatenate([words_of(i, n=4), words_of(j, n=5)]), 5) for i in range(4) for j in range(5)]
    counts = dict.fromkeys(itertools.combinations(range(5), 2), 0)
    for pair in found:
        counts[tuple(sorted(int(i) for i in pair))] += 1
    assert set(counts.values()) == {2}


def test_what_is_drawn_where_nothing_is_said():
    """One sample a step with replacement; the first order of the equations; a refinement of two; a limit of order 0."""
    sgd, labels, svag = fd.SGD(LINEAR, 0.1), fd.LabelNoiseSGD(SQUARES, 0.1, 0.5), fd.SVAG(LINEAR, 0.1)
    assert (sgd.batch_size, sgd.sampling) == (1, "with") and (labels.batch_size, labels.noise) == (1, "gaussian")
    assert (svag.batch_size, float(svag.l)) == (1, 2.0)
    sde, noisy = fd.StochasticModifiedEquation(LINEAR, 0.1), fd.LabelNoiseEquation(SQUARES, 0.1, 0.5)
    assert (sde.batch_size, sde.order, sde.sampling) == (1, 1, "with") and (noisy.batch_size, noisy.order) == (1, 1)
    assert isinstance(sgd.limit(), fd.GradientFlow) and isinstance(labels.limit(), fd.GradientFlow)
    assert svag.limit().order == 1 and sgd.expected_order() == labels.expected_order() == svag.expected_order() == 1.0
    own = fd.SDE(lambda t, x: -x, lambda t, x: x[:, None])
    assert (own.calculus, own.noise, own.args) == ("ito", "general", ())


def test_share_of_a_batch():
    assert batch_noise_scale(3, 10, "with") == 1 / 3 and batch_noise_scale(3, None, "without") == 1 / 3
    assert batch_noise_scale(3, 10, "without") == pytest.approx(7 / 27) and batch_noise_scale(1, 1, "without") == 0.0
    assert batch_noise_scale(10, 10, "without") == 0.0 and check_batch(10, 10, "without") == (10, "without")
    assert check_batch(12, 10, "with") == (12, "with") and check_batch(2, None, "with") == (2, "with")
    assert batch_noise_scale(1, 2, "reshuffle") == 1.0
    for bad in ((11, 10, "without"), (11, 10, "reshuffle"), (1, None, "reshuffle"), (0, 10, "with")):
        with pytest.raises(fd.ArgumentError):
            check_batch(*bad)


@pytest.mark.parametrize("l", [1.0, 2.5])
def test_a_step_of_svag(l):  # noqa: E741
    a = (1 + np.sqrt(2 * l - 1)) / 2
    svag = fd.SVAG(LINEAR, SCHEDULE, 2, l)
    g = linear_grads(W)
    for eta, k in ((0.2, 1), (0.1, 3)):
        step = svag.step(k, W, Draw(words_of(1, 3, 0, 2), jnp.zeros(0)), ())
        mixed = a * g[[1, 3]].mean(axis=0) + (1 - a) * g[[0, 2]].mean(axis=0)
        assert np.allclose(step, W - eta / l * mixed)
        assert np.allclose(svag.mean_step(k, W), W - eta / l * g.mean(axis=0))
    noise = root(SIGMA) @ (a * Z + (1 - a) * W) / np.sqrt(2)
    step = fd.SVAG(Q, 0.1, 2, l).step(0, W, Draw(jnp.zeros(0), jnp.r_[Z, W]), ())
    assert np.allclose(step, W - 0.1 / l * (A @ W - noise))
    assert np.allclose(svag.clock([0, 3, 5]), np.array([0, 0.6, 0.8]) / l)
    assert fd.SVAG(LINEAR, 0.3, 2, l).clock(5) == pytest.approx(1.5 / l)


def test_moments_of_svag_by_enumeration():
    """Two steps, each of two samples with replacement: all 4^4 sequences."""
    l, eta = 2.5, 0.1  # noqa: E741
    a = (1 + np.sqrt(2 * l - 1)) / 2
    ends = []
    for i, j, p, q in itertools.product(range(4), repeat=4):
        w = W - eta / l * (a * linear_grads(W)[i] + (1 - a) * linear_grads(W)[j])
        ends.append(w - eta / l * (a * linear_grads(w)[p] + (1 - a) * linear_grads(w)[q]))
    mean, cov = fd.SVAG(LINEAR, eta, 1, l).exact_moments(W, np.array([2]))
    assert np.allclose(mean[0], np.mean(ends, axis=0)) and np.allclose(cov[0], np.cov(np.array(ends).T, bias=True))
    _, half = fd.SVAG(LINEAR, eta, 2, l).exact_moments(W, np.array([1]))
    _, one = fd.SVAG(LINEAR, eta, 1, l).exact_moments(W, np.array([1]))
    assert np.allclose(half, one / 2)
    assert fd.SVAG(LINEAR, SCHEDULE).exact_moments(W, np.array([1])) is None
    assert fd.SVAG(SQUARES, 0.1).exact_moments(W, np.array([1])) is None


def test_where_no_law_is_known_none_is_given():
    for sgd in (fd.SGD(SQUARES, 0.1), fd.SGD(LINEAR, SCHEDULE), fd.SGD(LINEAR, 0.1, 1, "reshuffle")):
        assert sgd.exact_moments(W, np.array([1])) is None
    assert fd.SGD(SQUARES, 0.1).moments_work(2, np.array([9])) == 0.0
    for sgd in (fd.SGD(LINEAR, SCHEDULE), fd.SGD(LINEAR, 0.1, 1, "reshuffle")):
        assert sgd.moments_work(2, np.array([9])) == 0.0
    one = fd.SGD(Q, 0.1).moments_work(2, np.array([1]))  # two products of 3 x 3 matrices, and A is there
    assert one == 2 * (2 * 3**3) + 4 + 2 * moments_work.CALL
    assert fd.SGD(SQUARES, 0.1).limit(1).moments_work(2, np.array([9.0])) == 0.0
    assert fd.SGD(SQUARES, 0.1).limit(1).exact_moments(W, np.array([1.0])) is None
    assert fd.SGD(LINEAR, 0.1).limit(1).linear_law() is None
    assert fd.SDE(lambda t, x: -x, lambda t, x: x, noise="diagonal").exact_moments(W, np.array([1.0])) is None
    assert fd.LabelNoiseSGD(SQUARES, 0.1, 0.5).exact_moments(W, np.array([1])) is None


def test_orders_that_are_expected():
    sgd, quiet = fd.SGD(Q, 0.1), fd.SGD(fd.problems.Quadratic(A, noise=np.zeros((2, 2))), 0.1)
    assert [sgd.expected_order(p, "weak") for p in range(3)] == [1, 1, 2]
    assert [sgd.expected_order(p, "strong") for p in range(3)] == [0.5, 1.0, 1.5]
    assert [fd.SGD(LINEAR, 0.1).expected_order(p, "strong") for p in range(3)] == [0.5, 1.0, 1.5]
    assert [quiet.expected_order(p, "strong") for p in range(3)] == [1, 1, 2]
    labels, svag = fd.LabelNoiseSGD(SQUARES, 0.1, 0.5), fd.SVAG(Q, 0.1)
    assert [labels.expected_order(p, "weak") for p in range(3)] == [1, 1, 2] and labels.expected_order(2, "sup") == 0.5
    assert [svag.expected_order(p, "weak") for p in range(3)] == [1, 1, 1] and svag.expected_order(2, "sup") == 0.5


def test_limits_are_the_equations_of_the_same_numbers():
    for method, kind in (
        (fd.SGD(LINEAR, 0.1, 2, "without"), fd.StochasticModifiedEquation),
        (fd.SVAG(LINEAR, 0.1, 2), fd.StochasticModifiedEquation),
        (fd.LabelNoiseSGD(SQUARES, 0.1, 0.7, 2), fd.LabelNoiseEquation),
    ):
        assert isinstance(method.limit(0), fd.GradientFlow)
        for order in (1, 2):
            limit = method.limit(order)
            assert isinstance(limit, kind) and (limit.order, limit.batch_size, float(limit.eta)) == (order, 2, 0.1)
        with pytest.raises(fd.ArgumentError, match="`order` must be 1"):
            method.limit(3)
    assert fd.SGD(LINEAR, 0.1, 2, "without").limit(1).sampling == "without"
    assert float(fd.LabelNoiseSGD(SQUARES, 0.1, 0.7).limit(1).sigma) == 0.7
    with pytest.raises(fd.ArgumentError, match="one number for its limit of order 1"):
        fd.SGD(LINEAR, SCHEDULE).limit(1)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("sampling", "share"), [("with", 1 / 2), ("without", 2 / (2 * 3))])
def test_the_modified_equation_of_samples(order, sampling, share):
    eta = 0.1
    sde = fd.StochasticModifiedEquation(SQUARES, eta, 2, order, sampling)
    grads, increment = squared_grads(W), np.array([0.3, -0.2, 0.5, 0.1])
    grad = grads.mean(axis=0)
    H = (2 * (X * W).T @ (X * W) + np.diag(X.T @ (X @ W**2 - Y))) / 4
    assert np.allclose(sde.drift(0.0, W), -grad - (eta / 2 * H @ grad if order == 2 else 0.0))
    G = np.asarray(sde.diffusion(0.0, W))
    assert G.shape == (2, 4) and sde.noise_dim(W) == 4 and sde.noise == "general"
    assert np.allclose(G @ G.T, eta * share * np.cov(grads.T, bias=True), rtol=1e-10)
    assert np.allclose(sde.diffusion_product(0.0, W, increment), G @ increment)
    assert sde.default_dt(10.0) == 0.01 and sde.default_dt(1000.0) == eta / 2
    # Stratonovich's drift is Ito's less 1/2 sum_j (D g_j) g_j, by differences
    h = 1e-6
    slopes = [(np.asarray(sde.diffusion(0.0, W + h * e)) - sde.diffusion(0.0, W - h * e)) / (2 * h) for e in np.eye(2)]
    correction = 0.5 * np.einsum("kij,kj->i", slopes, G)
    assert np.abs(correction).max() > 1e-3
    assert np.allclose(sde.drift_as("stratonovich", 0.0, W), sde.drift(0.0, W) - correction, atol=1e-9)
    assert np.allclose(sde.drift_as("ito", 0.0, W), sde.drift(0.0, W))


def test_drift_in_the_other_calculus_for_a_stratonovich_equation():
    """dX = -X o dt + 0.8 X o dW: Ito's drift is -X + 0.32 X; additive noise has one drift."""
    sde = fd.SDE(lambda t, x: -x, lambda t, x: 0.8 * x, "stratonovich", "diagonal")
    assert np.allclose(sde.drift_as("ito", 0.0, W), -0.68 * W) and np.allclose(sde.drift_as("stratonovich", 0.0, W), -W)
    plain = fd.SDE(lambda t, x: -x, lambda t, x: 1 + 0 * x, "stratonovich", "additive")
    assert np.allclose(plain.drift_as("ito", 0.0, W), -W) and plain.default_dt(5.0) == 0.005
    assert plain.moments_work(3, np.arange(4)) == 30 * 4 * 7**3


def test_the_modified_equation_of_gaussian_noise():
    """A' = A + (eta/2) A^2 at order 2; D = eta Sigma / B."""
    for order, drift in ((1, A), (2, A + 0.05 * A @ A)):
        sde = fd.SGD(Q, 0.1, 4).limit(order)
        law = sde.linear_law()
        assert np.allclose(law.A, drift) and np.allclose(law.D, 0.1 * SIGMA / 4) and (law.force == 0).all()
        assert sde.noise == "additive" and sde.noise_dim(W) == 2
        assert np.allclose(sde.diffusion_product(0.0, W, Z), np.sqrt(0.1 / 4) * root(SIGMA) @ Z)
        mean, _ = sde.exact_moments(W, np.array([0.3]))
        assert np.allclose(mean[0], expm(-0.3 * drift) @ W)


def own_losses():
    """LINEAR as a user writes it."""

    def samples(w, data):
        return 2 * (data["X"] @ w - data["y"]) ** 2

    data = {"X": X, "y": Y}
    return fd.problems.CustomProblem(lambda w, data: samples(w, data).mean(), np.zeros(2), data, samples)


def test_linear_sample_gradients_are_read_off():
    matrices, vectors = 4 * X[:, :, None] * X[:, None, :], 4 * X * Y[:, None]
    short = LINEAR.linear_gradients()
    assert np.allclose(short.A, matrices.mean(axis=0)) and np.allclose(short.b, vectors.mean(axis=0))
    assert np.allclose(short.factor * short.rows[:, :, None] * short.rows[:, None], matrices)
    assert np.allclose(short.factor * short.rows * short.offsets[:, None], -vectors)
    noise = own_losses().linear_gradients()
    assert np.allclose(noise.A, matrices.mean(axis=0)) and np.allclose(noise.b, vectors.mean(axis=0))
    assert np.allclose(noise.matrices, matrices - matrices.mean(axis=0), atol=1e-12)
    assert np.allclose(noise.vectors, vectors - vectors.mean(axis=0), atol=1e-12) and (noise.additive == 0).all()
    gaussian = Q.linear_gradients()
    assert np.allclose(gaussian.A, A) and (gaussian.b == 0).all() and np.allclose(gaussian.additive, SIGMA)
    assert gaussian.matrices.shape == (0, 2, 2) and gaussian.vectors.shape == (0, 2)
    assert SQUARES.linear_gradients() is None and fd.problems.Quadratic(A).linear_gradients() is None


def test_too_many_samples_are_not_read_off(monkeypatch):
    monkeypatch.setattr(linear_gradients, "MAX_ENTRIES", 16)
    assert own_losses().linear_gradients() is not None
    monkeypatch.setattr(linear_gradients, "MAX_ENTRIES", 15)
    assert own_losses().linear_gradients() is None and own_losses().linear_work.operations == np.inf
    run = fd.solve(fd.SGD(own_losses(), 0.01), W, steps=3)
    assert run.attrs["flowdyn_law"] == "left out: its samples have too many second derivatives"


def test_label_noise_shifts_the_labels_of_what_is_drawn():
    sigma, numbers = 0.7, np.array([0.5, -1.5, 0.1])
    method = fd.LabelNoiseSGD(SQUARES, SCHEDULE, sigma, 3)
    for eta, k in ((0.2, 1), (0.1, 3)):
        grads = [squared_grads(W, sigma * z)[i] for i, z in zip((1, 3, 1), numbers, strict=True)]
        step = method.step(k, W, Draw(words_of(1, 3, 1), jnp.asarray(numbers)), ())
        assert np.allclose(step, W - eta * np.mean(grads, axis=0))
        assert np.allclose(method.mean_step(k, W), W - eta * squared_grads(W).mean(axis=0))
    quiet = fd.LabelNoiseSGD(SQUARES, 0.1, 0.0)
    assert np.allclose(quiet.step(0, W, Draw(words_of(2), jnp.ones(1)), ()), W - 0.1 * squared_grads(W)[2])
    assert fd.LabelNoiseSGD(SQUARES, 1e3, 0.1).warn_before(W) is not None and quiet.warn_before(W) is None


def test_the_equation_of_label_noise():
    """Covariance of a step's noise: that of the samples, and sigma^2 mean_i (2 c grad f_i)(2 c grad f_i)^T, c = 1/4."""
    eta, sigma, B = 0.1, 0.7, 2
    sde = fd.LabelNoiseEquation(SQUARES, eta, sigma, B)
    J = 2 * X * W
    truth = eta / B * (np.cov(squared_grads(W).T, bias=True) + sigma**2 / 4 * J.T @ J / 4)
    G, increment = np.asarray(sde.diffusion(0.0, W)), np.linspace(-0.5, 0.9, 8)
    assert G.shape == (2, 8) and sde.noise_dim(W) == 8 and np.allclose(G @ G.T, truth, rtol=1e-10)
    assert np.allclose(sde.diffusion_product(0.0, W, increment), G @ increment)
    assert (fd.LabelNoiseEquation(SQUARES, eta, sigma).batch_size, fd.LabelNoiseEquation(SQUARES, eta, 0.0).order) == (
        1,
        1,
    )


def test_an_own_equation_and_its_shapes():
    full = fd.SDE(lambda t, x, a: -a * x, lambda t, x, a: a * jnp.ones((2, 3)) * x[:, None], args=(2.0,))
    assert np.allclose(full.drift(0.0, W), -2 * W) and full.noise_dim(W) == 3 and full.is_traceable(W)
    assert np.allclose(full.diffusion(0.0, W), 2 * W[:, None] * np.ones((2, 3)))
    assert np.allclose(full.diffusion_product(0.0, W, np.array([1.0, 2.0, 4.0])), 14 * W)
    assert full.layout(5)[0].shape == (5,) and full.ravel(2.0).shape == (1,)
    for noise in ("diagonal", "additive"):
        for ones in (np.ones(2), jnp.ones(2)):
            sde = fd.SDE(lambda t, x: -x, lambda t, x, ones=ones: 3 * ones, noise=noise)
            assert np.allclose(sde.diffusion(0.0, W), 3 * np.eye(2)) and sde.noise_dim(W) == 2
            assert np.allclose(sde.diffusion_product(0.0, W, Z), 3 * Z)
    assert not fd.SDE(lambda t, x: -x, lambda t, x: np.asarray(x) * 1.0, noise="diagonal").is_traceable(W)
    for start in (np.ones((2, 2)), np.zeros(0), np.zeros((0, 2))):
        with pytest.raises(fd.ArgumentError, match="a number or a 1-dimensional array"):
            full.ravel(start)


@pytest.mark.parametrize(
    ("g", "noise", "words"),
    [
        (lambda t, x: jnp.ones((2, 2)), "diagonal", r"must return shape \(2,\) for diagonal noise"),
        (lambda t, x: jnp.ones(2), "general", r"must return shape \(2, m\)"),
        (lambda t, x: jnp.ones((3, 2)), "general", r"must return shape \(2, m\)"),
        (lambda t, x: jnp.ones((3, 2)), "additive", r"must return shape \(2, m\)"),
        (lambda t, x: jnp.ones((2, 2, 2)), "general", r"must return shape \(2, m\)"),
        (lambda t, x: 0 * x + x[1], "additive", r"must not depend on x, got 'a change with x\[1\]'"),
        (lambda t, x: x[::-1], "diagonal", r"must depend in entry i on x_i alone, got 'a change with x\[0\]'"),
    ],
)
def test_a_diffusion_that_is_not_what_it_says(g, noise, words):
    with pytest.raises(fd.ArgumentError, match=words):
        fd.SDE(lambda t, x: -x, g, noise=noise).check_start(W)


def test_a_diffusion_that_is_what_it_says():
    for g, noise in (
        (lambda t, x: x**2, "diagonal"),
        (lambda t, x: jnp.ones((2, 3)) * (1 + t), "additive"),
        (lambda t, x: x[:, None] * x, "general"),
    ):
        fd.SDE(lambda t, x: -x, g, noise=noise).check_start(W)


def test_a_linear_process_and_its_law():
    D, c, b = 0.1 * SIGMA, np.array([0.5, -1.0]), np.array([0.2, 0.3])
    M = np.array([[1.0, 0.7], [-0.2, 0.5]])
    ou = fd.OrnsteinUhlenbeck(M, D, center=c, force=b)
    assert np.allclose(ou.drift(0.0, W), b - M @ (W - c))
    assert np.allclose(ou.diffusion_product(0.0, W, Z), ou.diffusion(0.0, W) @ Z) and ou.noise_dim(W) == 2
    assert np.allclose(ou.diffusion(0.0, W) @ ou.diffusion(0.0, W).T, D)
    law = ou.linear_law()
    assert np.allclose(law.A, M) and np.allclose(law.D, D) and np.allclose(law.force, b + M @ c)
    rest = c + np.linalg.solve(M, b)
    mean, _ = ou.mean_cov(W, [0.8])
    assert np.allclose(mean[0], rest + expm(-0.8 * M) @ (W - rest))
    S = ou.stationary_cov()
    assert np.allclose(M @ S + S @ M.T, D)
    assert np.allclose(ou.autocovariance([0.3, -0.3])[0], expm(-0.3 * M) @ S)
    assert np.allclose(ou.autocovariance([0.3, -0.3])[1], S @ expm(-0.3 * M.T))
    assert ou.layout(2)[0].shape == (2,) and fd.OrnsteinUhlenbeck(1.0, 0.1).ravel(3.0).shape == (1,)
    for bad in (np.zeros((0, 0)), np.ones((2, 3))):
        with pytest.raises(fd.ArgumentError, match="`A` must be a square matrix"):
            fd.OrnsteinUhlenbeck(bad, np.eye(2))


def test_only_a_random_recursion_on_a_problem_is_linearised():
    for method in (fd.GradientDescent(Q, 0.1), fd.GradientFlow(Q), fd.SGD(Q, 0.1).limit(1), Q):
        with pytest.raises(fd.ArgumentError, match="must be a random recursion"):
            fd.linearize(method, W)
