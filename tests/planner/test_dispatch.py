"""The dispatch core: an independent modelling tool, brute force and Melange's own ground."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from polysilicon.errors import InputError
from polysilicon.planner.dispatch import Dispatcher, Market, day, tile


def market(rng, *, hours=6, pools=3, offers=4, workloads=3, wait=False):
    arcs = [(w, p) for w in range(workloads) for p in range(pools) if rng.random() < 0.8 or p == 0]
    return Market(
        held_chips=rng.uniform(0, 5, (pools, hours)).round(2),
        offer_pool=np.array([i % pools for i in range(offers)]),
        offer_usd_per_chip_hour=rng.uniform(1, 6, (offers, hours)).round(3),
        offer_max_chips=rng.uniform(5, 40, (offers, hours)).round(1),
        arc_workload=np.array([a[0] for a in arcs]),
        arc_pool=np.array([a[1] for a in arcs]),
        arc_rps_per_chip=rng.uniform(0.5, 3, len(arcs)).round(3),
        demand_rps=rng.uniform(2, 30, (workloads, hours)).round(2),
        wait_hours=np.array([3 if wait and w == 0 else 0 for w in range(workloads)]),
        unserved_usd_per_request=np.full(workloads, 0.05),
    )


def pypsa_usd(m: Market) -> float:
    """The same market as a power system: offers are generators, pools buses, serving links, backlog a store."""
    import pypsa

    n = pypsa.Network()
    hours = m.demand_rps.shape[1]
    n.set_snapshots(list(range(hours)))
    for p in range(len(m.held_chips)):
        n.add("Bus", f"pool{p}")
        n.add("Generator", f"held{p}", bus=f"pool{p}", p_nom=1.0, p_max_pu=m.held_chips[p], marginal_cost=0.0)
    for o, p in enumerate(m.offer_pool):
        n.add("Generator", f"offer{o}", bus=f"pool{p}", p_nom=1.0, p_max_pu=m.offer_max_chips[o], marginal_cost=m.offer_usd_per_chip_hour[o])
    for w in range(len(m.demand_rps)):
        n.add("Bus", f"work{w}")
        n.add("Load", f"load{w}", bus=f"work{w}", p_set=m.demand_rps[w])
        n.add("Generator", f"lost{w}", bus=f"work{w}", p_nom=1e6, marginal_cost=m.unserved_usd_per_request[w] * 3600.0)
    for a, (w, p) in enumerate(zip(m.arc_workload, m.arc_pool, strict=True)):
        n.add("Link", f"arc{a}", bus0=f"pool{p}", bus1=f"work{w}", p_nom=1e6, efficiency=m.arc_rps_per_chip[a])
    n.optimize(solver_name="highs", log_to_console=False)
    return float(n.objective)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_an_independent_tool_to_a_billionth(seed):
    m = market(np.random.default_rng(seed))
    assert Dispatcher(m).solve().usd == pytest.approx(pypsa_usd(m), rel=1e-9)


def test_requests_are_conserved_and_chips_suffice():
    m = market(np.random.default_rng(5), wait=True, hours=12)
    found = Dispatcher(m).solve()
    served = np.zeros_like(m.demand_rps)
    np.add.at(served, m.arc_workload, found.busy_chips * m.arc_rps_per_chip[:, None])
    assert (served + found.unserved_rps).sum(axis=1) == pytest.approx(m.demand_rps.sum(axis=1))
    chips = m.held_chips.copy()
    np.add.at(chips, m.offer_pool, found.rented_chips)
    busy = np.zeros_like(chips)
    np.add.at(busy, m.arc_pool, found.busy_chips)
    assert (busy <= chips + 1e-7).all()
    assert found.backlog_requests[:, -1] == pytest.approx(0.0)


def test_leave_to_wait_never_costs_more():
    rng = np.random.default_rng(7)
    m = market(rng, hours=12)
    patient = Market(**{**{f: getattr(m, f) for f in m.__dataclass_fields__}, "wait_hours": np.array([4, 0, 0])})
    assert Dispatcher(patient).solve().usd <= Dispatcher(m).solve().usd + 1e-6


def test_duals_predict_a_small_change():
    m = market(np.random.default_rng(3))
    found = Dispatcher(m).solve()
    bumped = m.held_chips.copy()
    bumped[1, 2] += 1e-4
    other = Market(**{**{f: getattr(m, f) for f in m.__dataclass_fields__}, "held_chips": bumped})
    assert (found.usd - Dispatcher(other).solve().usd) / 1e-4 == pytest.approx(found.chip_hour_usd[1, 2], abs=1e-5)


def test_a_warm_price_tick_equals_a_cold_start():
    rng = np.random.default_rng(2)
    m = market(rng)
    warm = Dispatcher(m)
    warm.solve()
    ticked = m.offer_usd_per_chip_hour * rng.uniform(0.9, 1.1, m.offer_usd_per_chip_hour.shape)
    warm.set_prices(ticked)
    cold = Market(**{**{f: getattr(m, f) for f in m.__dataclass_fields__}, "offer_usd_per_chip_hour": ticked})
    assert warm.solve().usd == pytest.approx(Dispatcher(cold).solve().usd, rel=1e-9)
    warm.set_limits(np.zeros_like(m.offer_max_chips))
    assert warm.solve().rented_chips.max() == 0.0


def test_unknown_prices_are_refused():
    m = market(np.random.default_rng(0))
    m.offer_usd_per_chip_hour[0, 0] = np.nan
    with pytest.raises(InputError, match="offer_usd_per_chip_hour"):
        Dispatcher(m)


def test_the_day_is_a_day():
    assert day(48).mean() == pytest.approx(1.0) and tile([1.0, 2.0], 3).shape == (2, 3)


# The one-shot choice of chips by request size, on Melange's own profile: counts of chips, continuous split over sizes.
PRICES = {"L4": 0.70, "A10G": 1.01, "A100-80G": 3.67, "H100": 7.516}
PUBLISHED = {
    1: (1.71, {"L4": 19, "A10G": 15, "A100-80G": 53, "H100": 77}),
    2: (2.72, {"L4": 22, "A10G": 10, "A100-80G": 26, "H100": 64}),
    4: (4.37, {"L4": 31, "A10G": 13, "A100-80G": 40, "H100": 42}),
    8: (8.35, {"L4": 30, "A10G": 8, "A100-80G": 24, "H100": 44}),
    16: (16.06, {"L4": 30, "A10G": 12, "A100-80G": 12, "H100": 47}),
    32: (31.75, {"L4": 30, "A10G": 10, "A100-80G": 4, "H100": 40}),
}


@pytest.mark.shared
def test_melange_on_its_own_ground(shared_dir):
    from polysilicon.planner.one_shot import cheapest_chips

    data = json.loads((shared_dir / "data" / "melange_llama2_7b.json").read_text())
    share = np.array(data["arena_hist_percent_printed"], float)
    names = list(data["gpus"])
    rates = [np.array(data["gpus"][n]["tputs_req_per_s"], float) for n in names]
    share = orient(share)
    usd = [data["gpus"][n]["price_usd_h_paper"] for n in names]
    for rps, (published, savings) in PUBLISHED.items():
        demand = (share / share.sum() * rps).ravel()
        found = cheapest_chips(demand, np.array([r.ravel() for r in rates]), np.array(usd))
        assert found.usd_per_hour <= published + 0.005
        for name, saving in savings.items():
            i = next(k for k, n in enumerate(names) if n.startswith(name[:4]))
            alone = cheapest_chips(demand, np.array([rates[i].ravel()]), np.array([usd[i]]))
            assert 100 * (1 - found.usd_per_hour / alone.usd_per_hour) == pytest.approx(saving, abs=1.0), (rps, name)


@pytest.mark.shared
def test_skypilot_picks_the_same_where_chips_can_be_cut(shared_dir):
    """SkyPilot gives each task its cheapest chip, for as long as it needs it: $0.9899 at 1 req/s, $31.6772 at 32 (its release 0.14.1)."""
    from polysilicon.planner.one_shot import cheapest_chips

    data = json.loads((shared_dir / "data" / "melange_llama2_7b.json").read_text())
    share = orient(np.array(data["arena_hist_percent_printed"], float))
    rates = np.array([np.array(g["tputs_req_per_s"], float).ravel() for g in data["gpus"].values()])
    usd = np.array([g["price_usd_h_paper"] for g in data["gpus"].values()])
    for rps, published in ((1, 0.9899), (32, 31.6772)):
        demand = (share / share.sum() * rps).ravel()
        found = cheapest_chips(demand, rates, usd)
        cheapest_a_task = float((demand * (usd[:, None] / rates).min(axis=0)).sum())  # one-hot: its program, by hand
        assert found.bound_usd_per_hour == pytest.approx(cheapest_a_task, rel=1e-9)
        assert found.bound_usd_per_hour == pytest.approx(published, abs=5e-5)


def orient(printed):
    """The notebook prints the histogram transposed and flipped against the throughputs."""
    return np.array(printed)[::-1].T


def test_one_shot_choice_equals_brute_force():
    from polysilicon.planner.one_shot import cheapest_chips

    rng = np.random.default_rng(4)
    for _ in range(5):
        rates, demand, usd = rng.uniform(0.5, 4, (2, 3)), rng.uniform(0.5, 3, 3), rng.uniform(1, 5, 2)
        found = cheapest_chips(demand, rates, usd)
        best = min(float(np.dot(counts, usd)) for counts in itertools.product(range(8), repeat=2) if carries(np.array(counts), demand, rates))
        assert found.usd_per_hour == pytest.approx(best)


def carries(counts, demand, rates):
    from scipy.optimize import linprog

    g, b = rates.shape
    fill = np.zeros((g, g * b))
    for i in range(g):
        fill[i, i * b : (i + 1) * b] = demand / rates[i]
    cover = np.hstack([np.eye(b)] * g)
    return linprog(np.zeros(g * b), A_ub=fill, b_ub=counts, A_eq=cover, b_eq=np.ones(b), bounds=(0, 1)).status == 0


def changed(m, **more):
    return Market(**{**{f: getattr(m, f) for f in m.__dataclass_fields__}, **more})


def test_a_snapshot_that_comes_often_is_many_hours():
    """Two equal days in hours cost what one day costs that comes twice, and what blocks of three equal hours cost."""
    rng = np.random.default_rng(8)
    m = market(rng, hours=24, wait=True)
    steps = {f: np.repeat(getattr(m, f)[:, ::3], 3, axis=1) for f in ("held_chips", "offer_usd_per_chip_hour", "offer_max_chips", "demand_rps")}
    day_ = changed(m, **steps, wait_hours=np.array([6, 0, 0]))
    twice = changed(day_, **{f: np.tile(v, 2) for f, v in steps.items()}, day_snapshots=24)
    coarse = changed(day_, **{f: v[:, ::3] for f, v in steps.items()}, hours_each=np.full(8, 3.0), times=np.full(8, 2.0), day_snapshots=8)
    long, short = Dispatcher(twice).solve(), Dispatcher(coarse).solve()
    assert long.usd == pytest.approx(2 * Dispatcher(day_).solve().usd, rel=1e-9)
    assert short.usd == pytest.approx(long.usd, rel=0.02) and short.usd >= long.usd * (1 - 1e-9)  # work waits in whole blocks there
    patient = changed(coarse, wait_hours=np.array([0, 0, 0]))
    exact = changed(twice, wait_hours=np.array([0, 0, 0]))
    assert Dispatcher(patient).solve().usd == pytest.approx(Dispatcher(exact).solve().usd, rel=1e-9)
    assert Dispatcher(patient).solve().chip_hour_usd.max() == pytest.approx(Dispatcher(exact).solve().chip_hour_usd.max(), rel=1e-6)


def test_no_vendor_gets_more_than_its_share_at_new_prices_too():
    m = changed(market(np.random.default_rng(11), hours=26, offers=6), vendor=np.array([0, 1, 2, 0, 1, 2]), vendor_cap_frac=0.45)
    program = Dispatcher(m)
    for usd in (m.offer_usd_per_chip_hour, m.offer_usd_per_chip_hour * np.array([[0.2], [1.0], [1.0], [0.2], [1.0], [1.0]])):
        program.set_prices(usd)
        found = program.solve()
        spend = np.bincount(m.vendor, (found.rented_chips * usd).sum(axis=1))
        assert spend.sum() > 0 and spend.max() <= 0.45 * spend.sum() * (1 + 1e-7)
        assert found.usd == pytest.approx(Dispatcher(changed(m, offer_usd_per_chip_hour=usd)).solve().usd, rel=1e-9)
    assert found.usd > Dispatcher(changed(m, offer_usd_per_chip_hour=usd, vendor_cap_frac=1.0)).solve().usd
