"""Counter-based random numbers, tested as random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from flowdyn._tools import randomness as rn
from flowdyn.methods.sampling import distinct, order_of

MEMBERS, STEPS = 512, 512


def table(inputs, steps=STEPS, seed=3):
    """Numbers (step, number, member) of many members and steps."""
    keys = jnp.asarray(rn.lane_keys(seed, inputs.calls))
    members = jnp.arange(MEMBERS, dtype=jnp.uint32)
    of_step = jax.jit(lambda n: rn.fine_increments(inputs, keys, members, n).numbers)
    return np.stack([np.asarray(of_step(n)) for n in range(steps)])


@pytest.fixture(scope="module")
def tables():
    return {kind: table(rn.RandomInputs(numbers=1, kind=kind))[:, 0] for kind in rn.BITS}


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 5])
def test_bits_are_those_of_jax(seed):
    keys = jnp.asarray(rn.lane_keys(seed, 1))
    members = np.arange(9, dtype=np.uint32)
    ours = np.asarray(rn.words_at(keys, jnp.asarray(members), 77))
    key = jnp.array([seed >> 32, seed & 0xFFFFFFFF], dtype=jnp.uint32)
    theirs = threefry_2x32(key, jnp.concatenate([members, jnp.full(9, 77, jnp.uint32)]))
    assert np.array_equal(ours.ravel(), np.asarray(theirs))


# moments 1 to 4 that each kind must have, and the variance of x, x^2, x^3, x^4
MOMENTS = {"float64": [0, 1, 0, 3], "float32": [0, 1, 0, 3], "three-point": [0, 1, 0, 3], "rademacher": [0, 1, 0, 1]}


@pytest.mark.parametrize("kind", rn.BITS)
def test_moments(tables, kind):
    x = tables[kind].ravel()
    for power, expected in enumerate(MOMENTS[kind], start=1):
        sample = x**power
        assert abs(sample.mean() - expected) <= 4.5 * sample.std() / np.sqrt(x.size) + 1e-12


@pytest.mark.parametrize("kind", ["float64", "float32"])
def test_normals_are_normal_to_the_tails(tables, kind):
    x = tables[kind].ravel()
    assert stats.kstest(x, "norm").pvalue > 1e-4
    for edge in (2.0, 3.0, 4.0):
        expected = 2 * stats.norm.sf(edge) * x.size
        assert abs((np.abs(x) > edge).sum() - expected) < 5 * np.sqrt(expected) + 1


def test_quantiles_against_scipy():
    from scipy.special import ndtri

    from flowdyn._tools.quantiles import normal_quantile

    q = np.concatenate([np.linspace(-0.4999, 0.4999, 20_001), 0.5 - 2.0 ** -np.arange(2, 54.0), [-0.5 + 2.0**-53]])
    upper = np.where(q > 0, -ndtri(0.5 - q), ndtri(0.5 + q))  # 1/2 + q would round near 1
    assert np.allclose(normal_quantile(jnp.asarray(q)), upper, rtol=3e-15, atol=3e-16)


def test_single_quantiles_against_scipy():
    """Within 4 units in the last place everywhere; jax's erf_inv was 90 away in its tails."""
    from scipy.special import ndtri

    index = np.unique(np.concatenate([np.arange(0, 2**23, 5000), np.arange(4000), 2**23 - 1 - np.arange(4000)]))
    upper = -ndtri((2**24 - 2 * index - 1) * 2.0**-25)  # at u = 1/2 + (index + 1/2) 2^-24
    above, below = (np.asarray(jax.jit(rn.normal32)(jnp.asarray(w))) for w in _words_about_half(index))
    assert above.dtype == np.float32 and np.array_equal(above, -below)
    assert (np.abs(above - upper) <= 4 * np.spacing(upper.astype(np.float32))).all()


def _words_about_half(index):
    words = (index.astype(np.uint64) << np.uint64(8)).astype(np.uint32)
    return words, ~words


def test_all_numbers_in_single_precision_have_the_moments_of_a_normal():
    words = jnp.arange(2**23, dtype=jnp.uint32) << 8  # with their negatives they are all
    x = np.asarray(jax.jit(rn.normal32)(words)).astype(float)
    assert abs((x**2).mean() - 1) < 1.5e-7
    assert abs((x**4).mean() - 3) < 1e-5


def test_extreme_words_give_finite_normals():
    words = jnp.array([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], dtype=jnp.uint32)
    assert np.isfinite(rn.normal32(words)).all()
    doubles = np.asarray(rn.normal64(words[:, None], words[None, :]))
    assert np.isfinite(doubles).all()
    assert float(np.abs(doubles).max()) == pytest.approx(stats.norm.isf(0.25 * 2.0**-51), rel=1e-6)


@pytest.mark.parametrize("kind", rn.BITS)
def test_members_and_steps_are_independent(tables, kind):
    x = tables[kind]
    for values in (x, x**2 - 1):
        scale = 4.5 * values.var() / np.sqrt(values.size) + 1e-12
        assert abs((values[1:] * values[:-1]).mean()) < scale  # neighbouring steps
        assert abs((values[:, 1:] * values[:, :-1]).mean()) < scale  # neighbouring members
        assert abs((values[1:, 1:] * values[:-1, :-1]).mean()) < scale


@pytest.mark.parametrize("kind", rn.BITS)
@pytest.mark.parametrize("m", [2, 3, 40, 70])
def test_numbers_of_one_step_are_independent(kind, m):
    x = table(rn.RandomInputs(numbers=m, kind=kind), steps=64)
    flat = np.moveaxis(x, 1, 0).reshape(m, -1)
    correlation = np.corrcoef(flat) - np.eye(m)
    assert np.abs(correlation).max() < 5.5 / np.sqrt(flat.shape[1])
    assert abs(flat.var() - 1) < 6 * np.sqrt(2 / flat.size) + 1e-12


def test_seeds_and_lanes_differ():
    keys = np.concatenate([rn.lane_keys(seed, 50, stream) for seed in (0, 1) for stream in (0, 1)])
    assert len(np.unique(keys, axis=0)) == 200


def test_coarse_steps_are_sums_of_fine_ones():
    inputs, members = rn.RandomInputs(numbers=3), jnp.arange(5, dtype=jnp.uint32)
    keys = jnp.asarray(rn.lane_keys(1, inputs.calls))
    one = jax.jit(lambda n: rn.fine_increments(inputs, keys, members, n).numbers)
    fine = np.stack([np.asarray(one(n)) for n in range(8)])
    summed = jax.jit(lambda: rn.summed_increments(inputs, keys, members, 1, 4))()
    assert np.allclose(summed.numbers, fine[4:].sum(axis=0) / 2, rtol=1e-15)


def test_integers_are_uniform():
    words = np.asarray(rn.words_at(jnp.asarray(rn.lane_keys(2, 1)), jnp.arange(60_000, dtype=jnp.uint32), 0)).ravel()
    counts = np.bincount(np.asarray(rn.below(jnp.asarray(words), 7)), minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("draw", ["subset", "order"])
def test_subsets_and_orders_are_uniform(draw):
    # n = 4: all 6 subsets of two, all 24 orders, counted
    words = rn.words_at(jnp.asarray(rn.lane_keys(5, 4)), jnp.arange(48_000, dtype=jnp.uint32), 0).T
    if draw == "subset":
        drawn = np.sort(np.asarray(jax.vmap(lambda w: distinct(w[:2], 4))(words)), axis=1)
    else:
        drawn = np.asarray(jax.vmap(lambda w: order_of(w, 4))(words))
    kinds, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(kinds) == {"subset": 6, "order": 24}[draw]
    assert all(len(set(row)) == len(row) for row in kinds.tolist())
    assert stats.chisquare(counts).pvalue > 1e-4
