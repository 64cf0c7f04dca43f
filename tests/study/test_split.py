"""Prefill and decode apart, from the scenario file to the replay: the simulator's disaggregated pools prove what was planned."""

from __future__ import annotations

import pytest
from small_scenarios import TINY

from polysilicon import catalogue as catalogues
from polysilicon import study
from polysilicon.errors import InputErrors
from polysilicon.exchange.compilers import compile_plan
from polysilicon.portfolio import read_plan
from polysilicon.scenario import load_text
from polysilicon.simulator.fleet import from_plan
from polysilicon.study.fleet import fleet_of, parts_of

OFFERS = """\
    - {id: mine, cloud: azure, region: eastus, chip: gb200, kind: on_demand, usd_per_chip_hour: 4.0}
    - {id: old, cloud: azure, region: eastus, chip: h100-sxm, kind: on_demand, usd_per_chip_hour: 1.0}
disaggregation:
  links:
    - {id: hall, prefill: ["gb200@azure/*"], decode: ["h100-sxm@azure/*"], gb_per_s_per_chip: 50, latency_s: 0.002}
"""
MINE = "    - {id: mine, cloud: azure, region: eastus, chip: gb200, kind: on_demand, usd_per_chip_hour: 3.0}\n"
SPLIT = TINY.replace(MINE, OFFERS)
SPLIT = SPLIT.replace("profile: chat, mean_rps: 60", "profile: enterprise, mean_rps: 600").replace(
    "ttft_s: 1.0, tpot_s: 0.03", "ttft_s: 0.4, tpot_s: 0.01"
)  # fmt: skip


@pytest.fixture(scope="module")
def known():
    return catalogues.load()


@pytest.fixture(scope="module")
def result(known):
    return study.run(load_text(SPLIT, "s.yaml", known), known)


def test_the_plan_splits_and_the_replay_keeps_the_promise(result):
    assert result.proven is True
    apart = [p for p in result.plan.placements if p.decode]
    assert apart and apart[0].chip == "gb200" and apart[0].decode.chip == "h100-sxm"
    asked = result.scenario.model_copy(update={"disaggregation": None})
    whole = study.run(asked, catalogues.load())
    assert whole.proven is True and result.plan.objective_usd < whole.plan.objective_usd


def test_headroom_of_what_is_served_apart_leaves_what_is_served_whole_alone(known):
    """Where the replay asks more of the pair than it saves, the next plan goes back to one pool, without the pair's headroom."""
    asked = SPLIT.replace("usd_per_chip_hour: 4.0", "usd_per_chip_hour: 7.0").replace("enterprise", "chat").replace("tpot_s: 0.01}", "tpot_s: 0.012}")
    found = study.run(load_text(asked, "s.yaml", known), known)
    first, last = found.rounds[0], found.rounds[-1]
    assert first.missed and set(found.plan.headroom_frac) == {"chat>apart"}
    assert found.proven is True and all(p.decode is None for p in found.plan.placements)
    assert last.objective_usd < first.objective_usd * (1 + found.plan.headroom_frac["chat>apart"])


def test_the_replay_s_fleet_is_two_pools_in_the_plan_s_proportion(result):
    work = result.resolved.workloads[0]
    parts = parts_of(result.resolved, result.plan, result.table.points, work, 0)
    scaled = fleet_of(result.resolved, result.plan, work, parts, period=0, scale=1.0, extra_frac=0.0, margin_quantile=0.5)
    fleet, rps, count = scaled.fleet, scaled.rps, scaled.replicas
    first = next(p for p in fleet.pools if p.role == "prefill")
    second = fleet.pool(first.decode_pool)
    assert second.role == "decode" and (first.chip, second.chip) == ("gb200", "h100-sxm")
    assert count == first.replicas + second.replicas and rps > 0
    assert first.step_times.transfer_s_per_token > 0 and first.step_times.transfer_latency_s > 0.002


def test_a_plan_file_keeps_both_sides_and_builds_the_same_pools(result, known, tmp_path):
    file = tmp_path / "plan.json"
    file.write_bytes(result.plan.to_json())
    back = read_plan(file)
    assert back.placements == result.plan.placements and back.phase_serving == result.plan.phase_serving
    fleet = from_plan(back, known, 0, workloads=result.resolved.workloads)
    assert {p.role for p in fleet.pools if p.chip == "h100-sxm"} == {"decode"}
    with pytest.raises(Exception, match="prefills and decodes apart"):
        compile_plan(back, "vllm-stack")
    assert "chat" in compile_plan(back, "litellm")


def test_a_link_that_names_no_workload_of_the_file_is_refused(known):
    wrong = SPLIT.replace("disaggregation:\n", "disaggregation:\n  workloads: [chatt]\n")
    with pytest.raises(InputErrors, match="chatt"):
        load_text(wrong, "s.yaml", known)
