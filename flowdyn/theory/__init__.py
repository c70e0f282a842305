"""What the theorems predict, by independent means: arrays in, arrays out."""

from flowdyn._tools.registry import lazy

REGISTRY = {
    "ou_mean_cov": "moments",
    "ou_autocovariance": "moments",
    "sgd_mean_cov": "moments",
    "stationary_cov": "moments",
    "linear_sgd_mean_cov": "linear_moments",
    "linear_sde_mean_cov": "linear_moments",
    "LinearNoise": "linear_moments",
    "LinearResiduals": "linear_moments",
    "label_noise_penalty": "label_noise",
    "streaming_moments": "streaming",
    "homogenized_moments": "streaming",
    "volterra_risk": "streaming",
    "streaming_floor": "streaming",
    "factor_flow": "matrix_factors",
    "deep_linear_time": "matrix_factors",
    "minimum_norm": "interpolation",
    "basis_pursuit": "interpolation",
    "recovery_exponent": "interpolation",
    "Q_alpha": "implicit_bias",
    "Q_alpha_gradient": "implicit_bias",
    "q_alpha_minimizer": "implicit_bias",
    "entropy_minimizer": "implicit_bias",
    "kkt_residual": "implicit_bias",
    "max_margin": "margin",
    "margin_bound": "margin",
    "rip_constant": "isometry",
    "inner_product_distortion": "recovery",
    "sup_distortion": "recovery",
    "lemma_window": "recovery",
    "recovery_bounds": "recovery",
}
__all__ = list(REGISTRY)
__getattr__, __dir__ = lazy(__name__, REGISTRY)
