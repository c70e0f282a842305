"""Methods: which dynamics. A file holds a recursion and its continuous limits side by side."""

from flowdyn.registry import lazy

REGISTRY = {
    "GradientDescent": "gradient_descent",
    "GradientFlow": "gradient_descent",
    "ModifiedFlow": "gradient_descent",
    "HeavyBall": "heavy_ball",
    "HeavyBallFlow": "heavy_ball",
    "Nesterov": "nesterov",
    "NesterovFlow": "nesterov",
    "ODE": "ode",
}
__all__ = list(REGISTRY)
__getattr__, __dir__ = lazy(__name__, REGISTRY)
