"""Prefill on one pool, decode on another: by hand, to the cent, within the wire, after a failure, and never dearer for being allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import CHIPS, offer, phases, port, table, work, world

from polysilicon import planner
from polysilicon.errors import Infeasible, InputError
from polysilicon.planner import leverage
from polysilicon.planner.answer import plan_of
from polysilicon.planner.resolve import Asker, supplier
from polysilicon.portfolio import concentration
from polysilicon.scenario.schema import DisaggregationPart, LimitsPart, LinkPart, SurvivePart

PREFILL, DECODE = {"gb200": 10.0, "h100": 1.0}, {"h100": 4.0, "gb200": 4.0}
BOTH = {"gb200": 2.0, "h100": 0.5}
HOURS = 90 * 24.0


def wires(**more):
    given = {"id": "hall", "prefill": ("gb200@azure/*",), "decode": ("h100@azure/*",), "gb_per_s_per_chip": 50.0}
    return DisaggregationPart(links=(LinkPart(**{**given, **more}),))


def tables(resolved, speed=None, apart=None):
    return planner.problem(resolved, table(resolved.workloads, speed or BOTH), phases=apart or phases(resolved.workloads, PREFILL, DECODE))


def solve(resolved, **more):
    return planner.plan_problem(tables(resolved, **more), gap_frac=1e-6)


def two(**more):
    return world([work(rps=100.0)], [offer("gb200", 5.0), offer("h100", 2.0)], disaggregation=wires(), **more)


def test_each_phase_goes_where_it_is_cheapest_by_hand():
    """100 requests/s: prefill 100 / 10 = 10 GB200 at $5, decode 100 / 4 = 25 H100 at $2: $100/h against 50 GB200 = $250/h."""
    found = solve(two())
    assert found.objective_usd == pytest.approx(100.0 * HOURS)
    (placed,) = found.placements
    assert placed.pool == "gb200@azure/eastus>h100@azure/eastus" and placed.share_frac == pytest.approx(1.0)
    assert (placed.chip, placed.peak_chips) == ("gb200", pytest.approx(10.0))
    assert (placed.decode.chip, placed.decode.peak_chips, placed.decode.link) == ("h100", pytest.approx(25.0), "hall")
    tokens = {c.by: c for c in concentration(found, {"gb200": "one", "h100": "two"}) if c.of == "tokens"}
    assert (tokens["vendor"].top, tokens["vendor"].top_frac) == ("one", pytest.approx(1000 / 1200))
    assert placed.decode.gb_per_s == pytest.approx(100 * 1000 * 1e5 / 1e9)
    assert {h.chip: h.peak_chips for h in found.holdings} == pytest.approx({"gb200": 10.0, "h100": 25.0})
    assert {(s.chip, s.phase) for s in found.phase_serving} == {("gb200", "prefill"), ("h100", "decode")} and found.serving == ()
    assert [s[:2] for s in placed.seats()] == [("gb200@azure/eastus", "prefill"), ("h100@azure/eastus", "decode")]


def test_without_links_nothing_is_apart():
    found = solve(replace(two(), disaggregation=None))
    assert found.objective_usd == pytest.approx(250.0 * HOURS) and all(p.decode is None for p in found.placements)


def test_the_wire_limits_what_goes_apart_and_its_limit_has_a_price():
    """4 GB/s carry 40 of 100 requests/s at 0.1 GB each; the rest takes both phases on GB200: 40 + 60 x 2.5 = $190/h."""
    resolved = replace(two(), disaggregation=wires(gb_per_s=4.0))
    program, solution, _ = planner.solved(tables(resolved), gap_frac=1e-6)
    found = plan_of(program, solution, seconds={})
    assert found.objective_usd == pytest.approx((40 * 1.0 + 60 * 2.5) * HOURS)
    apart = next(p for p in found.placements if p.decode)
    assert apart.share_frac == pytest.approx(0.4) and apart.decode.gb_per_s == pytest.approx(4.0)
    worth = next(p for p in found.shadow_prices if p.limit == "link:hall")
    assert worth.usd == pytest.approx(10 * 1.5 * HOURS / (90 / (365 / 12)), rel=0.02) and worth.per == "GB/s-month"


def test_what_the_wire_charges_is_on_the_bill_to_the_cent():
    resolved = replace(two(), disaggregation=wires(usd_per_gb=0.001))
    program, solution, _ = planner.solved(tables(resolved), gap_frac=1e-6)
    found = plan_of(program, solution, seconds={})
    gb = 100 * 3600 * HOURS * 0.1
    assert found.placements[0].decode.transfer_usd == pytest.approx(gb * 0.001)
    assert found.bill_usd == pytest.approx(100.0 * HOURS + gb * 0.001) and abs(found.objective_usd - solution.objective_usd) < 0.005
    assert found.placements[0].usd == pytest.approx(found.bill_usd)
    dear = solve(replace(two(), disaggregation=wires(usd_per_gb=0.1)))
    assert all(p.decode is None for p in dear.placements)  # $36/h a request/s of KV eats the saving


def test_both_pools_must_survive():
    limits = LimitsPart(utilisation_max_frac=1.0, survive_loss_of=(SurvivePart(kind="vendor", demand_frac=0.5),))
    chips = {**CHIPS, "h100": replace(CHIPS["h100"], vendor="other")}
    alone = [offer("gb200", 5.0, max_chips=25.0), offer("h100", 2.0, max_chips=100.0)]
    kept = world([work(rps=100.0)], alone, limits=limits, chips=chips, disaggregation=wires())
    assert solve(kept).placements  # 25 GB200 alone, or 100 H100 alone, serve half
    with pytest.raises(Infeasible, match="surviving the loss of vendor"):
        solve(replace(kept, offers=(alone[0], offer("h100", 2.0, max_chips=60.0))))


def test_a_port_opens_a_seat_only_when_live():
    ports = (port("cuda-blackwell"), port("cuda-hopper"), port("maia", "none", cost_usd=1e4, lead_months=3.0, initial_efficiency_frac=1.0))
    resolved = world(
        [work(rps=100.0)], [offer("gb200", 5.0), offer("maia200", 0.5)], ports=ports, months=6, disaggregation=wires(decode=("maia200@*",))
    )  # fmt: skip
    found = solve(resolved, speed={"gb200": 2.0}, apart=phases(resolved.workloads, {"gb200": 10.0}, {"maia200": 4.0}))
    assert found.ports and {(p.period, p.decode is not None) for p in found.placements} == {(0, False), (1, True)}


def test_a_supplier_that_decodes_is_a_supplier():
    resolved = world(
        [work(rps=100.0)],
        [offer("gb200", 5.0), offer("h100", 2.0, cloud="aws")],
        disaggregation=wires(decode=("h100@aws/*",)),
    )
    question = tables(resolved)
    aws = next(s for s in leverage.negotiate(question) if s.name == "aws")
    assert aws.value_usd == pytest.approx(150.0 * HOURS) and aws.token_share_frac == pytest.approx(200 / 1200)
    asker = Asker(question)
    gone = asker.ask(closed=asker.owned(supplier(question, "cloud", "aws")))
    assert gone.usd == pytest.approx(250.0 * HOURS)
    assert {(a.pool, a.decode) for a in question.without(cloud="aws").arcs} == {(0, None)}


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 20.0), st.floats(0.5, 20.0), st.floats(0.2, 3.0), st.floats(0.0, 5.0))
def test_a_link_never_raises_the_optimum(prefill, decode, price, gb_per_s):
    resolved = world([work(rps=50.0)], [offer("gb200", 5.0), offer("h100", price)])
    apart = phases(resolved.workloads, {"gb200": prefill}, {"h100": decode})
    without = solve(resolved, apart=apart)
    joined = solve(replace(resolved, disaggregation=wires(gb_per_s=gb_per_s + 0.01)), apart=apart)
    assert joined.objective_usd <= without.objective_usd * (1 + 1e-6)


def test_a_charge_needs_one_sending_cloud():
    both = wires(prefill=("gb200@*",), usd_per_gb=0.1)
    resolved = world([work(rps=1.0)], [offer("gb200", 5.0), offer("gb200", 5.0, cloud="aws")], disaggregation=both)
    with pytest.raises(InputError, match="prefills in 2 clouds"):
        tables(resolved)
