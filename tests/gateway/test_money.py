"""Money: exact tariffs, budgets that cannot be overspent, a ledger that survives, FOCUS rows that add up, named regressions."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import MODEL, SEVEN, Rig, ask, endpoint, key, post

from polysilicon.cloud.contract import Contract
from polysilicon.cloud.token_price import TokenPrice, TokenUse, nano_usd
from polysilicon.errors import MissingFact
from polysilicon.gateway import focus, usage
from polysilicon.gateway.archive import write
from polysilicon.gateway.budgets import Budgets
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.emulator import Fault, FleetModel
from polysilicon.gateway.ledger import Entry, Setting, Tail, Writer, line, read
from polysilicon.gateway.rollup import Rollup, prometheus
from polysilicon.gateway.tariff import bound_nano_usd, compile_price, cost_nano_usd, list_nano_usd
from polysilicon.gateway.usage import Used
from polysilicon.gateway.wiring import Budget

OPUS = TokenPrice(
    "opus",
    "anthropic",
    5.0,
    25.0,
    usd_per_mtok_cached=0.5,
    usd_per_mtok_write_5m=6.25,
    usd_per_mtok_write_1h=10.0,
    batch_frac=0.5,
)
rates = st.integers(0, 50_000).map(lambda n: n / 1000)
tokens = st.integers(0, 2_000_000)


@settings(max_examples=80, deadline=None)
@given(st.tuples(rates, rates, rates, rates, rates), st.lists(tokens, min_size=5, max_size=5), st.booleans())
def test_one_bill(rate: tuple[float, float, float, float, float], counts: list[int], batch: bool) -> None:
    """The data path's integer tariff is the room's price function, to the nano-dollar."""
    fresh, cached, w5, w1, out = rate
    price = TokenPrice(
        "m",
        "p",
        fresh,
        out,
        cached,
        w5,
        w1,
        batch_frac=0.5,
        long_from_tokens=200_000,
        usd_per_mtok_in_long=fresh * 2,
        usd_per_mtok_out_long=out * 1.5,
    )
    used = Used(*counts, tier="batch" if batch else "")
    if not batch:
        assert list_nano_usd(compile_price(price), used) == nano_usd(price, used.as_use())
    plain = msgspec.structs.replace(compile_price(price), long=None)
    if batch:
        short = TokenPrice("m", "p", fresh, out, cached, w5, w1, batch_frac=0.5)
        assert list_nano_usd(plain, used) == nano_usd(short, used.as_use(), batch=True)
    prompt = sum(counts[:4])
    assert bound_nano_usd(compile_price(price), prompt, counts[4]) >= 0


@settings(max_examples=60, deadline=None)
@given(tokens, tokens, tokens, tokens)
def test_a_reservation_is_never_less_than_the_cost(fresh: int, cached: int, written: int, out: int) -> None:
    tariff = compile_price(OPUS, factors={"tier:priority": 1.25})
    for tier in ("", "priority"):
        assert bound_nano_usd(tariff, fresh + cached + written, out) >= cost_nano_usd(tariff, Used(fresh, cached, written, 0, out, tier))


def test_what_is_not_known_is_not_priced() -> None:
    with pytest.raises(MissingFact):
        list_nano_usd(compile_price(TokenPrice("m", "p", 1.0, 2.0)), Used(1, cached_tokens=5))


# --- regressions of the field, by their numbers there


def test_litellm_11364_cache_reads_are_not_billed_as_input() -> None:
    used = Used()
    usage.of_chat(b'{"usage":{"prompt_tokens":100000,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":99000}}}', used)
    assert list_nano_usd(compile_price(OPUS), used) == nano_usd(OPUS, TokenUse(1000, 99_000, 0, 0, 100)) == 57_000_000


def test_litellm_29145_cache_tokens_of_bedrock_are_not_free(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("b", "bedrock")])
    long = [{"type": "text", "text": "x" * 4000, "cache_control": {"type": "ephemeral"}}]
    for _ in range(2):
        assert post(r, ask(system=long))[0] == 200
    first, second = r.ledger(2)
    assert first.write_5m_tokens > 900
    assert second.cached_tokens == first.write_5m_tokens
    assert first.cost_nano_usd > second.cost_nano_usd > 0
    assert [e.cost_nano_usd for e in (first, second)] == [b.nano_usd for b in r.emulator["b"].seen.bill]


def test_litellm_9812_cache_creation_is_charged_once() -> None:
    used = Used()
    usage.of_message(
        b'{"usage":{"input_tokens":3,"cache_creation_input_tokens":12304,"cache_read_input_tokens":0,"output_tokens":550,'
        b'"cache_creation":{"ephemeral_5m_input_tokens":12304,"ephemeral_1h_input_tokens":0}}}', used)  # fmt: skip
    sonnet = TokenPrice("sonnet", "anthropic", 3.0, 15.0, usd_per_mtok_cached=0.3, usd_per_mtok_write_5m=3.75)
    cost = list_nano_usd(compile_price(sonnet), used) / 1e9
    assert abs(cost - 0.0544) < 0.0001, "not $0.0913"


def test_litellm_21936_streamed_usage_is_cumulative_not_summed(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("b", "bedrock", model=FleetModel(ttft_s=0, tpot_s=0, output_tokens=400))])
    post(r, ask(stream=True, max_tokens=400))
    entry = r.ledger(1)[0]
    assert entry.output_tokens == 400 == r.emulator["b"].seen.bill[0].output_tokens
    assert entry.fresh_tokens == r.emulator["b"].seen.bill[0].fresh_tokens


def test_langsmith_1858_no_cost_is_negative() -> None:
    """Bedrock states cache reads outside input_tokens: nothing may be subtracted from it."""
    used = Used()
    usage.of_message(b'{"usage":{"input_tokens":10,"cache_read_input_tokens":50000,"output_tokens":5}}', used)
    assert (used.fresh_tokens, used.cached_tokens) == (10, 50_000)
    assert list_nano_usd(compile_price(OPUS), used) > 0


@pytest.mark.parametrize("name", ["priority", "fast", "geo"])
def test_surcharges_are_priced(name: str) -> None:
    tariff = compile_price(OPUS, factors={"tier:priority": 1.5, "speed:fast": 2.0, "geo:us": 1.1})
    extra = {"priority": {"tier": "priority"}, "fast": {"speed": "fast"}, "geo": {"geo": "us"}}[name]
    factor = {"priority": 1.5, "fast": 2.0, "geo": 1.1}[name]
    assert list_nano_usd(tariff, Used(1000, output_tokens=10, **extra)) == round(list_nano_usd(tariff, Used(1000, output_tokens=10)) * factor)


# --- the ledger against the doors' own bills


def test_ledger_equals_every_doors_bill(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint(d, d) for d in (*SEVEN, "openai")])
    long = [{"type": "text", "text": "y" * 3000, "cache_control": {"type": "ephemeral"}}]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda i: post(r, ask(stream=bool(i % 2), system=long, text=f"hello {i}"))[0], range(80)))
    assert statuses == [200] * 80
    entries = r.ledger(80)
    for door in r.emulator.endpoints.values():
        mine = [e for e in entries if e.target == door.spec.id]
        assert len(mine) == 10
        assert sum(e.cost_nano_usd for e in mine) == sum(b.nano_usd for b in door.seen.bill)
        assert sum(e.tokens for e in mine) == sum(b.fresh_tokens + b.cached_tokens + b.write_tokens + b.output_tokens for b in door.seen.bill)
    assert all(len(e.others) == 7 for e in entries), "what each of the others would have cost stands beside it"


def test_counterfactuals_and_discounts(rig: Callable[..., Rig]) -> None:
    cheap = compile_price(TokenPrice(MODEL, "b", 1.0, 2.0), discount_frac=0.25)
    r = rig(
        [endpoint("a", "claude"), endpoint("b", "foundry")],
        variants={"b": {"tariff": cheap, "contract": "macc"}},
        weights=[0.0, 1.0],
    )
    post(r, ask())
    e = r.ledger(1)[0]
    assert (e.target, e.contract) == ("b", "macc")
    assert e.cost_nano_usd == round(e.list_nano_usd * 0.75)
    assert e.others == {"opus@a": e.fresh_tokens * 3000 + e.output_tokens * 15000}


# --- budgets


def test_a_thousand_at_once_against_a_budget_for_a_hundred(rig: Callable[..., Rig]) -> None:
    """No overspend, whatever the concurrency; the same for key, team and application."""
    probe = rig([endpoint("t", "claude")])
    post(probe, ask())
    cost = probe.ledger(1)[0].cost_nano_usd
    limit = 100 * cost
    budgets = tuple(Budget(i, scope, scope, limit) for i, scope in enumerate(("key:k1", "team:core", "application:demo")))
    spec = endpoint("t", "claude", model=FleetModel(ttft_s=0.005, tpot_s=0.0))
    r = rig([spec], budgets=budgets, keys=(key(budgets=(0, 1, 2)),), body_bytes=10_000)
    with ThreadPoolExecutor(64) as pool:
        statuses = list(pool.map(lambda _: post(r, ask())[0], range(1000)))
    assert set(statuses) == {200, 429}
    spent = r.worker.live.budgets.spent(0)
    assert spent == sum(e.cost_nano_usd for e in r.ledger()) == statuses.count(200) * cost
    assert spent <= limit
    assert r.worker.live.budgets.reserved(0) == 0
    bound = bound_nano_usd(r.wiring.variants[0].tariff, len(json.dumps(ask())) + 1000, 50)
    assert limit - spent < 64 * bound, "and what is left is used, but for what one request may cost"


def test_failures_release_what_was_reserved(rig: Callable[..., Rig]) -> None:
    r = rig(
        [endpoint("t", "claude", faults=[Fault("500")])],
        budgets=(Budget(0, "key:k1", "key:k1", 10**12),),
        keys=(key(budgets=(0,)),),
    )
    assert post(r, ask())[0] == 500
    assert r.ledger(1)[0].outcome == "rejected"
    assert (r.worker.live.budgets.spent(0), r.worker.live.budgets.reserved(0)) == (0, 0)


SPEND = """
import sys
import tempfile
import threading
from pathlib import Path
from polysilicon.gateway.budgets import Budgets
from polysilicon.gateway.wiring import Budget
budgets = Budgets(Path(sys.argv[1]), [Budget(0, "b", "key:b", 1000)], int(sys.argv[2]))
for _ in range(300):
    if not budgets.reserve((0,), 7):
        budgets.settle((0,), 7, 5)
"""


def test_processes_share_a_budget_exactly(tmp_path: Path) -> None:
    path = str(tmp_path / "b.bin")
    processes = [subprocess.Popen([sys.executable, "-c", SPEND, path, str(i)]) for i in range(3)]
    assert [p.wait(30) for p in processes] == [0, 0, 0]
    budgets = Budgets(Path(path), [Budget(0, "b", "key:b", 1000)], 0)
    assert 990 < budgets.spent(0) <= 1000
    assert budgets.reserved(0) == 0
    left = 1000 - budgets.spent(0)
    assert not budgets.reserve((0,), left)
    assert budgets.reserve((0,), 1) == "b"
    assert budgets.clear_worker(0) == [left], "what a dead worker had reserved may have been spent: it is booked"
    assert budgets.spent(0) == 1000
    budgets.close()


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(100, 200_000),
    steps=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 60), st.floats(0, 1)), max_size=300),
)
def test_what_is_granted_ahead_never_overspends(limit: int, steps: list[tuple[int, bool, int, float]]) -> None:
    """Three workers, any order of reserving and settling: the limit holds at every step, and no worker's idle grant is lost."""
    with tempfile.TemporaryDirectory() as folder:
        workers = [Budgets(Path(folder) / "b.bin", [Budget(0, "b", "key:b", limit)], i) for i in range(3)]
        under_way: list[list[int]] = [[], [], []]
        spent = 0
        for who, reserve, amount, share in steps:
            if reserve or not under_way[who]:
                if not workers[who].reserve((0,), amount):
                    under_way[who].append(amount)
            else:
                held = under_way[who].pop()
                cost = int(held * share)
                workers[who].settle((0,), held, cost)
                spent += cost
            assert workers[0].spent(0) == spent
            assert workers[0].reserved(0) == sum(map(sum, under_way))
            assert spent + workers[0].reserved(0) <= workers[0].taken(0) <= limit
        for worker in workers:
            worker.give_back()
        left = limit - spent - workers[0].reserved(0)
        assert not left or not workers[0].reserve((0,), left), "an idle worker keeps nothing"
        for worker in workers:
            worker.close()


# --- crash


def test_short_lines_say_what_long_ones_do(tmp_path: Path) -> None:
    """An entry read back from a short line and its setting equals the one written with every field by name; segments stand alone."""
    own = (7, 1_700_000_000_123_456, "request", "ok", 200, "plan 1.000", 2, True, (10, 20, 30, 40, 50), (1, 2, 3, 4, 5), 15, 12, 1500, 2500,
           (9, None), "standard", "fast", "us", "req_1", True, True, False)  # fmt: skip
    writer = Writer(tmp_path, 0)
    common = ("ps-1-", "m", "r", "t", "v", "chip", "aws", "us", "production")
    settings_ = [Setting(*common, key=f"k{i}", directive=i, others=("b", "c")) for i in range(2)]
    for setting in settings_:
        writer.state(setting)
    for setting in (*settings_, settings_[0]):
        writer.append_own((setting.number, *own))
    writer._leave()
    writer.state(settings_[1])
    assert settings_[1].number == 1, "a new segment counts anew"
    writer.append_own((1, *own))
    writer.close()
    entries, torn = read(tmp_path)
    assert (torn, [e.key for e in entries]) == (0, ["k0", "k1", "k0", "k1"])
    assert entries[0] == Entry(
        "ps-1-00000007", 1_700_000_000.123456, "request", "ok", 200, *common[1:], key="k0", why="plan 1.000", attempts=2, stream=True,
        fresh_tokens=10, cached_tokens=20, write_5m_tokens=30, write_1h_tokens=40, output_tokens=50, tier="standard", speed="fast",
        geo="us", estimated=True, meters=(1, 2, 3, 4, 5), list_nano_usd=15, cost_nano_usd=12, ttft_s=0.0015, seconds=0.0025,
        others={"b": 9}, spilled=True, upstream_id="req_1",
    )  # fmt: skip
    assert line(entries[0]) != b""
    # a reader that begins in the middle of a segment looks back for what was set before
    first = sorted(tmp_path.glob("*.log"))[0]
    tail = Tail(tmp_path)
    tail._offsets[first.name] = sum(len(row) for row in first.read_bytes().splitlines(keepends=True)[:3])
    assert [e.key for e in tail.read()] == ["k1", "k0", "k1"]
    # a damaged setting takes its own entries with it, told as torn, and no others
    first.write_bytes(first.read_bytes().replace(b'"key":"k0"', b'"key":"kX"'))
    entries, torn = read(tmp_path)
    assert (torn, [e.key for e in entries]) == (3, ["k1", "k1"])


def test_killed_in_the_middle_loses_no_line(tmp_path: Path) -> None:
    """A writer that is killed: every line it has finished is there, a torn one is told."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom polysilicon.gateway.ledger import *\n"
        "w = Writer(Path(sys.argv[1]), 0)\ni = 0\n"
        "while True:\n"
        " w.append(Entry(str(i), 1.0, 'request', 'ok', 200, 'm', 'r', 't', 'v', 'c', 'aws', 'us', 'production', cost_nano_usd=i))\n"
        " i += 1\n sys.stdout.write(f'{i}\\n'); sys.stdout.flush()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = 0
    while said < 500:
        said = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    said = max([said, *[int(x) for x in process.stdout.read().split("\n") if x.strip()]])
    process.wait()
    process.stdout.close()
    entries, torn = read(tmp_path)
    assert [e.cost_nano_usd for e in entries[:said]] == list(range(said))
    assert torn <= 1
    with (tmp_path / "w00-000000.log").open("ab") as file:
        file.write(line(entries[0])[:30])
    again = Writer(tmp_path, 0)
    again.append(entries[0])
    again.close()
    assert len(read(tmp_path)[0]) == len(entries) + 1
    assert read(tmp_path)[1] == 1  # a line that was torn already is torn no further


# --- exports


def some_entries() -> list[Entry]:
    out = []
    for i in range(50):
        used = Used(1000 + i, 500, 20, 7, 100 + i)
        tariff = compile_price(OPUS, discount_frac=0.07)
        e = Entry(str(i), 1.7e9 + 100 * i, "request", "ok", 200, "opus", "opus", "t", "opus@t", "Trainium2", "aws", "us-east-1", "production",
                  "core", "app", "k", contract="edp" if i % 2 else "", price_version="p@1")  # fmt: skip
        e.fresh_tokens, e.cached_tokens, e.write_5m_tokens, e.write_1h_tokens, e.output_tokens = 1000 + i, 500, 20, 7, 100 + i
        from polysilicon.gateway.tariff import meter_nano_usd

        e.meters = meter_nano_usd(tariff, used)
        e.list_nano_usd, e.cost_nano_usd = list_nano_usd(tariff, used), cost_nano_usd(tariff, used)
        out.append(e)
    return out


def test_focus_rows_add_up_to_the_ledger() -> None:
    entries = some_entries()
    rows = focus.cost_rows(entries)
    total = sum(Decimal(r["BilledCost"]) for r in rows)
    assert total == Decimal(sum(e.cost_nano_usd for e in entries)) / 10**9
    assert sum(Decimal(r["ListCost"]) for r in rows) == Decimal(sum(e.list_nano_usd for e in entries)) / 10**9
    assert all(Decimal(r["ListCost"]) >= Decimal(r["ContractedCost"]) for r in rows)
    parsed = [json.loads(r["ContractApplied"], parse_float=Decimal)["Elements"][0] for r in rows if r["ContractApplied"]]
    applied = sum(element["ContractCommitmentAppliedCost"] for element in parsed)
    drawn = {"edp": sum(e.cost_nano_usd for e in entries if e.contract) / 1e9}
    commitment = focus.commitment_rows(
        [Contract("edp", "aws", "committed_spend", "2023-01-01", "2024-01-01", commit_usd=50.0)], drawn, on="2023-11-15"
    )
    assert applied == Decimal(commitment[0]["x_DrawnCost"])
    assert commitment[0]["ContractCommitmentLifecycleStatus"] == "Active"
    assert sum(r["ConsumedQuantity"] for r in rows) == sum(e.tokens for e in entries)
    assert {r["ServiceSubcategory"] for r in rows} == {"Generative AI"}
    assert not any(name == "ProviderName" or name == "PublisherName" for name in rows[0])
    back = list(csv.DictReader(focus.to_csv(rows).decode().splitlines()))
    assert len(back) == len(rows)


def test_reconcile_finds_what_differs_and_nothing_else() -> None:
    entries = some_entries()
    bill: dict[str, list[int]] = {}
    from datetime import UTC, datetime

    for e in entries:
        day = datetime.fromtimestamp(e.at_s, UTC).strftime("%Y-%m-%d")
        bill.setdefault(day, [0, 0])
        bill[day][0] += e.cost_nano_usd
        bill[day][1] += e.tokens
    rows = [{"target": "t", "model": "opus", "day": d, "usd": str(Decimal(n) / 10**9), "tokens": str(k)} for d, (n, k) in bill.items()]
    assert focus.reconcile(entries, rows) == []
    rows[0]["usd"] = str(Decimal(rows[0]["usd"]) * 3)
    assert len(focus.reconcile(entries, rows)) == 1


def test_sums_and_metrics_equal_the_ledger(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude"), endpoint("b", "bedrock")], variants={"b": {"chip": "Trainium2"}})
    for _ in range(6):
        post(r, ask())
    entries = r.ledger(6)
    rollup = Rollup(r.wiring)
    rollup.add(entries)
    page = prometheus(rollup, ["Trainium2"])
    from prometheus_client.parser import text_string_to_metric_families

    families = {f.name: f for f in text_string_to_metric_families(page)}
    assert sum(s.value for s in families["polysilicon_tokens"].samples) == sum(e.tokens for e in entries)
    usd = sum(s.value for s in families["polysilicon_cost_usd"].samples)
    assert abs(usd - sum(e.cost_nano_usd for e in entries) / 1e9) < 1e-9
    assert {"chip", "cloud", "model", "app", "contract"} <= set(families["polysilicon_cost_usd"].samples[0].labels)
    share = {s.labels["basis"]: s.value for s in families["polysilicon_custom_silicon_share"].samples}
    assert 0.4 < share["tokens"] < 0.6


@pytest.mark.parametrize("ending", [".parquet", ".sqlite"])
def test_archives_hold_every_line(tmp_path: Path, ending: str) -> None:
    entries = some_entries()
    path = tmp_path / f"ledger{ending}"
    write(entries, path)
    if ending == ".parquet":
        import polars

        total = polars.read_parquet(path)["cost_nano_usd"].sum()
    else:
        import contextlib
        import sqlite3

        with contextlib.closing(sqlite3.connect(path)) as connection:
            total = connection.execute("SELECT SUM(cost_nano_usd) FROM ledger").fetchone()[0]
    assert total == sum(e.cost_nano_usd for e in entries)


def test_a_reload_that_changes_the_budgets_forgets_no_request_under_way(rig: Callable[..., Rig]) -> None:
    """What was reserved in the old list settles there; the ledger tells the new list, and it counts once."""
    spec = endpoint("t", "claude", model=FleetModel(ttft_s=0.3, tpot_s=0.0))
    old = Budget(0, "team:core", "team:core", 10**12)
    r = rig([spec], budgets=(old,), keys=(key(budgets=(0,)),))
    both = (old, Budget(1, "key:k1", "key:k1", 10**12))
    new = msgspec.structs.replace(r.wiring, digest="d2", budgets=both, keys=(key(budgets=(0, 1)),))
    with ThreadPoolExecutor(2) as pool:
        under_way = pool.submit(post, r, ask())
        time.sleep(0.1)
        r.call(lambda: r.worker.reload(new))
        controller = Controller(new)
        assert controller.budgets.spent(0) == 0
        assert under_way.result()[0] == 200
    assert post(r, ask())[0] == 200
    entries = r.ledger(2)
    for _ in range(3):
        controller.tick()
    total = sum(e.cost_nano_usd for e in entries)
    assert [controller.budgets.spent(i) for i in (0, 1)] == [total, total]
    controller.close()


def test_shadow_traffic_is_on_nobodys_budget_after_a_restart_either(rig: Callable[..., Rig]) -> None:
    budget = Budget(0, "key:k1", "key:k1", 10**12)
    r = rig(
        [endpoint("a", "claude"), endpoint("new", "openai")], weights=[1.0, 0.0], variants={"new": {"stage": "shadow", "gate": ""}},
        shadow_frac={f"{MODEL}@new": 1.0}, budgets=(budget,), keys=(key(budgets=(0,)),),
    )  # fmt: skip
    for _ in range(3):
        post(r, ask())
    entries = r.ledger(6)
    mine = sum(e.cost_nano_usd for e in entries if e.kind == "request")
    assert sum(e.cost_nano_usd for e in entries) > mine == r.worker.live.budgets.spent(0)
    controller = Controller(r.wiring)
    controller.tick()
    assert controller.budgets.spent(0) == mine
    controller.close()


def test_a_worker_lives_through_a_full_disk(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Requests are answered, deadlines are looked at, nobody sends us more than we have; once there is room every line is there."""
    r = rig([endpoint("a", "claude")])

    def ready() -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", r.port, timeout=10)) as connection:
            connection.request("GET", "/ready")
            return connection.getresponse().status

    whole, there_is_room = os.write, threading.Event()

    def full(file: int, data: bytes) -> int:
        if not there_is_room.is_set() and bytes(data[8:9]) == b" ":  # a line of the ledger
            raise OSError(28, "No space left on device")
        return whole(file, data)

    monkeypatch.setattr(os, "write", full)
    assert [post(r, ask())[0] for _ in range(3)] == [200] * 3
    until = time.monotonic() + 20
    while ready() != 503:
        assert time.monotonic() < until
    assert post(r, ask())[0] == 200
    there_is_room.set()
    while ready() != 200:
        assert time.monotonic() < until
    assert len(r.ledger(4)) == 4
    said = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines() if '"the ledger' in line]
    assert said == ["the ledger cannot be written; its lines wait in memory", "the ledger is written again"]


def test_a_full_disk_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written, or only in part, is written with the next line."""
    writer = Writer(tmp_path, 0)
    entry = Entry("a", 1.0, "request", "ok", 200, "m", "m", "t", "v", "", "aws", "us", "production")
    whole = os.write
    with monkeypatch.context() as patch:
        tries = iter([20, 0])

        def full(file: int, data: bytes) -> int:
            part = next(tries)
            if not part:
                raise OSError(28, "No space left on device")
            return whole(file, bytes(data)[:part])

        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            writer.append(entry)
    writer.append(msgspec.structs.replace(entry, id="b"))
    writer.close()
    entries, torn = read(tmp_path)
    assert ([e.id for e in entries], torn) == (["a", "b"], 0)
