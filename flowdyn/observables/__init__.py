"""Observables, ready for ``observe=`` and ``stop=``: labelled functions of the parameters.

Each function returns a mapping of names to observables; join several with ``|``.
"""

from flowdyn._tools.registry import lazy

REGISTRY = {
    "Observable": "base",
    "invariant": "theorems",
    "imbalance": "layers",
    "kernel_distance": "theorems",
    "margins": "theorems",
    "signal_noise": "theorems",
    "span_residual": "theorems",
    "hessian_eigenvalues": "spectra",
    "hessian_trace": "spectra",
    "sharpness": "spectra",
    "gradient_noise_scale": "noise_scale",
}
__all__ = list(REGISTRY)
__getattr__, __dir__ = lazy(__name__, REGISTRY)
