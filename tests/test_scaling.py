"""Scaling rules: the distance of two Gaussian laws in closed form, and by sampling."""

import numpy as np
import pytest

import flowdyn as fd


def law(eta, batch, lam, steps, w0):
    """Mean and variance of w - eta (lam w - xi / sqrt(B)) by hand."""
    a = 1 - eta * lam
    return w0 * a**steps, eta**2 / batch * (1 - a ** (2 * steps)) / (1 - a**2)


@pytest.mark.parametrize("kappa", [1, 2, 4, 8])
def test_the_distance_of_two_scalar_laws(kappa):
    found = fd.scaling_rule(fd.SGD(fd.problems.Quadratic(2.0, noise=1.0), 0.01), kappa, [1.0], t=0.8)
    (m, v), (n, u) = law(0.01, 1, 2.0, 80, 1.0), law(0.01 * kappa, kappa, 2.0, 80 // kappa, 1.0)
    assert found.distance == pytest.approx(np.hypot(m - n, np.sqrt(v) - np.sqrt(u)), rel=1e-9, abs=1e-12)
    assert found.spread == pytest.approx(np.sqrt(v), rel=1e-12) and found.standard_error == 0
    assert float(found.method.eta.eta) == pytest.approx(0.01 * kappa) and found.method.batch_size == kappa


def test_the_law_moves_by_kappa_eta():
    rng = np.random.default_rng(0)
    p = fd.problems.LinearRegression(rng.standard_normal((8, 2)), rng.standard_normal(8))
    gaps = [fd.scaling_rule(fd.SGD(p, eta), 2, [30.0, -30.0], t=1.6).distance for eta in (0.04, 0.02, 0.01, 0.005)]
    assert abs(np.log2(gaps[-2] / gaps[-1]) - 1) < 0.1


def test_sampled_laws_agree_with_the_exact_ones():
    sgd = fd.SGD(fd.problems.Quadratic(2.0, noise=1.0), 0.05)
    exact, sampled = (fd.scaling_rule(sgd, 4, [1.0], t=0.8, realizations=n, seed=2) for n in (None, 20_000))
    assert sampled.standard_error > 0 and abs(sampled.distance - exact.distance) < 0.01


@pytest.mark.parametrize(
    ("eta", "kappa", "message"),
    [
        (0.5, 4, "`kappa` = 4 scales beyond the largest that is stable, 1 with eta = 0.5: `eta` = 2 is above"),
        (0.2, 40, "`kappa` = 40 scales beyond the largest that is stable, 4 with eta = 0.8: `eta` = 8 is above"),
        (1.0, 2, "`method` is in doubt before it is scaled, and is so by `kappa` = 2: `eta` = 2 is above"),
    ],
)
def test_an_unstable_scaled_method_is_warned_of(eta, kappa, message):
    """2/lambda_max is .906: before, the distance was 1.3e5 without a word."""
    p = fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]], noise=[[1.0, -0.3], [-0.3, 0.5]])
    with pytest.warns(fd.FlowdynWarning, match=message):
        fd.scaling_rule(fd.SGD(p, eta), kappa, [1.0, -1.0], t=16.0)


def test_a_stable_rule_is_not_warned_of_and_a_law_without_spread_is_measured():
    """Warnings are errors here. Without noise the distance is that of two points."""
    p = fd.problems.Streaming([1.0, 1.0], [1.0, 1.0])
    found = fd.scaling_rule(fd.SGD(p, 0.1), 4, [1.0, 1.0], t=1.6)
    assert found.distance == 0 and found.spread == 0


def test_what_has_no_rule_is_refused():
    with pytest.raises(fd.ArgumentError, match="must have a scaling rule"):
        fd.scaling_rule(fd.LabelNoiseSGD.example()[0], 2, fd.LabelNoiseSGD.example()[1], t=1.0)
    with pytest.raises(fd.ArgumentError, match="must be a whole number of steps"):
        fd.scaling_rule(fd.SGD(fd.problems.Quadratic(2.0, noise=1.0), 0.05), 4, [1.0], t=0.1)
    with pytest.raises(fd.ArgumentError, match="`method` must be a random recursion"):
        fd.scaling_rule(fd.GradientDescent.example()[0], 2, [1.0, 1.0], t=1.0)
