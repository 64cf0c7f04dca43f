"""Runs side by side, in threads, processes and on a cluster of two Ray nodes, equal runs in a row, byte for byte."""

from __future__ import annotations

import hashlib
import importlib.util

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.errors import UsageError
from polysilicon.parallel import run_all
from polysilicon.performance import StepTimes
from polysilicon.simulator.fleet import Fleet, Pool

SEEDS = [1, 2, 3, 4]


def replay(seed: int) -> str:
    """Return a digest of every number of every request of a replay."""
    rng = np.random.default_rng(seed)
    n, tokens = 3_000, np.arange(8193)
    times = StepTimes(np.where(tokens > 0, 0.006 + tokens * 2e-5, 0.0), 1e-5, 2e-8, 0.0, 0, 1e-9, 200_000)
    trace = Trace(np.cumsum(rng.exponential(1 / 3, n)), rng.integers(16, 4096, n, np.int32), rng.integers(1, 800, n, np.int32))
    result = simulator.simulate(Fleet((Pool("a", times, 2),)), trace, seed=seed)
    columns = [np.ascontiguousarray(result.requests[name]).tobytes() for name in result.requests.dtype.names]
    return hashlib.sha256(b"".join(columns)).hexdigest()


def replay_on_a_node(seed: int) -> tuple[str, str]:
    import ray

    return ray.get_runtime_context().get_node_id(), replay(seed)


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_runs_side_by_side_equal_runs_in_a_row(backend: str) -> None:
    assert run_all(replay, SEEDS, backend=backend, workers=2) == [replay(seed) for seed in SEEDS]


def test_one_worker_needs_no_pool() -> None:
    calls: list[int] = []
    assert run_all(lambda job: calls.append(job) or job, [1, 2], workers=1) == [1, 2] and calls == [1, 2]


def test_what_a_job_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="literal"):
        run_all(int, ["1", "x"], backend="threads", workers=2)


def test_a_backend_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="is not one of"):
        run_all(replay, [1], backend="abacus")
    if importlib.util.find_spec("ray") is None:
        with pytest.raises(UsageError, match="not installed"):
            run_all(replay, [1], backend="ray")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
@pytest.mark.filterwarnings("ignore")
def test_two_ray_nodes_give_the_same_results() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        answers = run_all(replay_on_a_node, SEEDS, backend="ray", address=cluster.address)
    finally:
        cluster.shutdown()
    assert len({node for node, _ in answers}) == 2  # both nodes worked
    assert [digest for _, digest in answers] == [replay(seed) for seed in SEEDS]
