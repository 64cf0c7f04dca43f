"""M07: efficiencies by chip family and engine, with source and date; changing one moves only what it concerns."""

import pytest
from chip_entry import KNOWN
from toy import offer, port, solve, work, world

from polysilicon.exchange.fitting import as_csv
from polysilicon.model.layout import Layout
from polysilicon.performance import step_times
from polysilicon.performance.efficiency import COLUMNS, rows
from polysilicon.scenario import load, resolve
from polysilicon.study import serving_table

SCENARIO = """\
polysilicon: 1
name: two chips
horizon: {start: 2027-01-01, months: 3}
workloads:
  - {id: chat, model: llama-3.1-8b, traffic: {profile: chat, mean_rps: 60}, slo: {ttft_s: 1.0, tpot_s: 0.03}}
offers:
  catalogue: false
  own:
    - {id: a, cloud: azure, region: eastus, chip: gb200, kind: on_demand, usd_per_chip_hour: 3.0}
    - {id: b, cloud: azure, region: eastus, chip: h100-sxm, kind: on_demand, usd_per_chip_hour: 2.0}
"""
FP8 = Layout("fp8", "fp8", tp=8)


def test_every_efficiency_has_source_and_date():
    assert all(r["source"] and r["as_of"] and r["basis"] for r in rows())


def test_changing_one_factor_moves_only_the_chips_it_concerns(tmp_path):
    table = [*rows(), dict(zip(COLUMNS, ("cuda-blackwell", "*", "vllm", "launch_factor", "3", "1", "me", "2026", "assumed", "0", "", ""),
                               strict=True))]  # fmt: skip
    path = tmp_path / "mine.csv"
    path.write_bytes(as_csv(table))
    model = KNOWN.model("llama-3.1-70b")

    def step(chip, engine, where=""):
        return step_times(model, KNOWN.chip(chip), FP8, engine=engine, efficiency_path=where).step_s(0, 8)

    assert step("B200", "vllm", str(path)) > step("B200", "vllm")
    assert step("B200", "trtllm", str(path)) == step("B200", "trtllm")
    assert step("H100", "vllm", str(path)) == step("H100", "vllm")


def test_changing_one_engines_factor_changes_only_the_placements_it_concerns():
    """Two applications on two kinds of chip: a faster engine on one kind needs fewer of it, the other stays to the bit."""
    works = [work("a", rps=100.0, chips=("h100",)), work("b", rps=100.0, chips=("trn3",))]
    offers = [offer("h100", 2.0), offer("trn3", 2.0)]

    def placed(efficiency):
        ports = (port("cuda-hopper", efficiency_frac=efficiency), port("neuron"))
        found = solve(world(works, offers, ports=ports, months=12))
        return {p.workload: p.chips for p in found.placements}

    before, after = placed(1.0), placed(0.8)
    assert after["a"] == pytest.approx(before["a"] / 0.8)
    assert after["b"] == before["b"]


def test_a_scenarios_own_table_moves_only_what_it_names(tmp_path):
    """The same through a file: a table for one chip, named by `efficiency:`, changes that chip's point and no other's."""
    text = SCENARIO + "efficiency: mine.csv\n"
    (tmp_path / "mine.csv").write_bytes(as_csv([dict(zip(COLUMNS, ("h100-sxm", "*", "*", "layer_s", "3e-4", "s", "our bench", "2026-11-20",
                                                                    "measured", "9", "", ""), strict=True))]))  # fmt: skip
    points = []
    for name, content in (("plain", SCENARIO), ("mine", text)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(content)
        points.append(serving_table(resolve(load(path, KNOWN), KNOWN), margin_quantile=0.5).points)
    before, after = points
    assert after["chat", "h100-sxm"].tok_per_s_per_chip < before["chat", "h100-sxm"].tok_per_s_per_chip
    assert after["chat", "gb200"] == before["chat", "gb200"]
