"""What an equation needs to know of the random step that it follows.

M_h = E S_h,    phi_j the columns of the fluctuation:    Cov S_h = sum_j phi_j phi_j^T
"""

import abc
from typing import ClassVar

import jax

from flowdyn.methods.systems import System
from flowdyn.problems.base import Time, Vector


class Scatter(System):
    """A random recursion as its equations need it: the mean and the fluctuation of a step of any length h."""

    is_users: ClassVar[bool] = False  # whether its step is a user's own, which may do anything

    @property
    @abc.abstractmethod
    def time_step(self) -> jax.Array:
        """The constant h."""

    @property
    @abc.abstractmethod
    def noise_size(self) -> int:
        """Number m of Brownian motions."""

    @property
    @abc.abstractmethod
    def is_symmetric(self) -> bool:
        """Whether the noise is Gaussian: then it has no third moments."""

    @abc.abstractmethod
    def mean_at(self, h: Time, state: Vector) -> Vector:
        """``M_h(z) = E S_h(z)``."""

    @abc.abstractmethod
    def fluctuations(self, h: Time, state: Vector) -> jax.Array:
        """Columns phi of the fluctuation, as rows (m, S)."""

    def within(self, state: Vector) -> Vector:
        """Where coefficients are taken for this state: itself wherever the recursion may come to."""
        return state
