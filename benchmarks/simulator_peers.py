"""Peers on our workload with our step times, in the same minutes: speed, and whether the answers agree.

DynoSim (`ai-dynamo` 1.4.2's `dynamo.replay`) reads the step times as a profile: prefill linear in tokens, decode linear in
the contexts. Vidur (`vidur` 0.0.26) is handed them by `peer_vidur.py`. Both run in an interpreter of their own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes

BASE_S, TOKEN_S, KV_S, PREFILL_S, KV_TOKENS, BUDGET, REPLICAS = 0.006, 1e-5, 2e-8, 0.004, 500_000, 8192, 8
QUANTILES = (0.5, 0.9, 0.99)
PUBLISHED = {  # requests/s of the loop on W1, 2 shared cores, November 2026; none of these was run now
    "DynoSim 1.4.2, round robin": 4_840.0, "DynoSim 1.4.2, KV router": 2_085.0, "Vidur HEAD": 192.0, "BLIS f90a1e3": 190.0,
}  # fmt: skip
Rows = list[dict[str, Any]]


def step_times() -> StepTimes:
    """Step times all three can express: no term a sequence, no pairs of prefill tokens."""
    tokens = np.arange(BUDGET + 1)
    return StepTimes(np.where(tokens > 0, BASE_S + TOKEN_S * tokens, 0.0), 0.0, KV_S, 0.0, 0, 0.0, KV_TOKENS, prefill_step_s=PREFILL_S)


def ours(trace: Trace, routing: str, kv_tokens: int = KV_TOKENS) -> Any:
    from dataclasses import replace

    from polysilicon import simulator
    from polysilicon.simulator.fleet import Fleet, Pool

    pool = Pool("a", replace(step_times(), kv_tokens=kv_tokens), REPLICAS, routing=routing)
    return simulator.simulate(Fleet((pool,)), trace)


def distributions(ttft_s: Any, e2e_s: Any) -> dict[str, float]:
    values = {"ttft": ttft_s, "e2e": e2e_s}
    return {f"{name}_p{round(100 * q)}_s": float(np.quantile(v, q)) for name, v in values.items() for q in QUANTILES}


def _row(case: str, trace: Trace, result: Any, cpu_s: float) -> dict[str, Any]:
    return {"case": case, "requests": len(trace), "requests_per_cpu_s": len(trace) / cpu_s,
            "cached_frac": float(result.requests["cached_tokens"].sum() / trace.isl_tokens.sum()),
            **distributions(result.ttft_s, result.e2e_s)}  # fmt: skip


def _beside(theirs: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """Return how the two compare: our speed over theirs, and each quantile of ours over theirs less one."""
    off = {f"{name[:-2]}_difference_frac": mine[name] / theirs[name] - 1 for name in mine if name.endswith("_s") and name in theirs
           and name != "requests_per_cpu_s"}  # fmt: skip
    return {"case": f"ours / {theirs['case']}", "speed_ratio": mine["requests_per_cpu_s"] / theirs["requests_per_cpu_s"], **off}


def _timed(trace: Trace, routing: str, kv_tokens: int = KV_TOKENS) -> dict[str, Any]:
    cpu = time.process_time()
    result = ours(trace, routing, kv_tokens)
    return _row(f"ours, {routing}", trace, result, time.process_time() - cpu)


def dynosim(python: str, trace: Trace, router: str, kv_tokens: int = KV_TOKENS) -> dict[str, Any]:
    """Replay a trace in DynoSim; its CPU seconds are the child's, less those of a replay of one request (imports)."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        x = np.array([0.0, 1e6])
        decode = (1000 * (BASE_S + KV_S * x))[:, None] + 0 * x[None, :]
        np.savez(here / "times.npz", prefill_isl=x, prefill_ttft_ms=1000 * (PREFILL_S + TOKEN_S * x), decode_active_kv_tokens=x,
                 decode_context_length=x, decode_itl=decode)  # fmt: skip
        engine = {"engine_type": "vllm", "num_gpu_blocks": kv_tokens // 16, "block_size": 16, "max_num_seqs": 256,
                  "max_num_batched_tokens": BUDGET, "planner_profile_data": str(here / "times.npz")}  # fmt: skip

        def run(rows: int) -> float:
            _as_mooncake(trace, rows, here / "trace.jsonl")
            words = [python, "-m", "dynamo.replay", str(here / "trace.jsonl"), "--trace-format", "mooncake", "--num-workers",
                     str(REPLICAS), "--router-mode", router, "--extra-engine-args", json.dumps(engine), "--trace-block-size", "512",
                     "--report-json", str(here / "all.json"), "--report-jsonl", str(here / "each.jsonl")]  # fmt: skip
            return _child_cpu_s(words)

        cpu_s = -run(1) + run(len(trace))
        said = json.loads((here / "all.json").read_text())
        each = [json.loads(line) for line in (here / "each.jsonl").read_text().splitlines()]
    times = distributions([r["ttft_ms"] / 1e3 for r in each], [r["e2e_latency_ms"] / 1e3 for r in each])
    cached = sum(r["reused_input_tokens"] for r in each) / sum(r["input_length"] for r in each)
    wall_ms = said.get("wall_time_ms")
    return {"case": f"DynoSim, {router}, same machine", "requests": len(each), "requests_per_cpu_s": len(each) / cpu_s,
            "loop_requests_per_wall_s": 1000 * len(each) / wall_ms if wall_ms else None, "cached_frac": cached, **times}  # fmt: skip


def _as_mooncake(trace: Trace, rows: int, path: Path) -> None:
    at, fresh = 0, int(trace.block_hash.max()) + 1 if trace.has_blocks else 0
    with path.open("w") as file:
        for i in range(rows):
            if trace.has_blocks:
                ids = trace.block_hash[trace.block_offset[i] : trace.block_offset[i + 1]].tolist()
            else:
                count = -(-int(trace.isl_tokens[i]) // 512)
                ids = list(range(fresh + at, fresh + at + count))
                at += count
            words = {"timestamp": 1000 * float(trace.arrival_s[i]), "input_length": int(trace.isl_tokens[i]),
                     "output_length": int(trace.osl_tokens[i]), "hash_ids": ids}  # fmt: skip
            file.write(json.dumps(words) + "\n")


def vidur(python: str, trace: Trace) -> dict[str, Any]:
    job = {"arrival_s": trace.arrival_s.tolist(), "isl_tokens": trace.isl_tokens.tolist(), "osl_tokens": trace.osl_tokens.tolist(),
           "replicas": REPLICAS, "base_s": BASE_S, "token_s": TOKEN_S, "kv_s_per_token": KV_S, "prefill_step_s": PREFILL_S,
           "kv_tokens": KV_TOKENS, "max_step_tokens": BUDGET}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "job.json").write_text(json.dumps(job))
        _child_cpu_s([python, str(Path(__file__).with_name("peer_vidur.py")), str(here / "job.json"), str(here / "answer.json")])
        said = json.loads((here / "answer.json").read_text())
    first, done = np.array(said["first_s"]), np.array(said["done_s"])
    return {"case": "Vidur 0.0.26, round robin, same machine", "requests": len(trace), "requests_per_cpu_s": len(trace) / said["cpu_s"],
            **distributions(first - trace.arrival_s, done - trace.arrival_s)}  # fmt: skip


def _child_cpu_s(words: list[str]) -> float:
    environment = os.environ | {"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1"}
    before = os.times()
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    after = os.times()
    if done.returncode:
        raise SystemExit(f"the peer failed: {done.stderr[-800:]}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def interpreter(asked: str | None, variable: str, module: str) -> str | None:
    """Return the interpreter a peer runs in: the one asked for, the environment's, or this one where it is installed."""
    found = asked or os.environ.get(variable)
    if found:
        return found
    top = module.partition(".")[0]
    return sys.executable if importlib.util.find_spec(top) else None


def compare(rows: Rows, w1: Trace, real: Trace | None, *, dynosim_python: str | None, vidur_python: str | None) -> None:
    """Append the rows of every peer that is here, and the published figure of every one that is not, named so."""
    dyno = interpreter(dynosim_python, "POLYSILICON_DYNOSIM_PYTHON", "dynamo.replay")
    vid = interpreter(vidur_python, "POLYSILICON_VIDUR_PYTHON", "vidur")
    absent = {"DynoSim": dyno is None, "Vidur": vid is None, "BLIS": True}
    rows.extend({"case": f"not run here, published: {name}", "requests_per_wall_s": value} for name, value in PUBLISHED.items()
                if absent[name.split()[0]])  # fmt: skip
    ours(w1, "weighted")  # compiled and warm
    mine = _timed(w1, "weighted")
    if dyno:
        theirs = dynosim(dyno, w1, "round_robin")
        rows += [theirs, mine, _beside(theirs, mine)]
        if real is not None:
            theirs, with_cache = dynosim(dyno, real, "kv_router", 3_000_000), _timed(real, "prefix", 3_000_000)
            rows += [theirs, with_cache, _beside(theirs, with_cache)]
    if vid:
        part = Trace(w1.arrival_s[:1000], w1.isl_tokens[:1000], w1.osl_tokens[:1000])
        theirs, again = vidur(vid, part), _timed(part, "weighted")
        rows += [theirs, again, _beside(theirs, {**again, "requests_per_cpu_s": mine["requests_per_cpu_s"]})]
