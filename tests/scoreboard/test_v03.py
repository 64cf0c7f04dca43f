"""V03: a measured result overrides what the model or a vendor says, and is marked measured."""

import json

import pytest
from chip_entry import KNOWN
from command import run

from polysilicon.application.workload import Lengths, Slo
from polysilicon.model.layout import Layout
from polysilicon.performance import Observation, Own, table


def test_an_imported_result_changes_the_basis_and_the_number():
    model, chip, shape = KNOWN.model("llama-3.1-70b"), KNOWN.chip("Maia 200"), Lengths(1000, 300)
    before = table(model, chip, shape, Slo(2, 0.1), layouts=[Layout("fp8", "fp8", tp=4)])
    p = before[0]
    assert p.basis == "datasheet"
    seen = Observation(model.id, chip.id, 4, "fp8", 1000, 300, p.batch, 2 * p.tpot_s)
    points = table(model, chip, shape, Slo(2, 0.1), layouts=[Layout("fp8", "fp8", tp=4)], own=Own(seen=(seen,)))
    after = next(q for q in points if q.basis == "measured")
    assert after.tpot_s == pytest.approx(2 * p.tpot_s)
    assert after.tok_per_s_per_chip < p.tok_per_s_per_chip / 1.5
    assert after.error_frac < p.error_frac


def test_importing_a_result_moves_the_source_from_vendor_to_measured_and_the_plan_with_it(tmp_path):
    """As a user does it: plan on a vendor's datasheet, bring one's own benchmark file, plan again, read the report."""
    scenario = """\
polysilicon: 1
name: a chip nobody has published
horizon: {start: 2027-01-01, months: 3}
workloads:
  - id: chat
    model: llama-3.1-8b
    traffic: {lengths: {isl_mean_tokens: 1000, osl_mean_tokens: 250}, mean_rps: 200, peak_to_mean_ratio: 1.2}
    slo: {ttft_s: 1.0, tpot_s: 0.05}
offers:
  catalogue: false
  own:
    - {id: m, cloud: azure, region: centralus, chip: maia-200, kind: on_demand, usd_per_chip_hour: 3.0}
ports:
  - {model_family: llama, chip_family: maia, engine: own, status: production, efficiency_frac: 1.0}
study: {proof_requests: 2000}
"""
    (tmp_path / "s.yaml").write_text(scenario)
    run("plan", "s.yaml", "-o", "before", "--no-alternatives", "-q", cwd=tmp_path)
    before = json.loads((tmp_path / "before" / "plan.json").read_text())
    point = before["serving"][0]
    assert point["basis"] == "datasheet"
    assert "no measurement calibrates maia-200" in (tmp_path / "before" / "report.md").read_text()
    bench = {"model_id": "llama-3.1-8b", "max_concurrency": point["batch"], "completed": 1000, "total_input_tokens": 1_000_000,
             "total_output_tokens": 250_000, "mean_ttft_ms": 150.0, "mean_tpot_ms": 700 * point["tpot_s"], "gpu": "maia-200",
             "num_gpus": point["layout"]["tp"], "tensor_parallel_size": point["layout"]["tp"], "precision": point["layout"]["precision"],
             "date": "20261120-090000"}  # fmt: skip
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    (tmp_path / "s.yaml").write_text(scenario + "measured: [bench.json]\n")
    run("plan", "s.yaml", "-o", "after", "--no-alternatives", "-q", cwd=tmp_path)
    after = json.loads((tmp_path / "after" / "plan.json").read_text())
    seen = after["serving"][0]
    assert seen["basis"] == "measured"
    assert (seen["source"], seen["as_of"]) == ("bench.json: vllm bench serve", "2026-11-20")
    assert seen["tpot_s"] == pytest.approx(0.7 * point["tpot_s"])
    assert seen["error_frac"] < point["error_frac"]
    assert after["objective_usd"] != pytest.approx(before["objective_usd"], rel=1e-3)
    report = (tmp_path / "after" / "report.md").read_text()
    assert "no measurement calibrates" not in report
    assert "| measured | bench.json: vllm bench serve | 2026-11-20 |" in report
