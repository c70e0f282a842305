"""Methods: which dynamics. A file holds a recursion and its continuous limits side by side."""

from flowdyn._tools.registry import lazy

REGISTRY = {
    "GradientDescent": "gradient_descent",
    "GradientFlow": "gradient_descent",
    "ModifiedFlow": "gradient_descent",
    "HeavyBall": "heavy_ball",
    "HeavyBallFlow": "heavy_ball",
    "Nesterov": "nesterov",
    "NesterovFlow": "nesterov",
    "DualFlow": "diagonal",
    "KernelFlow": "kernel",
    "LabelNoiseFlow": "label_noise_flow",
    "NormalizedFlow": "normalized",
    "NormalizedGradientDescent": "normalized",
    "ODE": "ode",
    "SGD": "sgd",
    "SVAG": "svag",
    "HomogenizedSGD": "homogenized",
    "StochasticModifiedEquation": "modified_equation",
    "LabelNoiseSGD": "label_noise",
    "LabelNoiseEquation": "label_noise",
    "OrnsteinUhlenbeck": "ornstein_uhlenbeck",
    "SDE": "sde",
    "Recursion": "recursion",
    "RecursionFlow": "following",
    "Optax": "optax_recursion",
    "RandomRecursion": "random_recursion",
    "RecursionEquation": "recursion_equation",
    "MeanRecursion": "scattered",
    "NoisyHeavyBall": "noisy_momentum",
    "NoisyNesterov": "noisy_momentum",
    "FixedMomentum": "fixed_momentum",
    "ShadowEquation": "fixed_momentum",
    "Langevin": "langevin",
    "SGLD": "sgld",
    "SGLDEquation": "langevin",
}
__all__ = list(REGISTRY)
__getattr__, __dir__ = lazy(__name__, REGISTRY)
