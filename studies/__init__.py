"""One question of the chapter a file: run, claims, figure.  ``python -m studies`` runs them all."""

NAMES = (
    "minimum_norm",
    "population_recovery",
    "sparse_recovery",
    "signal_and_noise",
    "initialization_scale",
    "invariant",
    "kernel_regime",
    "max_margin",
    "sgd_quadratic_1d",
    "sgd_quadratic",
    "label_noise",
    "eta_to_zero",
    "deep_linear",
    "many_dimensions",
    "edge_of_stability",
    "sign_and_sam",
    "averaging",
    "mirror_and_diagonal",
    "any_optimizer",
    "momentum_noise",
)
