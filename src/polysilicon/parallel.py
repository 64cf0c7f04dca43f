"""Many independent runs at once: seeds, scenarios, sites; in threads, in processes, or on a Ray cluster.

A run depends on nothing but its arguments, so where it runs cannot change its result. Compiled code holds no lock and
its cache on disk is shared: threads need no copies, processes no second compilation.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from polysilicon.errors import UsageError

Job = TypeVar("Job")
Answer = TypeVar("Answer")
BACKENDS = ("threads", "processes", "ray")


def run_all(
    work: Callable[[Job], Answer], jobs: Sequence[Job], *, backend: str = "processes", workers: int | None = None,
    address: str | None = None,
) -> list[Answer]:  # fmt: skip
    """Do all jobs and return their answers in the order of the jobs.

    `work` is a function of a module: processes find it by name, Ray takes its code along. One job or one worker needs no
    pool. `address` joins a Ray cluster, whose nodes have this package installed; without it Ray starts one on this machine.

    Raises: UsageError for a backend that is not known or not installed; whatever `work` raises.
    """
    if backend not in BACKENDS:
        raise UsageError(f'"{backend}" is not one of {", ".join(BACKENDS)}', where="backend")
    if backend == "ray":
        return _on_ray(work, jobs, address)
    count = max(1, min(len(jobs), workers or os.cpu_count() or 1))
    if count == 1:
        return [work(job) for job in jobs]
    with _executor(backend, count) as pool:
        return list(pool.map(work, jobs))


@contextmanager
def _executor(backend: str, count: int) -> Iterator[Executor]:
    if backend == "threads":
        with ThreadPoolExecutor(count) as threads:
            yield threads
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as processes:
        yield processes


def _on_ray(work: Callable[[Job], Answer], jobs: Sequence[Job], address: str | None) -> list[Answer]:
    try:
        import ray
    except ImportError as error:
        raise UsageError("Ray is not installed", where="backend", hint="pip install 'polysilicon[ray]'") from error
    mine = not ray.is_initialized()
    if mine:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        with _by_value(ray.cloudpickle, work):
            remote: Any = ray.remote(work)
            return list(ray.get([remote.remote(job) for job in jobs]))
    finally:
        if mine:
            ray.shutdown()


@contextmanager
def _by_value(pickler: Any, work: Callable[..., Any]) -> Iterator[None]:
    """Send the code of a module that the other nodes do not have along with the job; this package they have."""
    module = inspect.getmodule(work)
    here = module is None or module.__name__ == "__main__" or module.__name__.partition(".")[0] == __name__.partition(".")[0]
    if not here:
        pickler.register_pickle_by_value(module)
    try:
        yield
    finally:
        if not here:
            pickler.unregister_pickle_by_value(module)
