"""D01, live: spend on eligible targets draws a commitment down; while it would fall short it steers the routes; FOCUS rows say the same."""

import json
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from live import ask, endpoint, post, running

from polysilicon.cloud.contract import Contract
from polysilicon.gateway import focus
from polysilicon.gateway.config import BrokerPart
from polysilicon.gateway.controller import Controller


def test_burn_down_steers_and_is_shown(tmp_path: Path) -> None:
    """A commitment that would fall short makes its cloud free at the margin, until it is met; drawdown equals the ledger."""
    variants = {"azure": {"contract": "macc"}}
    doors = [endpoint("aws", "bedrock"), endpoint("azure", "foundry")]
    with running(tmp_path, doors, variants=variants, weights=[0.8, 0.2]) as r:
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
        page = controller.metrics()
        entries = r.ledger(15)
        rows = focus.cost_rows(entries)
        commitment = focus.commitment_rows([terms], {"macc": drawn}, on="2026-06-01")[0]
        controller.close()
    assert f'polysilicon_contract_drawn_usd{{contract="macc"}} {drawn:g}' in page
    applied = [json.loads(row["ContractApplied"], parse_float=Decimal)["Elements"][0] for row in rows if row["ContractApplied"]]
    late = sum(e.cost_nano_usd for e in entries if e.contract == "macc") - round(drawn * 1e9)  # what was served after the status was read
    assert round(sum(a["ContractCommitmentAppliedCost"] for a in applied) * 10**9) - late == round(float(commitment["x_DrawnCost"]) * 1e9)
