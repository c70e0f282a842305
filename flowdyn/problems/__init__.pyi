# made by `python -m flowdyn._tools.stubs` from the registry of this package

from flowdyn.problems.custom import CustomProblem as CustomProblem
from flowdyn.problems.custom_regression import CustomRegression as CustomRegression
from flowdyn.problems.deep_linear import DeepLinear as DeepLinear
from flowdyn.problems.diagonal_network import DiagonalNetwork as DiagonalNetwork
from flowdyn.problems.linear_classifier import LinearClassifier as LinearClassifier
from flowdyn.problems.linear_regression import LinearRegression as LinearRegression
from flowdyn.problems.quadratic import Quadratic as Quadratic
from flowdyn.problems.squared_population import SquaredPopulation as SquaredPopulation
from flowdyn.problems.squared_regression import SquaredRegression as SquaredRegression
from flowdyn.problems.streaming import Streaming as Streaming
from flowdyn.problems.symmetric_factorization import SymmetricFactorization as SymmetricFactorization

REGISTRY: dict[str, str]
__all__ = [
    "CustomProblem",
    "CustomRegression",
    "DeepLinear",
    "DiagonalNetwork",
    "LinearClassifier",
    "LinearRegression",
    "Quadratic",
    "SquaredPopulation",
    "SquaredRegression",
    "Streaming",
    "SymmetricFactorization",
]
