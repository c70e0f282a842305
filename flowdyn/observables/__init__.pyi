# made by `python -m flowdyn._tools.stubs` from the registry of this package

from flowdyn.observables.base import Observable as Observable
from flowdyn.observables.layers import imbalance as imbalance
from flowdyn.observables.noise_scale import gradient_noise_scale as gradient_noise_scale
from flowdyn.observables.spectra import hessian_eigenvalues as hessian_eigenvalues
from flowdyn.observables.spectra import hessian_trace as hessian_trace
from flowdyn.observables.spectra import sharpness as sharpness
from flowdyn.observables.theorems import invariant as invariant
from flowdyn.observables.theorems import kernel_distance as kernel_distance
from flowdyn.observables.theorems import margins as margins
from flowdyn.observables.theorems import signal_noise as signal_noise
from flowdyn.observables.theorems import span_residual as span_residual

REGISTRY: dict[str, str]
__all__ = [
    "Observable",
    "gradient_noise_scale",
    "hessian_eigenvalues",
    "hessian_trace",
    "imbalance",
    "invariant",
    "kernel_distance",
    "margins",
    "sharpness",
    "signal_noise",
    "span_residual",
]
