"""C15: process and launch date of Maia 200 are facts, and the date gates use."""

from chip_entry import KNOWN

from polysilicon import planner, scenario
from polysilicon.model.layout import Layout
from polysilicon.performance import ServingPoint

TEXT = """\
polysilicon: 1
name: early
horizon: {start: 2025-12-01, months: 4, period: month}
workloads:
  - id: chat
    model: gpt-oss-120b
    traffic: {profile: chat, mean_rps: 10}
    slo: {ttft_s: 1.0, tpot_s: 0.03}
ports:
  - {model_family: gpt-oss, chip_family: maia, engine: sdk, status: production}
offers:
  catalogue: false
  own:
    - {id: dear, cloud: azure, region: eastus, chip: gb200, kind: on_demand, usd_per_chip_hour: 10.0}
    - {id: cheap, cloud: azure, region: centralus, chip: maia-200, kind: on_demand, usd_per_chip_hour: 1.0}
"""


def test_launch_and_process_are_sourced_facts():
    chip = KNOWN.chip("Maia 200")
    assert chip.process == "TSMC N3"
    assert chip.available_from.isoformat() == "2026-01-26"
    assert chip.facts["available_from"].source in KNOWN.sources


def test_no_offer_of_maia_200_is_there_before_its_launch():
    offers = [o for o in KNOWN.offers.values() if o.chip == "maia-200"]
    assert offers
    assert all(o.available_from >= "2026-01-26" for o in offers)
    assert KNOWN.chip("Maia 200").available_from.isoformat() > "2025-12-31"


def test_a_plan_dated_before_the_launch_places_nothing_on_it():
    resolved = scenario.resolve(scenario.load_text(TEXT, catalogue=KNOWN), KNOWN)
    point = {
        ("chat", chip): ServingPoint(
            "chat", "gpt-oss-120b", chip, Layout(), 32, 0.5, 0.02, 1e3, 1.0, 1e3, 1.0, 0.5, 0.5, 10_000, "assumed", 0.3
        )
        for chip in ("gb200", "maia-200")
    }
    plan = planner.plan(resolved, point, seconds=20)
    chips = {(plan.periods[p.period].start, p.chip) for p in plan.placements if p.share_frac > 1e-6}
    assert chips == {("2025-12-01", "gb200"), ("2026-01-01", "gb200"), ("2026-02-01", "maia-200"), ("2026-03-01", "maia-200")}
