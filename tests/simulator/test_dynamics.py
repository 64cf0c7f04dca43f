"""Outages, repairs, starts, reclaims, prices, supply and scaling; and that no request is ever lost."""

from __future__ import annotations

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.errors import InputError
from polysilicon.simulator.dynamics import (
    Autoscaling,
    Availability,
    Happenings,
    Outage,
    PriceChange,
    random_outages,
    replicas_of,
    spot_reclaims,
)
from polysilicon.simulator.fleet import Fleet, Pool


def steady(n: int, rate: float, isl: int = 20, osl: int = 50, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    return Trace(np.cumsum(rng.exponential(1 / rate, n)), np.full(n, isl, np.int32), np.full(n, osl, np.int32))


def two_clouds(flat, **more: object) -> Fleet:
    pools = [Pool(f"{cloud}-east", flat(), 4, cloud=cloud, region="east", max_batch=16, replicas_per_node=2, **more) for cloud in ("azure", "aws")]
    return Fleet(tuple(pools), routing="least-loaded")


def test_a_lost_cloud_moves_its_requests_and_takes_none_until_it_is_back(flat) -> None:
    happenings = Happenings(outages=[Outage(20.0, "cloud", "azure", 10.0)])
    result = simulator.simulate(two_clouds(flat), steady(4000, 80.0), happenings=happenings)
    rows = result.requests
    assert result.done.all() and 1 <= rows["retries"].sum() <= 64
    away = (rows["start_s"] > 20.0) & (rows["start_s"] < 30.0)
    assert (rows["replica"][away] >= 4).all() and (rows["replica"][rows["start_s"] > 31.0] < 4).any()
    moved = rows[rows["retries"] > 0]
    assert (moved["done_s"] > 20.0).all() and (moved["tokens"] == 50).all()
    assert [words.split(":")[0] for _, words in result.events] == ["outage", "repair"]


def test_scopes_name_replicas(flat) -> None:
    fleet = two_clouds(flat)
    assert replicas_of(fleet, "node", "aws-east#1") == [6, 7]
    assert replicas_of(fleet, "replica", "aws-east#1") == [5]
    assert replicas_of(fleet, "region", "east") == list(range(8))
    with pytest.raises(InputError, match='no replica has the cloud "azur"'):
        replicas_of(fleet, "cloud", "azur")


def test_start_up_takes_its_time_and_is_paid_for(flat) -> None:
    fleet = Fleet((Pool("a", flat(), 1, max_batch=4, startup_s=30.0, usd_per_chip_hour=3600.0),))
    happenings = Happenings(outages=[Outage(1.0, "pool", "a", 4.0)])
    t = Trace(np.array([2.0]), np.array([20], np.int32), np.array([2], np.int32))
    result = simulator.simulate(fleet, t, happenings=happenings)
    assert result.requests["start_s"][0] == pytest.approx(35.0)
    assert result.totals()["bill_usd"] == pytest.approx(1.0 + 30.0 + 0.02)  # a dollar a second: before, starting, serving


def test_all_replicas_lost_for_good_leaves_every_request_reported(flat) -> None:
    fleet = Fleet((Pool("a", flat(), 2, max_batch=4),))
    result = simulator.simulate(fleet, steady(200, 10.0), happenings=Happenings(outages=[Outage(5.0, "pool", "a")]))
    numbers = result.summary()["default"]
    assert numbers["done"] + numbers["refused"]["unserved: no replica came up"] == 200 and numbers["done"] > 0


def test_overlapping_outages_end_with_the_last(flat) -> None:
    fleet = Fleet((Pool("a", flat(), 1, max_batch=4, cloud="x"),))
    happenings = Happenings(outages=[Outage(1.0, "pool", "a", 10.0), Outage(2.0, "cloud", "x", 20.0)])
    t = Trace(np.array([3.0]), np.array([20], np.int32), np.array([2], np.int32))
    assert simulator.simulate(fleet, t, happenings=happenings).requests["start_s"][0] == pytest.approx(22.0)


def test_random_failures_and_reclaims_lose_nothing_and_are_seeded(flat) -> None:
    spot = Fleet((Pool("spot", flat(), 6, max_batch=8, kind="spot"), Pool("own", flat(), 2, max_batch=8)))
    reclaims = spot_reclaims(spot, per_hour=60.0, away_s=20.0, span_s=120.0, seed=3)
    failures = random_outages(spot, mtbf_hours=0.05, repair_s=5.0, span_s=120.0, seed=3)
    assert reclaims == spot_reclaims(spot, per_hour=60.0, away_s=20.0, span_s=120.0, seed=3) and {o.name[:4] for o in reclaims} == {"spot"}
    result = simulator.simulate(spot, steady(6000, 50.0), happenings=Happenings(outages=[*reclaims, *failures]))
    assert result.done.all() and result.requests["retries"].max() >= 1


def test_a_price_tape_moves_traffic_and_the_bill_counts_each_hour_at_its_price(flat) -> None:
    pools = (Pool("a", flat(), 1, max_batch=64, usd_per_chip_hour=1.0), Pool("b", flat(), 1, max_batch=64, usd_per_chip_hour=2.0))
    tape = [PriceChange(1800.0, "a", 4.0)]
    result = simulator.simulate(Fleet(pools, routing="price"), steady(3600, 1.0), until_s=3600.0, happenings=Happenings(prices=tape))
    rows = result.requests
    assert set(rows["replica"][(rows["start_s"] >= 0) & (rows["arrival_s"] < 1800)]) == {0}
    assert set(rows["replica"][(rows["start_s"] >= 0) & (rows["arrival_s"] > 1800)]) == {1}
    assert result.pools()["a"]["bill_usd"] == pytest.approx(0.5 * 1 + 0.5 * 4) and result.pools()["b"]["bill_usd"] == pytest.approx(2.0)


def test_supply_takes_replicas_back_and_gives_them_again(flat) -> None:
    fleet = Fleet((Pool("a", flat(), 4, max_batch=8),))
    happenings = Happenings(availability=[Availability(10.0, "a", 1), Availability(20.0, "a", 4)], sample_s=1.0)
    result = simulator.simulate(fleet, steady(1000, 30.0), happenings=happenings)
    up = dict(zip(result.timeline["t_s"], result.timeline["up"], strict=True))
    assert result.done.all() and (up[5.0], up[15.0], up[25.0]) == (4, 1, 4)


@pytest.mark.parametrize(("policy", "target"), [("utilisation", 0.6), ("queue", 4.0), ("slo", 0.5)])
def test_scaling_follows_the_load_up_and_down(flat, policy: str, target: float) -> None:
    fleet = Fleet((Pool("a", flat(), 12, max_batch=8, startup_s=5.0),))
    rng = np.random.default_rng(1)
    rate = np.concatenate([np.full(200, 2.0), np.full(6000, 60.0), np.full(200, 1.0)])
    t = Trace(np.cumsum(rng.exponential(1 / rate)), np.full(6400, 20, np.int32), np.full(6400, 50, np.int32))
    scaling = Autoscaling("a", policy, target, least=1, interval_s=2.0, down_after_s=10.0)
    result = simulator.simulate(fleet, t, happenings=Happenings(autoscaling=[scaling], sample_s=2.0))
    up = result.timeline["up"]
    assert result.done.all() and up[0] == 1 and up.max() >= 4 and up[-1] <= 3
    assert result.pools()["a"]["chip_hours"] < 12 * result.span_s / 3600


def test_a_slip_of_capacity_is_an_outage_from_the_start(flat) -> None:
    pools = (Pool("now", flat(), 1, max_batch=2), Pool("late", flat(), 3, max_batch=2, chip="MAIA200"))
    t = steady(2000, 12.0)
    on_time = simulator.simulate(Fleet(pools, routing="least-loaded"), t)
    slipped = simulator.simulate(
        Fleet(pools, routing="least-loaded"), t, happenings=Happenings(outages=[Outage(0.0, "chip", "MAIA200", 60.0, "slip")])
    )
    assert slipped.done.all() and slipped.e2e_s.mean() > 2 * on_time.e2e_s.mean()
