"""Problems: what is minimised. A problem is data and one loss function; derivatives come from autodiff."""

from flowdyn._tools.registry import lazy

REGISTRY = {
    "LinearRegression": "linear_regression",
    "SquaredRegression": "squared_regression",
    "SquaredPopulation": "squared_population",
    "DiagonalNetwork": "diagonal_network",
    "LinearClassifier": "linear_classifier",
    "Quadratic": "quadratic",
    "Streaming": "streaming",
    "DeepLinear": "deep_linear",
    "SymmetricFactorization": "symmetric_factorization",
    "CustomProblem": "custom",
    "CustomRegression": "custom_regression",
}
__all__ = list(REGISTRY)
__getattr__, __dir__ = lazy(__name__, REGISTRY)
