"""FOCUS 1.4 as a public validator reads it, and the ledger against providers' bills."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rig import Rig, ask, endpoint, key, post
from test_money import some_entries

from polysilicon.cloud.contract import Contract
from polysilicon.cloud.token_price import TokenPrice
from polysilicon.errors import InputError
from polysilicon.gateway import focus
from polysilicon.gateway.emulator import Fault
from polysilicon.gateway.ledger import Entry
from polysilicon.gateway.tariff import compile_price

MACC = Contract("macc", "azure", "committed_spend", "2026-01-01", "2029-01-01", commit_usd=50.0, drawn_before_usd=0.0)
STEPS = (("2026-04-01", 0.0005),)
EDP = Contract("edp", "aws", "committed_spend", "2026-01-15", "2026-07-15", commit_usd=0.001, draw_schedule=STEPS, drawn_before_usd=0.0)


def as_read(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(focus.to_csv(rows).decode())))


def validate(dataset: str, rows: list[dict[str, str]]) -> None:
    """Nothing to object, also where every condition that could ask for a column is declared to hold."""
    checker = pytest.importorskip("focus_data_toolkit.model.validator", reason="the public FOCUS validator is not installed")
    conditions = {c["condition"] for c in checker.load_model()["datasets"][dataset]["columns"].values()}
    for supported in (frozenset(), frozenset(conditions)):
        report = checker.lint_focus_1_4_structure(dataset, rows, supported_conditions=supported)
        assert report.messages() == []
        assert report.ok


def served(rig: Callable[..., Rig]) -> list[Entry]:
    """Lines of all kinds: cached, streamed, refused, cut, under two contracts, on reserved capacity."""
    price = TokenPrice("opus", "x", 4.4, 22.0, usd_per_mtok_cached=0.44, usd_per_mtok_write_5m=5.5, usd_per_mtok_write_1h=8.8)
    r = rig(
        [endpoint("f", "foundry"), endpoint("b", "bedrock"), endpoint("ptu", "vertex"),
         endpoint("c", "claude", faults=[Fault("cut-after", frac=0.5)])],
        variants={
            "f": {"contract": "macc", "tariff": compile_price(price, discount_frac=0.07)}, "b": {"contract": "edp", "chip": "Trainium2"},
            "ptu": {"tariff": compile_price(price, provisioned=True)},
        },
        targets={"ptu": {"provisioned_tokens_per_minute": 600}},
        keys=(key("k1", application='apps, "quoted"', team="core\nteam"), key("k2", application="api")),
    )  # fmt: skip
    long = [{"type": "text", "text": "z" * 5000, "cache_control": {"type": "ephemeral"}}]
    for i in range(24):
        post(r, ask(stream=bool(i % 2), system=long, text=f"hello {i}"), key=f"sk-k{1 + i % 2}")
    return list(r.ledger(24))


def test_the_public_validator_objects_to_nothing(rig: Callable[..., Rig]) -> None:
    entries = served(rig)
    rows = as_read(focus.cost_rows(entries))
    validate("Cost and Usage", rows)
    drawn = {c: sum(e.cost_nano_usd for e in entries if e.contract == c) / 1e9 for c in ("macc", "edp")}
    commitments = as_read(focus.commitment_rows([MACC, EDP], drawn, on="2026-05-01", resources={"macc": ["opus@f"]}, discount_frac={"macc": 0.07}))
    validate("Contract Commitment", commitments)
    bundle = pytest.importorskip("focus_data_toolkit.validate").validate_dataset_bundle({"Cost and Usage": rows, "Contract Commitment": commitments})
    assert bundle.errors == [], bundle.format()

    applied: dict[str, Decimal] = {}
    for row in rows:
        for element in json.loads(row["ContractApplied"], parse_float=Decimal)["Elements"] if row["ContractApplied"] else ():
            name = element["ContractCommitmentId"]
            applied[name] = applied.get(name, Decimal(0)) + element["ContractCommitmentAppliedCost"]
    assert applied == {row["ContractCommitmentId"]: Decimal(row["x_DrawnCost"]) for row in commitments}, "what is applied is what is drawn"
    assert {row["ContractCommitmentId"]: row["ContractCommitmentLifecycleStatus"] for row in commitments} == {"macc": "Active", "edp": "Exhausted"}
    assert sum(Decimal(row["BilledCost"]) for row in rows) * 10**9 == sum(e.cost_nano_usd for e in entries)
    assert {row["CapacityReservationId"] for row in rows} == {"", "ptu"}
    eligible = json.loads(commitments[0]["ContractCommitmentApplicability"])["Inclusions"][0]
    assert {row["ResourceId"] for row in rows if row["ContractApplied"] and "macc" in row["ContractApplied"]} == set(eligible["Values"])


def test_unit_prices_are_those_of_the_price_list() -> None:
    rows = focus.cost_rows(some_entries())
    listed = {row["SkuMeter"]: {Decimal(r["ListUnitPrice"]) for r in rows if r["SkuMeter"] == row["SkuMeter"]} for row in rows}
    assert listed["Input Tokens"] == {Decimal(5)}
    assert listed["Cache Read Tokens"] == {Decimal("0.5")}
    assert listed["Output Tokens"] == {Decimal(25)}


def bill(entries: list[Entry], **changes: str) -> list[dict[str, str]]:
    """A provider's FOCUS export for the same usage: hours summed, other services and taxes beside it."""
    rows = as_read(focus.cost_rows(entries))
    names = {"AWS": "Amazon Web Services", "Microsoft": "Microsoft", "Google Cloud": "Google Cloud", "Anthropic": "Anthropic"}
    for row in rows:
        row["HostProviderName"] = names[row["HostProviderName"]]
    other = {**rows[0], "ServiceSubcategory": "Virtual Machines", "ContractedCost": "99"}
    tax = {**rows[0], "ChargeCategory": "Tax", "ContractedCost": "3"}
    return [*({**row, **changes} for row in rows), other, tax]


def test_a_providers_focus_export_reconciles(rig: Callable[..., Rig], tmp_path: Path) -> None:
    entries = served(rig)
    theirs = bill(entries)
    assert focus.reconcile(entries, theirs) == []
    theirs[0]["ContractedCost"] = str(Decimal(theirs[0]["ContractedCost"]) * 2)
    (found,) = focus.reconcile(entries, theirs)
    assert found.difference_usd > 0
    assert found.target in ("aws", "azure", "gcp", "anthropic")
    assert focus.reconcile(entries[:-4], bill(entries)) != []
    assert len(focus.reconcile(entries, bill(entries, ConsumedUnit="Requests"))) == 0, "tokens are compared where the bill counts them"
    with pytest.raises(InputError, match="FOCUS row"):
        focus.reconcile(entries, bill(entries, ContractedCost="much"))

    folder = tmp_path / "state0"
    path = tmp_path / "bill.csv"
    path.write_bytes(focus.to_csv(bill(entries)))  # type: ignore[arg-type]
    run = [sys.executable, "-c", "from polysilicon.cli.app import main; main()", "ledger", "reconcile", str(path), "--state", str(folder)]
    assert subprocess.run(run, capture_output=True, check=False).returncode == 0
    path.write_bytes(focus.to_csv(bill(entries, ContractedCost="0.5")))  # type: ignore[arg-type]
    assert subprocess.run(run, capture_output=True, check=False).returncode == 4
    path.write_text("target,model,dy,usd\n")
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "bill.csv:1: the header lacks day, tokens" in done.stderr


def test_money_is_written_out_in_full(rig: Callable[..., Rig]) -> None:
    text = focus.to_csv(focus.cost_rows(served(rig))).decode()  # reserved throughput costs nothing
    assert "0.000000000" in text
    assert not re.search(r"\dE-\d", text)


def test_bills_in_whole_consumption_units_reconcile(rig: Callable[..., Rig]) -> None:
    """Units of a cent, rounded up a day: no difference; one unit too many: a difference."""
    price = TokenPrice("opus", "x", 300.0, 1500.0)
    r = rig([endpoint("p", "aws-platform")], variants={"p": {"tariff": compile_price(price, discount_frac=0.1)}})
    for _ in range(7):
        post(r, ask())
    entries = r.ledger(7)
    exact = Decimal(sum(e.cost_nano_usd for e in entries)) / 10**9
    units = -(-int(exact * 10**9) // 10**7)
    from datetime import UTC, datetime

    day = datetime.fromtimestamp(entries[0].at_s, UTC).strftime("%Y-%m-%d")
    row = {"target": "p", "model": "opus", "day": day, "usd": str(Decimal(units) / 100), "tokens": str(sum(e.tokens for e in entries))}
    assert Decimal(row["usd"]) != exact
    assert focus.reconcile(entries, [row], unit_usd=0.01) == []
    assert len(focus.reconcile(entries, [row])) == 1
    assert len(focus.reconcile(entries, [{**row, "usd": str(Decimal(units + 1) / 100)}], unit_usd=0.01)) == 1
