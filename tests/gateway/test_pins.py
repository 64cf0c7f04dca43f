"""Residency, channel pins and commitments at the gateway: the live half of constraints that the plan keeps too."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest
from rig import Rig, ask, endpoint, key, post

from polysilicon.cloud.contract import Contract
from polysilicon.gateway.config import BrokerPart
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.emulator import Fault


def test_eu_only_never_leaves_the_eu(rig: Callable[..., Rig]) -> None:
    doors = [endpoint("us", "bedrock"), endpoint("eu", "vertex"), endpoint("uk", "foundry", region="uksouth")]
    r = rig(doors, keys=(key(regions=("eu",)), key("any")), weights=[0.9, 0.05, 0.05])
    assert {post(r, ask())[1]["x-polysilicon-target"] for _ in range(20)} == {"eu"}
    r.emulator["eu"].faults.append(Fault("529"))
    assert post(r, ask())[0] == 529, "not even when the EU's only target is down"
    assert post(r, ask(), key="sk-any")[0] == 200
    assert not any(e.region != "europe-west4" and e.key == "k1" for e in r.ledger(22) if e.target)


def test_azure_channel_traffic_cannot_reach_aws(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("aws", "bedrock"), endpoint("azure", "foundry")], keys=(key(clouds=("azure",)),), weights=[1.0, 0.0])
    assert {post(r, ask())[1]["x-polysilicon-target"] for _ in range(10)} == {"azure"}
    r.call(r.emulator["azure"].outage)
    assert post(r, ask())[0] != 200
    assert r.emulator["aws"].seen.requests == 0


def test_burn_down_steers_and_is_shown(rig: Callable[..., Rig]) -> None:
    """A commitment that would fall short makes its cloud free at the margin, until it is met; drawdown equals the ledger."""
    variants = {"azure": {"contract": "macc"}}
    r = rig([endpoint("aws", "bedrock"), endpoint("azure", "foundry")], variants=variants, weights=[0.8, 0.2])
    for _ in range(10):
        post(r, ask())
    r.ledger(10)
    terms = Contract("macc", "azure", "committed_spend", "2000-01-01", "2999-01-01", commit_usd=1e15)
    settings = BrokerPart(ramp_per_minute_frac=1e6, dwell_s=0.0, dwell_large_gain_s=0.0)
    controller = Controller(r.wiring, broker=settings, contracts=[terms])
    controller.rollup.add([])
    controller.rollup.settle_demand(time.time() - 1.0)
    for e in r.ledger():
        controller.rollup._add(msgspec.structs.replace(e, cost_nano_usd=0))  # the demand of the last second
    directive = controller.tick()
    assert directive.weights[0] == [0.0, 1.0]
    assert directive.shadow_usd["macc"] == pytest.approx(1.0)
    assert directive.price_nano_usd[1] == 0.0
    drawn = sum(e.cost_nano_usd for e in r.ledger() if e.contract == "macc") / 1e9
    row = controller.status()["contracts"][0]
    assert row["drawn_usd"] == pytest.approx(drawn)
    assert {post(r, ask())[1]["x-polysilicon-target"] for _ in range(5)} == {"azure"}
    controller.close()
