"""Adaptive steps of diffrax whose absolute tolerances follow the state, by the rule of ``tolerances.py``."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp

from flowdyn.solvers.crawling import TAKEN, Crawl, counted
from flowdyn.solvers.tolerances import Path, grows


class Woken(NamedTuple):
    """Coordinates that were the first to leave zero with nothing known to drive them, and where."""

    which: Any  # (S,)
    t: Any
    state: Any  # (S,)


class FollowingController(dfx.AbstractAdaptiveStepSizeController):
    """A PID controller that is told new absolute tolerances after every step."""

    rtol: Any
    atol: Any  # (S,) at the start, which implicit stages are solved to as well
    path: Path
    relative: jax.Array  # (S,) coordinates whose errors have no absolute part
    steps: dict[str, Any]  # dtmin, dtmax
    own_slopes: Callable | None = eqx.field(static=True)  # (t, y) -> (S,), for implicit methods
    norm: Callable = eqx.field(static=True)
    most_refused: Any  # tries, less a share of those taken, at which the run comes back to be asked about

    def wrap(self, direction: Any) -> "FollowingController":
        """Nothing depends on the direction of time."""
        return self

    def _controller(self, atol: Any) -> dfx.PIDController:
        return dfx.PIDController(self.rtol, atol, norm=self.norm, **self.steps)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any) -> Any:
        """Choose the first step."""
        first, inner = self._controller(self.atol).init(terms, t0, t1, y0, dt0, args, func, error_order)
        t = jnp.asarray(t0, float)
        crawl = Crawl(jnp.zeros(()), t, y0, self.path)
        return first, (inner, self.path, Woken(jnp.zeros(y0.shape, bool), t, y0), crawl)

    def adapt_step_size(
        self, t0: Any, t1: Any, y0: Any, y1_candidate: Any, args: Any, y_error: Any, error_order: Any,
        controller_state: Any,
    ) -> Any:  # fmt: skip
        """Accept or reject a step and choose the next."""
        inner, path, woken, crawl = controller_state
        controller = self._controller(path.atol(self.rtol, self.relative, jnp))
        keep, next_t0, next_t1, jump, inner, result = controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, inner
        )
        after = path.after(y1_candidate, self.rtol, self.relative, jnp)
        if self.own_slopes is not None:
            after = after._replace(back=after.back | self._jumped_over(after, t0, t1, y1_candidate))
        newly = path.asleep & ~after.asleep
        takes = keep & newly.any() & ~woken.which.any()
        woken = jax.tree.map(lambda new, old: jnp.where(takes, new, old), Woken(newly, t1, y1_candidate), woken)
        path = jax.tree.map(lambda new, old: jnp.where(keep, new, old), after, path)
        crawl = Crawl(counted(crawl.count, ~keep, TAKEN, jnp), jnp.asarray(t0, float), y0, path)
        result = dfx.RESULTS.where(crawl.count >= self.most_refused, dfx.RESULTS.dt_min_reached, result)
        return keep, next_t0, next_t1, jump, (inner, path, woken, crawl), result

    def _jumped_over(self, path: Path, t0: Any, t1: Any, state: Any) -> jax.Array:
        """Coordinates below their tolerance that grow by themselves within a step."""
        lost = path.lost & ~self.relative & (jnp.abs(state) < path.atol(self.rtol, self.relative, jnp))
        assert self.own_slopes is not None
        slopes = jax.lax.cond(lost.any(), self.own_slopes, lambda t, y: jnp.zeros_like(y), t1, state)
        return lost & grows(slopes, t1 - t0, jnp.abs(slopes).max())
