# made by `python -m flowdyn._tools.stubs` from the registry of this package

from flowdyn import comparison as comparison
from flowdyn import methods as methods
from flowdyn import observables as observables
from flowdyn import problems as problems
from flowdyn import schedules as schedules
from flowdyn import solvers as solvers
from flowdyn import theory as theory
from flowdyn._check import ArgumentError as ArgumentError
from flowdyn._check import FileError as FileError
from flowdyn._check import FlowdynError as FlowdynError
from flowdyn._check import FlowdynWarning as FlowdynWarning
from flowdyn._check import RunError as RunError
from flowdyn.convergence.dimension_limits import dimension_limit as dimension_limit
from flowdyn.convergence.eta_limits import eta_limit as eta_limit
from flowdyn.convergence.prediction import fast_forward as fast_forward
from flowdyn.convergence.rebuilding import rebuild as rebuild
from flowdyn.convergence.rebuilding import rerun as rerun
from flowdyn.convergence.scaling import scaling_rule as scaling_rule
from flowdyn.methods.adam import Adam as Adam
from flowdyn.methods.adam import AdamFlow as AdamFlow
from flowdyn.methods.adam import AdamW as AdamW
from flowdyn.methods.averaged_noise import AveragedEquation as AveragedEquation
from flowdyn.methods.averaged_noise import AveragedRandomRecursion as AveragedRandomRecursion
from flowdyn.methods.averaged_noise import averaged as averaged
from flowdyn.methods.averaged_recursion import AveragedFlow as AveragedFlow
from flowdyn.methods.averaged_recursion import AveragedRecursion as AveragedRecursion
from flowdyn.methods.central_flow import CentralFlow as CentralFlow
from flowdyn.methods.clipping import Clipped as Clipped
from flowdyn.methods.decoupled_decay import DecoupledDecay as DecoupledDecay
from flowdyn.methods.diagonal import DualFlow as DualFlow
from flowdyn.methods.fixed_momentum import FixedMomentum as FixedMomentum
from flowdyn.methods.fixed_momentum import ShadowEquation as ShadowEquation
from flowdyn.methods.following import RecursionFlow as RecursionFlow
from flowdyn.methods.gradient_descent import GradientDescent as GradientDescent
from flowdyn.methods.gradient_descent import GradientFlow as GradientFlow
from flowdyn.methods.gradient_descent import ModifiedFlow as ModifiedFlow
from flowdyn.methods.heavy_ball import HeavyBall as HeavyBall
from flowdyn.methods.heavy_ball import HeavyBallFlow as HeavyBallFlow
from flowdyn.methods.homogenized import HomogenizedSGD as HomogenizedSGD
from flowdyn.methods.kernel import KernelFlow as KernelFlow
from flowdyn.methods.label_noise import LabelNoiseEquation as LabelNoiseEquation
from flowdyn.methods.label_noise import LabelNoiseSGD as LabelNoiseSGD
from flowdyn.methods.label_noise_flow import LabelNoiseFlow as LabelNoiseFlow
from flowdyn.methods.langevin import Langevin as Langevin
from flowdyn.methods.langevin import SGLDEquation as SGLDEquation
from flowdyn.methods.mirror import MirrorDescent as MirrorDescent
from flowdyn.methods.mirror import MirrorFlow as MirrorFlow
from flowdyn.methods.modified_equation import StochasticModifiedEquation as StochasticModifiedEquation
from flowdyn.methods.nesterov import Nesterov as Nesterov
from flowdyn.methods.nesterov import NesterovFlow as NesterovFlow
from flowdyn.methods.noise_dominated import NoiseDominatedAdam as NoiseDominatedAdam
from flowdyn.methods.noise_dominated import NoiseDominatedRMSProp as NoiseDominatedRMSProp
from flowdyn.methods.noise_dominated_equations import AdamEquation as AdamEquation
from flowdyn.methods.noise_dominated_equations import RMSPropEquation as RMSPropEquation
from flowdyn.methods.noisy_adam import NoisyAdam as NoisyAdam
from flowdyn.methods.noisy_momentum import NoisyHeavyBall as NoisyHeavyBall
from flowdyn.methods.noisy_momentum import NoisyNesterov as NoisyNesterov
from flowdyn.methods.noisy_rmsprop import NoisyRMSProp as NoisyRMSProp
from flowdyn.methods.normalized import NormalizedFlow as NormalizedFlow
from flowdyn.methods.normalized import NormalizedGradientDescent as NormalizedGradientDescent
from flowdyn.methods.ode import ODE as ODE
from flowdyn.methods.optax_recursion import Optax as Optax
from flowdyn.methods.ornstein_uhlenbeck import OrnsteinUhlenbeck as OrnsteinUhlenbeck
from flowdyn.methods.ornstein_uhlenbeck import linearize as linearize
from flowdyn.methods.random_recursion import RandomRecursion as RandomRecursion
from flowdyn.methods.recursion import Recursion as Recursion
from flowdyn.methods.recursion_equation import RecursionEquation as RecursionEquation
from flowdyn.methods.rmsprop import RMSProp as RMSProp
from flowdyn.methods.rmsprop import RMSPropFlow as RMSPropFlow
from flowdyn.methods.rmsprop_central_flow import RMSPropCentralFlow as RMSPropCentralFlow
from flowdyn.methods.rmsprop_central_flow import RMSPropStableFlow as RMSPropStableFlow
from flowdyn.methods.sam import GradientPenaltyFlow as GradientPenaltyFlow
from flowdyn.methods.sam import SAM as SAM
from flowdyn.methods.sam import SAMFlow as SAMFlow
from flowdyn.methods.scattered import MeanRecursion as MeanRecursion
from flowdyn.methods.sde import SDE as SDE
from flowdyn.methods.sgd import SGD as SGD
from flowdyn.methods.sgld import SGLD as SGLD
from flowdyn.methods.sign_descent import SignDescent as SignDescent
from flowdyn.methods.sign_descent import SignFlow as SignFlow
from flowdyn.methods.sign_sgd import SignSGD as SignSGD
from flowdyn.methods.svag import SVAG as SVAG
from flowdyn.pages.writing import report as report
from flowdyn.plotting.figures import plot as plot
from flowdyn.problems.examples import example_table as example_table
from flowdyn.results.storage import load as load
from flowdyn.results.storage import save as save
from flowdyn.running.integration import solve as solve
from flowdyn.sweeps.joining import concat as concat
from flowdyn.sweeps.sweeping import sweep as sweep

MODULES: tuple[str, ...]
__version__: str
REGISTRY: dict[str, str]
__all__ = [
    "Adam",
    "AdamEquation",
    "AdamFlow",
    "AdamW",
    "ArgumentError",
    "AveragedEquation",
    "AveragedFlow",
    "AveragedRandomRecursion",
    "AveragedRecursion",
    "CentralFlow",
    "Clipped",
    "DecoupledDecay",
    "DualFlow",
    "FileError",
    "FixedMomentum",
    "FlowdynError",
    "FlowdynWarning",
    "GradientDescent",
    "GradientFlow",
    "GradientPenaltyFlow",
    "HeavyBall",
    "HeavyBallFlow",
    "HomogenizedSGD",
    "KernelFlow",
    "LabelNoiseEquation",
    "LabelNoiseFlow",
    "LabelNoiseSGD",
    "Langevin",
    "MeanRecursion",
    "MirrorDescent",
    "MirrorFlow",
    "ModifiedFlow",
    "Nesterov",
    "NesterovFlow",
    "NoiseDominatedAdam",
    "NoiseDominatedRMSProp",
    "NoisyAdam",
    "NoisyHeavyBall",
    "NoisyNesterov",
    "NoisyRMSProp",
    "NormalizedFlow",
    "NormalizedGradientDescent",
    "ODE",
    "Optax",
    "OrnsteinUhlenbeck",
    "RMSProp",
    "RMSPropCentralFlow",
    "RMSPropEquation",
    "RMSPropFlow",
    "RMSPropStableFlow",
    "RandomRecursion",
    "Recursion",
    "RecursionEquation",
    "RecursionFlow",
    "RunError",
    "SAM",
    "SAMFlow",
    "SDE",
    "SGD",
    "SGLD",
    "SGLDEquation",
    "SVAG",
    "ShadowEquation",
    "SignDescent",
    "SignFlow",
    "SignSGD",
    "StochasticModifiedEquation",
    "averaged",
    "comparison",
    "concat",
    "dimension_limit",
    "eta_limit",
    "example_table",
    "fast_forward",
    "linearize",
    "load",
    "methods",
    "observables",
    "plot",
    "problems",
    "rebuild",
    "report",
    "rerun",
    "save",
    "scaling_rule",
    "schedules",
    "solve",
    "solvers",
    "sweep",
    "theory",
]
