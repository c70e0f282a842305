# made by `python -m flowdyn._tools.stubs` from the registry of this package

from flowdyn.theory.implicit_bias import Q_alpha as Q_alpha
from flowdyn.theory.implicit_bias import Q_alpha_gradient as Q_alpha_gradient
from flowdyn.theory.implicit_bias import entropy_minimizer as entropy_minimizer
from flowdyn.theory.implicit_bias import kkt_residual as kkt_residual
from flowdyn.theory.implicit_bias import q_alpha_minimizer as q_alpha_minimizer
from flowdyn.theory.interpolation import basis_pursuit as basis_pursuit
from flowdyn.theory.interpolation import minimum_norm as minimum_norm
from flowdyn.theory.interpolation import recovery_exponent as recovery_exponent
from flowdyn.theory.isometry import rip_constant as rip_constant
from flowdyn.theory.label_noise import label_noise_penalty as label_noise_penalty
from flowdyn.theory.linear_moments import LinearNoise as LinearNoise
from flowdyn.theory.linear_moments import LinearResiduals as LinearResiduals
from flowdyn.theory.linear_moments import linear_sde_mean_cov as linear_sde_mean_cov
from flowdyn.theory.linear_moments import linear_sgd_mean_cov as linear_sgd_mean_cov
from flowdyn.theory.margin import margin_bound as margin_bound
from flowdyn.theory.margin import max_margin as max_margin
from flowdyn.theory.matrix_factors import deep_linear_time as deep_linear_time
from flowdyn.theory.matrix_factors import factor_flow as factor_flow
from flowdyn.theory.moments import ou_autocovariance as ou_autocovariance
from flowdyn.theory.moments import ou_mean_cov as ou_mean_cov
from flowdyn.theory.moments import sgd_mean_cov as sgd_mean_cov
from flowdyn.theory.moments import stationary_cov as stationary_cov
from flowdyn.theory.recovery import inner_product_distortion as inner_product_distortion
from flowdyn.theory.recovery import lemma_window as lemma_window
from flowdyn.theory.recovery import recovery_bounds as recovery_bounds
from flowdyn.theory.recovery import sup_distortion as sup_distortion
from flowdyn.theory.streaming import homogenized_moments as homogenized_moments
from flowdyn.theory.streaming import streaming_floor as streaming_floor
from flowdyn.theory.streaming import streaming_moments as streaming_moments
from flowdyn.theory.streaming import volterra_risk as volterra_risk

REGISTRY: dict[str, str]
__all__ = [
    "LinearNoise",
    "LinearResiduals",
    "Q_alpha",
    "Q_alpha_gradient",
    "basis_pursuit",
    "deep_linear_time",
    "entropy_minimizer",
    "factor_flow",
    "homogenized_moments",
    "inner_product_distortion",
    "kkt_residual",
    "label_noise_penalty",
    "lemma_window",
    "linear_sde_mean_cov",
    "linear_sgd_mean_cov",
    "margin_bound",
    "max_margin",
    "minimum_norm",
    "ou_autocovariance",
    "ou_mean_cov",
    "q_alpha_minimizer",
    "recovery_bounds",
    "recovery_exponent",
    "rip_constant",
    "sgd_mean_cov",
    "stationary_cov",
    "streaming_floor",
    "streaming_moments",
    "sup_distortion",
    "volterra_risk",
]
