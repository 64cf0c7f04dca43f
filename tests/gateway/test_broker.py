"""The broker: exact dispatch, hysteresis, commitments, replay, and the same routes as the simulator's function gives."""

from __future__ import annotations

import asyncio
import json
import math
import time
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from polysilicon import routing
from polysilicon.cloud.contract import BillingPeriod, Contract, Usage, UsageLine
from polysilicon.cloud.token_price import TokenPrice
from polysilicon.errors import InputError
from polysilicon.gateway.broker import Broker, Commitment, View, dispatch, quotes, replay
from polysilicon.gateway.broker.dispatch import Lane
from polysilicon.gateway.broker.steer import Steer
from polysilicon.gateway.broker.tick import Logged, read_log
from polysilicon.gateway.config import BrokerPart, QuotePart
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.health import Health
from polysilicon.gateway.live import Live
from polysilicon.gateway.router import Router
from polysilicon.gateway.table import Table
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.wiring import Directive, Key, Reliability, Route, Target, Variant, Wiring, first_directive

DAY = 86400.0


def wiring(prices: list[float], weights: list[float] | None = None, **variant_changes: object) -> Wiring:
    targets = tuple(Target(i, f"t{i}", "claude", "http", "h", 1, "", f"cloud{i}", "us-east-1") for i in range(len(prices)))
    variants = tuple(
        Variant(i, f"m@t{i}", "m", i, "m", f"chip{i}", "", f"c{i}", "production", 1.0, "passed", compile_price(TokenPrice("m", f"t{i}", p, p)))
        for i, p in enumerate(prices)
    )  # fmt: skip
    n = len(prices)
    route = Route("m", "m", "", "", tuple(range(n)), tuple(weights or [1 / n] * n), "test")
    return Wiring("d", "p", "/nowhere", "h", 0, 1, targets, variants, (route,), (), (), Reliability())


def view(now_s: float, prices: list[float] | None = None, **more: object) -> View:
    quoted = {f"m@t{i}": (p, p) for i, p in enumerate(prices or [])}
    return View(**{"now_s": now_s, "demand_mtok_per_s": [1.0], "mix_in_frac": [0.75], "quotes": quoted, **more})  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 1)), min_size=2, max_size=5),
    st.floats(0.1, 10), st.floats(0, 5),
)  # fmt: skip
def test_dispatch_is_the_optimum(lanes: list[tuple[float, float]], demand: float, missing: float) -> None:
    """The same program, solved by another solver: equal cost."""
    given_lanes = [Lane(0, i, i, f"c{i}", p, f"k{i}" if i == 0 else "", cap_frac=c) for i, (p, c) in enumerate(lanes)]
    out = dispatch(given_lanes, [demand], commitments=[Commitment("k0", missing, 2.0)])
    n = len(lanes)
    cost = [p * demand for p, _ in lanes] + [1e4 * demand, 0.5]
    row = [-lanes[0][0] * demand * 2.0] + [0.0] * n + [-1.0]
    reference = linprog(cost, A_ub=[row], b_ub=[-missing], A_eq=[[1.0] * (n + 1) + [0.0]], b_eq=[1.0],
                        bounds=[(0, c) for _, c in lanes] + [(0, 1), (0, None)])  # fmt: skip
    assert math.isclose(out.usd_per_s, reference.fun, rel_tol=1e-6, abs_tol=1e-6)


def test_dispatch_by_hand() -> None:
    lanes = [Lane(0, 0, 0, "aws", 3.0, "macc"), Lane(0, 1, 1, "gcp", 2.0)]
    assert dispatch(lanes, [1.0]).shares == (0.0, 1.0)
    # a dollar of the commitment is worth a dollar while it cannot be met: aws costs nothing
    short = dispatch(lanes, [1.0], commitments=[Commitment("macc", 1000.0, 100.0)])
    assert short.shares == (1.0, 0.0)
    assert math.isclose(short.shadow_usd["macc"], 1.0)
    # $150 missing over 100 s: half of the traffic at $3 meets it, and the last dollar is worth the difference, a third
    half = dispatch(lanes, [1.0], commitments=[Commitment("macc", 150.0, 100.0)])
    assert np.allclose(half.shares, (0.5, 0.5))
    assert math.isclose(half.shadow_usd["macc"], 1 / 3, rel_tol=1e-6)
    assert dispatch(lanes, [1.0], cloud_share_max_frac={"gcp": 0.3}).shares == (0.7, 0.3)
    assert dispatch(lanes, [2.0], capacity_mtok_per_s={1: 0.5}).shares == (0.75, 0.25)


def test_noise_moves_little_and_a_real_move_is_followed() -> None:
    """Five per cent of noise: at most one switch an hour. A real move of 15 %: begun within 60 s, at most 20 points a minute."""
    random = Random(1)
    w = wiring([10.0, 10.0], [0.5, 0.5])
    broker = Broker(w, BrokerPart(mode="price"))
    steer = broker.steers[0]
    for t in range(0, 4 * 3600, 10):
        broker.tick(view(1e9 + t, [10 * random.uniform(0.95, 1.05) for _ in range(2)]))
        assert steer.switches <= 1 + t // 3600
    before, began = list(steer.weights), 4 * 3600
    dear = 0 if before[0] > 0.5 else 1
    last = list(steer.weights)
    followed = None
    for t in range(began, began + 600, 5):
        prices = [10 * random.uniform(0.99, 1.01) * (1.15 if i == dear else 1.0) for i in range(2)]
        weights = broker.tick(view(1e9 + t, prices)).weights[0]
        assert abs(weights[0] - last[0]) <= 0.20 * 10 / 60 + 1e-6
        if followed is None and weights[dear] < before[dear] - 0.01:
            followed = t - began
        last = list(weights)
    assert followed is not None
    assert followed <= 60
    assert last[dear] < 0.02


def test_what_is_out_of_service_is_left_at_once() -> None:
    broker = Broker(wiring([1.0, 2.0, 3.0], [0.6, 0.3, 0.1]), BrokerPart())
    directive = broker.tick(view(1e9, down={"m@t0": "outage"}))
    assert directive.weights[0][0] == 0.0
    assert math.isclose(sum(directive.weights[0]), 1.0, abs_tol=1e-5)
    assert "outage" in directive.reason
    back = broker.tick(view(1e9 + 1))
    for t in range(2, 400):
        back = broker.tick(view(1e9 + t))
    assert [round(x, 2) for x in back.weights[0]] == [0.6, 0.3, 0.1], "and comes back to the plan's share, step by step"


def test_plan_mode_keeps_the_plan_while_nothing_moves() -> None:
    broker = Broker(wiring([3.0, 1.0], [0.7, 0.3]), BrokerPart(mode="plan"))
    for t in range(100):
        assert broker.tick(view(1e9 + t)).weights[0] == [0.7, 0.3]
    assert broker.directive.number == 1


def tape(minutes: int, targets: int, seed: int) -> np.ndarray:
    """Prices that stay for hours, jump now and then, and shiver by a per cent."""
    random = np.random.default_rng(seed)
    out = np.empty((minutes, targets))
    level = np.array([10.0, 10.5, 11.0, 11.5][:targets])
    base = level.copy()
    for m in range(minutes):
        for i in range(targets):
            if random.random() < 1 / 240:
                level[i] = base[i] * random.choice([0.75, 0.9, 1.0, 1.15, 1.35])
        out[m] = level * random.uniform(0.99, 1.01, targets)
    return out


def test_in_plan_mode_the_others_keep_their_shares_and_the_cheapest_takes_what_one_cannot_carry() -> None:
    """One on trial, one out of service: what they were planned for moves, and nothing else does."""
    w = wiring([3.0, 1.0, 2.0, 9.0], [0.5, 0.2, 0.2, 0.1])
    trial = msgspec.structs.replace(w.variants[1], stage="pilot")
    w = msgspec.structs.replace(w, variants=(w.variants[0], trial, *w.variants[2:]))
    broker = Broker(w, BrokerPart(mode="plan"))
    directive = broker.tick(view(1e9))
    for t in range(1, 4000, 60):
        directive = broker.tick(view(1e9 + t))
    assert np.allclose(directive.weights[0], [0.5, 0.01, 0.39, 0.1], atol=1e-3), "the third, cheapest of those that may, takes it"
    out = broker.tick(view(1e9 + 5000, down={"m@t2": "outage"}))
    assert out.weights[0][2] == 0.0
    assert out.weights[0][3] >= 0.1 - 1e-6
    assert np.allclose(out.weights[0], [0.89, 0.01, 0.0, 0.1], atol=1e-3)


@pytest.mark.parametrize("seed", [3, 4])
def test_regret_on_a_day_of_prices(seed: int) -> None:
    """Within 3 % of a clairvoyant who solves every minute anew and pays nothing for switching; ahead of the usual rules."""
    prices = tape(1440, 4, seed)
    w = wiring([10.0, 10.5, 11.0, 11.5])
    lost_cache_usd = 0.6  # per Mtok moved: the prompts that must be read again
    cap = [0.6, 0.6, 0.6, 0.6]
    w = msgspec.structs.replace(w, variants=tuple(msgspec.structs.replace(v, share_max_frac=0.6) for v in w.variants))
    broker = Broker(w, BrokerPart(mode="price"))  # as it comes
    ours = best = static = listed = chased = share_rule = 0.0
    last = np.array([0.25] * 4)
    last_chased = np.array([0.25] * 4)
    for m in range(1440):
        p = prices[m]
        for half in range(2):
            weights = np.array(broker.tick(view(1e9 + 60.0 * m + 30.0 * half, list(p))).weights[0])
            ours += weights @ p / 2 + abs(weights - last).sum() / 2 * lost_cache_usd
            last = weights
        order = np.argsort(p)
        ideal = np.zeros(4)
        ideal[order[0]], ideal[order[1]] = cap[0], 1.0 - cap[0]
        inverse = p**-2.0 / (p**-2.0).sum()  # an OpenRouter-like rule: shares by the inverse square of the price
        best += ideal @ p
        listed += np.array([0.6, 0.4, 0.0, 0.0]) @ p  # cost-based routing as it is sold: the cheapest by list price
        chased += ideal @ p + abs(ideal - last_chased).sum() / 2 * lost_cache_usd
        static += p.mean()
        share_rule += inverse @ p
        last_chased = ideal
    assert ours / best - 1 <= 0.03
    assert ours < static
    assert ours < share_rule
    assert ours < listed
    assert ours <= chased * 1.01, "a rule that may jump at once, without a ramp, is the bound of what can be had"


@pytest.mark.parametrize("kind", ["macc", "edp"])
def test_commitment_is_met_at_little_cost(kind: str) -> None:
    """A year in days: the shortfall at the end is under 0.5 % of the commitment, the bill within 1 % of full information."""
    dear, cheap = (4.4, 4.0) if kind == "macc" else (4.2, 4.0)
    # demand swings by season and week; the commitment asks for 45 % of the year's tokens at the dearer cloud
    demand = [1.0 + 0.3 * math.sin(2 * math.pi * d / 365) + (0.1 if d % 7 < 5 else -0.25) for d in range(365)]  # Mtok/s
    commit = 0.45 * sum(demand) * DAY * dear
    contract = Contract("c0", "cloud0", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=commit, drawn_before_usd=0.0)
    start = 1767225600.0  # 2026-01-01
    w = wiring([dear, cheap], [0.3, 0.7])
    broker = Broker(
        w,
        BrokerPart(mode="price", tick_s=DAY, dwell_s=0.0, dwell_large_gain_s=0.0, gain_min_frac=0.0005, ramp_per_minute_frac=1.0),
        [contract],
    )
    drawn = spent = 0.0
    average = demand[0]
    for d, now in enumerate(demand):
        average += (now - average) / 14.0
        known_mean = sum(demand) / len(demand) if d < 1 else average
        seen = view(start + d * DAY, demand_mtok_per_s=[known_mean], drawn_usd={"c0": drawn})
        directive = broker.tick(seen)
        share = directive.weights[0][0]
        drawn += share * now * DAY * dear
        spent += share * now * DAY * dear + (1 - share) * now * DAY * cheap
        assert 0.0 <= directive.shadow_usd["c0"] <= 1.0 + 1e-6
    months = (BillingPeriod("2026-01-01", "2027-01-01", 8760.0),)
    shortfall = contract.bill(Usage(months, (UsageLine(0, "x", "cloud0", drawn / dear, "Mtok", dear),))).lines[0].shortfall_usd
    assert shortfall <= 0.005 * commit
    total = sum(demand) * DAY
    full_information = commit + (total - commit / dear) * cheap
    assert spent + shortfall <= 1.01 * full_information


def test_decisions_replay() -> None:
    random = Random(5)
    w = wiring([3.0, 3.1, 3.3], [0.5, 0.3, 0.2])
    settings_ = BrokerPart(mode="price", dwell_s=120.0)
    broker = Broker(w, settings_)
    log = []
    for t in range(300):
        down = {"m@t1": "reclaimed"} if 100 <= t < 150 else {}
        seen = view(1e9 + t, [3.0 + random.choice([0, 0, 0.5]), 3.1, 3.3 - (0.8 if t > 200 else 0)], down=down)
        log.append(Logged(seen, broker.tick(seen)))
    raw = msgspec.json.encode(log)
    back = msgspec.json.decode(raw, type=list[Logged])
    assert [msgspec.json.encode(d) for d in replay(w, settings_, [], back)] == [msgspec.json.encode(e.directive) for e in back]


def test_a_controllers_own_log_replays(tmp_path: Path) -> None:
    """Only ticks that changed something are logged; they lead to the same directives, over a restart too."""
    feed = tmp_path / "quotes.json"
    w = msgspec.structs.replace(wiring([3.0, 3.1, 3.3], [0.5, 0.3, 0.2]), state=str(tmp_path / "state"))
    settings_ = BrokerPart(
        mode="price", dwell_s=120.0, ramp_per_minute_frac=3.0, quotes=(QuotePart(file=str(feed), every_s=1.0, stale_after_s=1e6),)
    )
    random = Random(3)
    ticks = 0
    for run in range(2):
        controller = Controller(w, broker=settings_)
        for t in range(1500):
            if t % 150 == 0:
                rows = [{"target": f"t{i}", "factor": random.choice([0.8, 1.0, 1.0, 1.3]), "available": random.random() > 0.1} for i in range(3)]
                feed.write_text(json.dumps(rows))
            now_s = 1e9 + 10_000 * run + 0.4 * t
            controller.read_feeds(now_s)
            controller.tick(now_s)
            ticks += 1
        controller.close()
    log = read_log(tmp_path / "state" / "decisions.jsonl")
    assert 50 < len(log) < 0.8 * ticks, "quiet ticks are not written"
    assert [msgspec.json.encode(d) for d in replay(w, settings_, [], log)] == [msgspec.json.encode(e.directive) for e in log]
    with pytest.raises(InputError):
        read_log(tmp_path / "none")


def test_a_price_that_comes_back_is_known_to_the_workers(tmp_path: Path) -> None:
    w = msgspec.structs.replace(wiring([3.0, 3.1], [0.5, 0.5]), state=str(tmp_path))
    broker = Broker(w, BrokerPart())

    async def go() -> None:
        live = Live(w, 0)
        for prices in ([9.0, 3.1], [3.0, 3.1]):
            live.table.write(broker.tick(view(1e9 + prices[0], prices)))
            live.refresh()
            assert live.router.directive.tariffs[0].rates[0] == round(prices[0] * 1e6)
        live.close()

    asyncio.run(go())


def test_gateway_routes_as_the_simulators_function_does() -> None:
    """Same requests, same weights over time, same loads: the gateway's router and bare `routing.pick` choose the same targets."""
    w = wiring([3.0, 3.1, 3.3], [0.5, 0.3, 0.2])
    router = Router(w, first_directive(w))
    health = Health(3, Reliability())
    broker = Broker(w, BrokerPart(mode="price", dwell_s=0.0, dwell_large_gain_s=0.0))
    credit = [0.0, 0.0, 0.0]
    zeros = [0.0, 0.0, 0.0]
    room = [float(t.max_concurrent) for t in w.targets]
    mask, _ = router.mask(0, Key("k", ""))
    for n in range(2000):
        if n % 100 == 0:
            directive = broker.tick(view(1e9 + n, [3.0 + (n % 300) / 300, 3.1, 3.3]))
            router.follow(directive)
        weights = broker.directive.weights[0]
        expected = routing.pick(routing.WEIGHTED, weights, zeros, room, zeros, zeros, credit)
        assert router.choose(0, mask, health, float(n)).variant == expected


def test_sessions_stay_until_their_variant_loses_its_share() -> None:
    w = wiring([3.0, 3.1], [0.5, 0.5])
    router = Router(w, first_directive(w))
    health = Health(2, Reliability())
    mask, _ = router.mask(0, Key("k", ""))
    first = router.choose(0, mask, health, 0.0, session=77).variant
    assert all(router.choose(0, mask, health, float(i), session=77) == (first, "session") for i in range(20))
    moved = first_directive(w)
    moved.weights = [[0.1, 0.9] if first == 0 else [0.9, 0.1]]
    router.follow(moved)
    assert all(router.choose(0, mask, health, 30.0 + i, session=77).variant == 1 - first for i in range(5)) or router.switches == 1
    assert router.switches == 1


def test_stage_caps_hold_request_by_request() -> None:
    """A pilot carries one request in a hundred at most, whatever its weight; without a passed gate nothing carries more."""
    w = wiring([3.0, 1.0], [0.5, 0.5])
    pilot = msgspec.structs.replace(w.variants[1], stage="production", gate="")
    w = msgspec.structs.replace(w, variants=(w.variants[0], pilot))
    router = Router(w, first_directive(w))
    health = Health(2, Reliability())
    mask, _ = router.mask(0, Key("k", ""))
    taken = [router.choose(0, mask, health, 0.0).variant for _ in range(1000)]
    assert taken.count(1) in (9, 10)
    assert 1 not in taken[:99]


def test_what_is_paid_for_comes_first_and_spills_only_when_full() -> None:
    """Reserved throughput is used to at least 97 % before the first token is bought elsewhere, under bursts."""
    w = wiring([3.0, 3.0], [0.2, 0.8])
    reserved = msgspec.structs.replace(w.variants[0], tariff=compile_price(TokenPrice("m", "t0", 3.0, 3.0), provisioned=True))
    targets = (msgspec.structs.replace(w.targets[0], provisioned_tokens_per_minute=60_000), w.targets[1])
    w = msgspec.structs.replace(w, variants=(reserved, w.variants[1]), targets=targets)
    router = Router(w, first_directive(w))
    health = Health(2, Reliability())
    mask, _ = router.mask(0, Key("k", ""))
    random = Random(2)
    used = spilled = 0.0
    for second in range(60):
        for _ in range(random.choice([0, 5, 40])):
            choice = router.choose(0, mask, health, float(second))
            if choice.variant == 0:
                assert choice.why == "paid for already"
                router.buckets[0].add(100)  # type: ignore[union-attr]
                used += 100
            else:
                bucket = router.buckets[0]
                assert bucket is not None
                assert bucket.level >= 0.97 * bucket.per_s
                spilled += 100
    assert spilled > 0
    assert used <= 61_000 + 1000


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_reserved_throughput_is_one_for_all_workers(tmp_path: Path, workers: int) -> None:
    """However unevenly connections fall to workers, at least 97 % is in use when the first token is bought elsewhere."""
    w = wiring([3.0, 3.0], [0.2, 0.8])
    reserved = msgspec.structs.replace(w.variants[0], tariff=compile_price(TokenPrice("m", "t0", 3.0, 3.0), provisioned=True))
    targets = (msgspec.structs.replace(w.targets[0], provisioned_tokens_per_minute=600_000), w.targets[1])
    w = msgspec.structs.replace(w, variants=(reserved, w.variants[1]), targets=targets, workers=workers)
    routers = [Router(w, first_directive(w)) for _ in range(workers)]
    for router in routers:
        router.share(Table(tmp_path / "table", 2, workers))
    health = Health(2, Reliability())
    mask, _ = routers[0].mask(0, Key("k", ""))
    random = Random(2)
    level = least = 0.0
    spilled = []
    for second in range(60):
        for _ in range(random.choice([0, 20, 200])):
            router = routers[0 if random.random() < 0.7 else random.randrange(workers)]
            choice = router.choose(0, mask, health, float(second))
            if choice.variant == 0:
                bucket = router.buckets[0]
                assert bucket is not None
                bucket.add(100)
                level += 100
            else:
                spilled.append(level / 10_000)
        least = max(least, level)
        level = max(0.0, level - 10_000)
    assert spilled
    assert min(spilled) >= 0.97
    assert least <= 10_000 + 100 * workers, "and never taken for more than it is"


def test_ramp_and_dwell_of_one_route() -> None:
    steer = Steer(BrokerPart(ramp_per_minute_frac=0.2, dwell_s=3600.0, dwell_large_gain_s=30.0), [1.0, 0.0])
    for t in range(60):
        steer.step(float(t), [0.0, 1.0], [2.0, 1.0], [1.0, 1.0])
    assert 0.18 <= steer.weights[1] <= 0.21
    small = Steer(BrokerPart(gain_min_frac=0.08), [1.0, 0.0])
    assert small.step(0.0, [0.0, 1.0], [1.0, 0.95], [1.0, 1.0]) == [1.0, 0.0]


def test_quotes_are_read_and_refused() -> None:
    good = quotes.parse(b'[{"target":"a","model":"m","usd_per_mtok_in":3,"usd_per_mtok_out":15,"available":false,"why":"reclaim"}]', "x")
    assert (good[0].usd_per_mtok_out, good[0].available) == (15.0, False)
    for bad in (b"[{]", b'[{"target":"a","usd_per_mtok_in":-1}]', b'[{"target":3}]', b'[{"target":"a","factor":1e999}]'):
        with pytest.raises(InputError):
            quotes.parse(bad, "x")


def test_a_tick_is_quick() -> None:
    """Four back ends and ten models: a count of work, not a stopwatch: one program of 40 columns."""
    targets = tuple(Target(i, f"t{i}", "claude", "http", "h", 1, "", f"cloud{i}", "r") for i in range(4))
    variants = tuple(
        Variant(m * 4 + i, f"m{m}@t{i}", f"m{m}", i, "m", "", "", "", "production", 1.0, "passed", compile_price(TokenPrice("m", "t", 1.0 + i, 2.0)))
        for m in range(10) for i in range(4)
    )  # fmt: skip
    routes = tuple(Route(f"m{m}", f"m{m}", "", "", tuple(range(m * 4, m * 4 + 4)), (0.25,) * 4, "") for m in range(10))
    w = Wiring("d", "p", "/n", "h", 0, 1, targets, variants, routes, (), (), Reliability())
    broker = Broker(w, BrokerPart(mode="price"))
    began = time.process_time()
    directive: Directive = broker.tick(View(now_s=1e9, demand_mtok_per_s=[1.0] * 10, mix_in_frac=[0.75] * 10))
    assert len(directive.weights) == 10
    assert time.process_time() - began < 1.0  # the control interval itself, with a hundredfold margin
