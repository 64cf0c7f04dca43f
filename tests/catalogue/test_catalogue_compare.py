"""Two chips side by side, fleets for fleets, the age of what is known, and what changed."""

from __future__ import annotations

from datetime import date

import pytest

from polysilicon.catalogue import load
from polysilicon.catalogue.compare import compare, equivalents, params_that_fit, press_equivalent
from polysilicon.catalogue.diff import diff
from polysilicon.catalogue.frameworks import matrix, port_class
from polysilicon.catalogue.freshness import ages, price_ages, stale, warning

KNOWN = load()
HEAD = "subject,parameter,value,unit,source,as_of,basis,note\n"


def lines():
    return {line.quantity: line for line in compare(KNOWN, KNOWN.chip("H100"), KNOWN.chip("GB200"))}


@pytest.mark.parametrize(
    ("quantity", "side", "press", "ours", "sparse", "verdict"),
    [
        ("FP4 math", "left", None, None, None, "no FP4 math is known"),
        ("FP4 math", "right", 20, 10, 20, "2:4-sparse; dense is 10"),
        ("FP8 math", "left", 4, 1.978, 3.958, "2:4-sparse; dense is 1.98"),
        ("FP8 math", "right", 10, 5, 10, "2:4-sparse; dense is 5"),
        ("FP16 math", "left", 2, 0.989, 1.979, "2:4-sparse; dense is 0.989"),
        ("FP16 math", "right", 5, 2.5, 5, "2:4-sparse; dense is 2.5"),
        ("memory bandwidth", "left", 3.35, 3.35, None, "right"),
        ("memory bandwidth", "right", 8, 8, None, "right"),
        ("links, both ways", "left", 900, 900, None, "right for both ways; 450 each way"),
        ("links, both ways", "right", 1800, 1800, None, "right for both ways"),
        ("chip power", "left", 350, 700, None, "wrong, 0.50x of 700"),
        ("chip power", "right", 1000, 1200, None, "wrong, 0.83x of 1,200"),
        ("dense params a chip", "left", 30, 30, None, "right at 16 bits"),
        ("dense params a chip", "right", 270, 279, None, "right at 4 bits"),
        ("MoE params a chip", "right", 27000, 279, None, "wrong, 96.8x"),
    ],
)
def test_each_cell_of_the_press_table_has_its_verdict(quantity, side, press, ours, sparse, verdict):
    cell = getattr(lines()[quantity], side)
    assert cell.press == press
    assert cell.dense == (pytest.approx(ours, rel=1e-3) if ours is not None else None)
    assert cell.sparse == (pytest.approx(sparse, rel=1e-3) if sparse is not None else None)
    assert cell.verdict.startswith(verdict)
    assert press is None or ours is None or cell.source in KNOWN.sources


def test_ratios_stand_beside_those_of_the_press():
    found = lines()
    assert found["FP8 math"].press_ratio == 2.5
    assert found["FP8 math"].ratio == pytest.approx(5000 / 1978)
    assert found["chip power"].ratio == pytest.approx(1200 / 700)
    assert found["FP4 math"].ratio is None


def test_parameters_that_fit_are_linear_in_memory_and_inverse_in_bits():
    assert params_that_fit(80, 16) == 30e9
    assert params_that_fit(160, 16) == 2 * params_that_fit(80, 16) == params_that_fit(80, 8)


def test_four_thousand_h100_against_576():
    left, right = KNOWN.chip("H100"), KNOWN.chip("GB200")
    rows = {e.measure: e for e in equivalents(left, 4000, right, 576, system_chips=72)}
    assert rows["BF16 dense"].ratio == pytest.approx(576 * 2500 / (4000 * 989))
    assert rows["HBM capacity"].ratio == pytest.approx(576 * 186 / (4000 * 80))
    assert rows["HBM bandwidth"].ratio == pytest.approx(576 * 8 / (4000 * 3.35))
    assert rows["FP4 dense"].ratio is None
    assert rows["FP4 dense"].note == "not known on the left"
    assert rows["BF16 dense"].needed_systems == pytest.approx(4000 * 989 / 2500 / 72)
    assert press_equivalent(KNOWN, left, 4000, right, 576).ratio == pytest.approx(0.36)
    assert press_equivalent(KNOWN, left, 1, KNOWN.chip("maia-200"), 1) is None


def test_ages_and_the_warning_of_stale_offers():
    today = date(2026, 11, 22)
    by_kind = {}
    for age in (*ages(KNOWN, today=today), *price_ages(KNOWN, today=today)):
        by_kind.setdefault(age.kind, []).append(age)
    assert set(by_kind) == {"offer", "port", "figure", "calibration", "token price"}
    assert len(by_kind["offer"]) == len(KNOWN.offers)
    old = stale(KNOWN, days=180, today=today)
    assert old[0].age_days is None  # undated quotes come first
    assert all(a.age_days is None or a.age_days > 180 for a in old)
    assert f"{len(old)} of {len(KNOWN.offers)} offers" in warning(KNOWN, days=180, today=today)
    assert len(stale(KNOWN, days=10_000, today=today)) == sum(a.age_days is None for a in by_kind["offer"])


def test_fresh_offers_raise_no_warning(tmp_path):
    rows = "".join(f"{o.id},quoted_on,2026-11-20,,s,2026-11-20,list_price,\n" for o in KNOWN.offers.values())
    (tmp_path / "o.csv").write_text(HEAD + rows)
    assert warning(load(tmp_path / "o.csv"), days=30, today=date(2026, 11, 22)) == ""


def test_diff_tells_prices_facts_and_ports_that_moved(tmp_path):
    (tmp_path / "a.csv").write_text(
        HEAD
        + "h100-sxm,tdp_w,650,W,s,2026,measured,\n"
        + "azure-eastus-h100-sxm-on-demand,usd_per_chip_hour,10,USD/chip-hour,s,2026-12,list_price,\n"
    )
    head = "model_family,chip_family,engine,status,source,as_of,basis\n"
    (tmp_path / "b.csv").write_text(head + "llama,maia,vllm,pilot,s,2026,assumed\n")
    changes = {(c.kind, c.subject, c.parameter): c for c in diff(KNOWN, load(tmp_path))}
    assert changes["chip", "h100-sxm", "tdp_w"].ratio == pytest.approx(650 / 700)
    assert changes["offer", "azure-eastus-h100-sxm-on-demand", "usd_per_chip_hour"].ratio == pytest.approx(10 / 12.29)
    assert changes["port", "llama on maia", "vllm"].old is None
    assert len(changes) == 3
    assert diff(KNOWN, KNOWN) == []


def test_diff_is_antisymmetric(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + "h100-sxm,tdp_w,650,W,s,2026,measured,\nh100-nvl,tdp_w,400,W,s,2026,measured,\n")
    other = load(tmp_path / "a.csv")
    there, back = diff(KNOWN, other), diff(other, KNOWN)
    assert {(c.subject, c.old, c.new) for c in there} == {(c.subject, c.new, c.old) for c in back}
    assert len(there) == 2


def test_engines_on_chip_families_and_what_a_port_takes():
    cells = matrix(KNOWN)
    assert cells["vllm", "cuda-hopper"].status == "production"
    assert "llama" in cells["nxd-inference", "neuron"].model_families
    assert ("sglang", "neuron") not in cells  # unknown, never zero
    assert all(cell.sources and set(cell.sources) <= set(KNOWN.sources) for cell in cells.values())
    assert port_class(KNOWN, "llama", "neuron") == "runs"
    assert port_class(KNOWN, "deepseek-mla", "neuron") == "new model"
    assert port_class(KNOWN, "llama", "maia") == "new platform"
    assert port_class(KNOWN, "never-seen", "tpu") == "unknown"
