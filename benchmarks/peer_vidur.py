"""Runs in an interpreter that has `vidur` (0.0.26 of the package index): a workload and step times in, its times out.

    python peer_vidur.py JOB.json ANSWER.json

Vidur's own predictor needs profiles from a public hub at run time; in its place stands one that returns the step times of
the job, so that both simulators are given the same physics. Its scheduler, cluster, events and metrics are its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def predictor(job: dict[str, Any]) -> Any:
    from vidur._native.entities import ExecutionTime
    from vidur.execution_time_predictor.base_execution_time_predictor import BaseExecutionTimePredictor

    class GivenStepTimes(BaseExecutionTimePredictor):
        """Duration of a batch as the job states it: base + token x tokens + kv x decoding contexts + prefill."""

        def get_execution_time(self, batch: Any, pipeline_stage: int) -> Any:
            tokens = sum(batch.num_q_tokens)
            decoding = sum(kv for q, kv in zip(batch.num_q_tokens, batch.num_kv_tokens, strict=True) if q == 1)
            prefill = any(q > 1 for q in batch.num_q_tokens)
            seconds = job["base_s"] + job["token_s"] * tokens + job["kv_s_per_token"] * decoding + job["prefill_step_s"] * prefill
            layers = self._num_layers_per_pipeline_stage
            spent = [0.0] * 14
            spent[6] = seconds * 1000 / layers  # the up projection, milliseconds a layer
            return ExecutionTime(layers, *spent)

    GivenStepTimes.__abstractmethods__ = frozenset()  # its parts are never asked for: the whole is given
    return GivenStepTimes


def main(job_path: str, answer_path: str) -> None:
    job = json.loads(Path(job_path).read_text())
    from vidur import config as settings
    from vidur.execution_time_predictor import ExecutionTimePredictorRegistry
    from vidur.metrics import MetricsStore
    from vidur.request_generator import RequestGeneratorRegistry
    from vidur.simulator import Simulator
    from vidur.types import ExecutionTimePredictorType, RequestGeneratorType

    holder = tempfile.TemporaryDirectory()  # removed at the end
    folder = holder.name
    rows = list(zip(job["arrival_s"], job["isl_tokens"], job["osl_tokens"], strict=True))
    (Path(folder) / "trace.csv").write_text(
        "Date,Time,PromptTokenCount,CompletionTokenCount\n" + "".join(f"d,{a},{i},{o}\n" for a, i, o in rows)
    )
    ExecutionTimePredictorRegistry._registry[ExecutionTimePredictorType.RANDOM_FORREST] = predictor(job)
    made: list[Any] = []
    generator = RequestGeneratorRegistry._registry[RequestGeneratorType.TRACE_REPLAY]
    generate = generator.generate_requests

    def kept(self: Any) -> Any:
        made.extend(generate(self))
        return made

    generator.generate_requests = kept
    MetricsStore.plot = lambda self: None
    simulation = settings.SimulationConfig(
        cluster_config=settings.ClusterConfig(
            num_replicas=job["replicas"],
            replica_config=settings.ReplicaConfig(model_name="meta-llama/Llama-2-7b-hf", tensor_parallel_size=1, num_pipeline_stages=1),
            cache_config=settings.CacheConfig(block_size=16, num_blocks=job["kv_tokens"] // 16, watermark_blocks_fraction=0.01),
            global_scheduler_config=settings.RoundRobinGlobalSchedulerConfig(),
            replica_scheduler_config=settings.SarathiSchedulerConfig(batch_size_cap=256, chunk_size=job["max_step_tokens"]),
        ),
        request_generator_config=settings.TraceRequestGeneratorConfig(
            trace_file=f"{folder}/trace.csv", date="d", max_tokens=1 << 20, prefill_scale_factor=1.0, decode_scale_factor=1.0,
            time_scale_factor=1.0,
        ),
        execution_time_predictor_config=settings.RandomForrestExecutionTimePredictorConfig(use_native_execution_time_predictor=False),
        metrics_config=settings.MetricsConfig(
            write_metrics=False, enable_chrome_trace=False, store_plots=False, write_json_trace=False, output_dir=folder
        ),
        log_level="warning",
    )
    simulator = Simulator(simulation)
    began, cpu = time.perf_counter(), time.process_time()
    simulator.run()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    answer = {
        "wall_s": wall, "cpu_s": cpu,
        "first_s": [r.prefill_completed_at for r in made], "done_s": [r.completed_at for r in made],
    }  # fmt: skip
    Path(answer_path).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
