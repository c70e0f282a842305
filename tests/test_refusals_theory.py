"""Refused: arguments to which no theorem applies."""

import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd
from flowdyn import observables, theory

X = [[1.0, 0.5]]
P = fd.problems.SquaredRegression(X, [1.0])


CASES = {
    "kernel distance from a zero kernel": (
        lambda: fd.observables.kernel_distance(
            fd.problems.SquaredRegression(np.arange(6.0).reshape(2, 3), [1.0, 2.0]), np.zeros(3)
        ),
        "`w0` must have a tangent kernel that is not zero",
    ),
    "coordinate beyond the features": (
        lambda: observables.signal_noise(P, 3),
        "`coordinate` must be below the number of features 2",
    ),
    "signal of other targets": (lambda: observables.signal_noise(P, 1), "`problem` must have the targets X e_1"),
    "margins of a regression": (lambda: observables.margins(P), "`problem` must be a LinearClassifier"),
    "invariant of a regression": (lambda: observables.invariant(P), "`problem` must be a DiagonalNetwork"),
    "span of a regression": (
        lambda: observables.span_residual(P),
        "`problem` must be a LinearRegression or a LinearClassifier",
    ),
    "sharpness of no step": (lambda: observables.sharpness(P, eta=0.0), "`eta` must be positive"),
    "kernel distance of one weight": (lambda: observables.kernel_distance(P, [1.0]), "`w0` must have shape"),
    "delta negative": (lambda: theory.lemma_window(-1.0, 0.1, 3), "`delta` must not be negative"),
    "v of another length": (lambda: theory.inner_product_distortion(P.X, [1.0], [1.0, 2.0]), "`v` must have shape"),
    "alpha of three": (
        lambda: theory.entropy_minimizer(X, [1.0], [1.0, 2.0, 3.0]),
        "`alpha` must be one number or have shape",
    ),
    "norm zero": (lambda: theory.margin_bound(0.0, 3), "`norm` must be positive"),
    "support beyond": (lambda: theory.recovery_exponent(X, [5]), "`support` must hold positions 0 .. 1"),
    "support negative": (lambda: theory.recovery_exponent(X, [-1]), "`support` must hold positions"),
    "support of halves": (lambda: theory.recovery_exponent(X, [0.5]), "`support` must hold positions"),
    "support of truth values": (
        lambda: theory.recovery_exponent(X, [True, False]),
        "`support` must hold positions, not truth values",
    ),
    "support beyond integers": (lambda: theory.recovery_exponent(X, [1e300]), "`support` must hold positions"),
    "dependent columns": (
        lambda: theory.recovery_exponent([[1.0, 1.0, 0.0], [1.0, 1.0, 3.0]], [0, 1]),
        "independent columns",
    ),
    "no columns": (lambda: theory.basis_pursuit(np.ones((2, 0)), [1.0, 1.0]), "`X` must have at least one row"),
    "X beyond squares": (lambda: theory.minimum_norm([[1e200]], [1.0]), r"`X` must be at most 1e\+75 in size"),
    "no rows to separate": (lambda: theory.max_margin(np.zeros((0, 2)), []), "`X` must have at least one row"),
    "seed negative": (lambda: theory.rip_constant(X, 1, seed=-1), "`seed` must be a whole number from 0 to"),
    "no rows of isometry": (lambda: theory.rip_constant(np.zeros((0, 2)), 1), "`X` must have at least one row"),
    "H empty": (lambda: theory.label_noise_penalty(np.zeros((0, 0)), 0.1, 0.1), "`H` must have at least one row"),
    "k beyond integers": (
        lambda: theory.sgd_mean_cov(1.0, 1.0, 0.1, 1.0, [1e300]),
        "`k` must be increasing whole step numbers",
    ),
    "t negative": (
        lambda: theory.recovery_bounds(0.1, 0.1, 2, [-1.0], [1.0], [1.0], [1.0]),
        "`t` must not be negative",
    ),
    "alpha tiny in pairs": (
        lambda: theory.q_alpha_minimizer(X, [1.0], ([1e-170] * 2, [1e-170] * 2)),
        "`alpha` must be between",
    ),
    "alpha tiny": (lambda: theory.entropy_minimizer(X, [1.0], 1e-170), "`alpha` must be between"),
    "alpha tiny in Q": (lambda: theory.Q_alpha([1.0], 1e-200), "`alpha` must be between 1e-75 and 1e[+]75"),
    "no interpolant of Q": (
        lambda: theory.q_alpha_minimizer([X[0], X[0]], [1.0, 2.0], 0.1),
        "`y` must have an interpolant",
    ),
    "no nonnegative interpolant": (
        lambda: theory.basis_pursuit([[1.0, 2.0]], [-1.0], nonnegative=True),
        "nonnegative interpolant",
    ),
    "no interpolant": (lambda: theory.basis_pursuit([[1.0], [1.0]], [1.0, 2.0]), "an interpolant"),
    "not separable": (
        lambda: theory.max_margin([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [1, -1, 1]),
        "must be linearly separable",
    ),
    "alpha zero": (lambda: theory.entropy_minimizer(X, [1.0], 0.0), "`alpha` must not be zero"),
    "alpha zero in both halves": (
        lambda: theory.q_alpha_minimizer(X, [1.0], (np.zeros(2), np.zeros(2))),
        "an entry that is not zero",
    ),
    "k of halves": (lambda: theory.sgd_mean_cov(1.0, 1.0, 0.1, 1.0, [2.7]), "increasing whole step numbers"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name):
    assert_refused(*CASES[name])


def test_what_cannot_be_computed_is_an_error_of_the_run():
    with pytest.raises(fd.RunError, match="Newton"):
        theory.entropy_minimizer([[1.0, 1.0]], [-1.0], 1.0)  # no positive interpolant
    with pytest.raises(fd.FlowdynError, match="beyond the range of float64"):
        theory.sgd_mean_cov(1.0, 1.0, 3.0, 1.0, [2000])
