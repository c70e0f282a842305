"""What the theorems predict, by independent means: arrays in, arrays out."""

from flowdyn.registry import lazy

REGISTRY = {
    "ou_mean_cov": "moments",
    "ou_autocovariance": "moments",
    "sgd_mean_cov": "moments",
    "stationary_cov": "moments",
    "linear_sgd_mean_cov": "linear_moments",
    "linear_sde_mean_cov": "linear_moments",
    "LinearNoise": "linear_moments",
    "label_noise_penalty": "label_noise",
}
__all__ = list(REGISTRY)
__getattr__, __dir__ = lazy(__name__, REGISTRY)
