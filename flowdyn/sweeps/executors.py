"""Who runs the blocks: this process, spawned ones, or any executor of concurrent.futures.

A block is handed out when another comes back, so that an interruption loses what is under way and no more. A spawned
process that dies takes its pool with it: what was under way is run again one block at a time, and the block that kills
a process of its own is given up, with its reason.
"""

import contextlib
import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from flowdyn import _check
from flowdyn.sweeps.blocks import Job, Report, lost, run_block

AHEAD = 2  # blocks handed out for each worker
AHEAD_OF_MANY = 64  # blocks handed out to an executor that does not say how many workers it has
DIED = "its worker died (out of memory?)"
WORKERS_NEED = 'a script that starts workers must do so under `if __name__ == "__main__":`'


def reports(jobs: Iterable[Job], executor: Executor | None, workers: int | None) -> Iterator[Report]:
    """Run all jobs; their reports in the order in which they come."""
    if workers is not None:
        yield from _in_processes(list(jobs), workers)
    elif executor is None:
        yield from map(run_block, jobs)
    else:
        yield from _through(executor, jobs)


def known_workers(executor: Executor | None) -> int:
    """Workers of an executor that says how many it has, 0 of others."""
    return getattr(executor, "_max_workers", 0)


def check_sendable(make: Callable) -> None:
    """Refuse a `make` that another process could not be given."""
    try:
        pickle.dumps(make)
    except Exception as error:  # pickle raises what it likes
        reason = " ".join(str(error).split())[:100]
        raise _check.fail(
            "make", "must be importable by other processes", make, f"define it at the top of a module ({reason})"
        ) from None


def _through(executor: Executor, jobs: Iterable[Job]) -> Iterator[Report]:
    under_way: dict[Future[Report], Job] = {}
    ahead = AHEAD * (known_workers(executor) or AHEAD_OF_MANY // AHEAD)
    waiting = iter(jobs)
    try:
        while True:
            for job in waiting:
                under_way[executor.submit(run_block, job)] = job
                if len(under_way) >= ahead:
                    break
            if not under_way:
                return
            for future in _done(under_way):
                job = under_way.pop(future)
                yield _report_of(future, job)
    finally:
        for future in under_way:
            future.cancel()


def _done(under_way: dict[Future[Report], Job]) -> list[Future[Report]]:
    """The blocks that are finished; by callbacks where the futures are not those of the standard library."""
    if all(isinstance(future, Future) for future in under_way):
        return list(wait(under_way, return_when=FIRST_COMPLETED).done)
    finished = [future for future in under_way if future.done()]
    if not finished:
        first = next(iter(under_way))
        with contextlib.suppress(Exception):  # it is looked at in its turn
            first.result()
        finished = [first]
    return finished


def _report_of(future: Future[Report], job: Job) -> Report:
    try:
        return future.result()
    except (_check.FlowdynError, OSError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, BrokenProcessPool):
            raise _check.RunError(
                f"a process of `executor` died at cells {job.first} to {job.first + len(job.points) - 1}; what is in "
                "`store` is kept, call sweep again with a new executor, or with workers=N, which starts a new process"
            ) from None
        return lost(job, f"{type(error).__name__}: {' '.join(str(error).split())[:200] or DIED}")


def _in_processes(jobs: list[Job], workers: int) -> Iterator[Report]:
    waiting, done, dead = list(reversed(jobs)), 0, 0
    while waiting:
        suspects: list[Job] = []
        with _pool(workers) as pool:
            for found in _until_broken(pool, waiting, AHEAD * workers, suspects):
                done += 1
                yield found
        for job in suspects:
            report = _alone(job)
            dead += report.source is None
            if dead > 1 and not done:
                raise _check.RunError(f"no worker stays alive; {WORKERS_NEED}")
            yield report


def _until_broken(pool: ProcessPoolExecutor, waiting: list[Job], ahead: int, suspects: list[Job]) -> Iterator[Report]:
    """Run what is waiting until all is done or the pool breaks; then `suspects` holds what was under way."""
    under_way: dict[Future[Report], Job] = {}
    while (waiting or under_way) and not suspects:
        try:
            while waiting and len(under_way) < ahead:
                under_way[pool.submit(run_block, waiting[-1])] = waiting[-1]
                waiting.pop()
        except BrokenProcessPool:
            if not under_way:
                return
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            job = under_way.pop(future)
            try:
                yield future.result()
            except BrokenProcessPool:
                suspects.append(job)
    suspects += under_way.values()


def _alone(job: Job) -> Report:
    """A block in a process of its own."""
    with _pool(1) as pool:
        try:
            return pool.submit(run_block, job).result()
        except BrokenProcessPool:
            return lost(job, DIED)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Spawned processes (a forked one hangs where JAX has run), ended at once where the sweep is interrupted."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        processes: Any = dict(getattr(pool, "_processes", None) or {})
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes.values():
            process.terminate()
        raise


def _ignore_interrupts() -> None:
    """Ctrl-C goes to every process of a terminal; the one that started the sweep deals with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
