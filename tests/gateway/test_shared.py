"""Several hosts as one, against real servers: budgets leased over Valkey, ledgers gathered in PostgreSQL; nothing overspent, nothing lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rig import MODEL, Rig, ask, endpoint, key, post
from servers import Store, postgres, valkey

from polysilicon.cloud.contract import Contract
from polysilicon.errors import PolysiliconError
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.emulator import FleetModel
from polysilicon.gateway.ledger import Entry, Tail, Writer
from polysilicon.gateway.shared import leases
from polysilicon.gateway.shared import postgres as database
from polysilicon.gateway.shared.leases import LeasedBudgets
from polysilicon.gateway.shared.postgres import Shipper
from polysilicon.gateway.wiring import Budget, Shared

LIMIT = 1_000_000_000


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with valkey() as one:
        monkeypatch.setenv("TEST_VALKEY", one.url)
        monkeypatch.setattr(leases, "SETTLE_S", 0.0)
        yield one


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with postgres() as one:
        os.environ["TEST_POSTGRES"] = one
        yield one


def host(folder: Path, name: str = "fleet", worker: int = 0, limit: int = LIMIT, period: str = "") -> LeasedBudgets:
    folder.mkdir(parents=True, exist_ok=True)
    return LeasedBudgets(folder / "budgets-x.bin", [Budget(0, "key:k", "key:k", limit, period)], worker, Shared(name, "env:TEST_VALKEY"))


SPEND = """
import random, sys, time
from pathlib import Path
from polysilicon.gateway.shared import leases
leases.SETTLE_S = 0.0
from polysilicon.gateway.wiring import Budget, Shared
b = leases.LeasedBudgets(Path(sys.argv[1]) / "budgets-x.bin", [Budget(0, "key:k", "key:k", int(sys.argv[3]))], int(sys.argv[2]),
                         Shared("fleet", "env:TEST_VALKEY"))
rng = random.Random(sys.argv[1] + sys.argv[2])
spent = denied = 0
print("ready", flush=True)
sys.stdin.readline()
while denied < 8:
    bound = rng.randrange(1_000_000, 3_000_000)
    if b.reserve((0,), bound):
        denied += 1
        time.sleep(0.03)
        continue
    cost = rng.randrange(0, bound + 1)
    b.settle((0,), bound, cost)
    spent += cost
    print(spent, flush=True)
"""


def spender(folder: Path, worker: int, limit: int = LIMIT) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SPEND, str(folder), str(worker), str(limit)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    for p in processes:
        assert p.stdin is not None
        p.stdin.write("go\n")
        p.stdin.flush()


def total(process: subprocess.Popen[str]) -> int:
    return int(["0", *process.communicate(timeout=60)[0].split()][-1])


def test_four_processes_on_two_hosts_spend_one_budget_and_no_more(store: Store, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    limit = 4 * LIMIT
    processes = [spender(tmp_path / name, worker, limit) for name in "ab" for worker in (0, 1)]
    go(*processes)
    with ThreadPoolExecutor(4) as pool:
        spent = list(pool.map(total, processes))
    assert [p.returncode for p in processes] == [0] * 4
    assert min(spent) > 0, "everyone had a part"
    assert sum(spent) <= limit
    assert sum(spent) > limit * 0.95, "and next to nothing is left lying"
    both = [host(tmp_path / name, worker=5, limit=limit) for name in "ab"]
    assert sum(b.spent(0) for b in both) == sum(spent)
    assert sum(b._lease[0] for b in both) <= limit
    for b in both:
        b.close()


def test_a_killed_process_is_never_a_second_spending(store: Store, tmp_path: Path) -> None:
    """One is killed while it spends; what it had reserved is booked; its host goes on; the sum stays within the limit."""
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = spender(tmp_path / "a", 0), spender(tmp_path / "b", 0)
    go(first, second)
    assert first.stdout is not None
    for _ in range(40):
        first.stdout.readline()
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    mine = host(tmp_path / "a", worker=9)
    booked = sum(mine.clear_worker(0))
    assert 0 <= booked < 3_000_000
    assert mine.recover()
    again = spender(tmp_path / "a", 0)
    go(again)
    for p in (again, second):
        p.communicate(timeout=60)
    other = host(tmp_path / "b", worker=9)
    assert LIMIT * 0.95 < mine.spent(0) + other.spent(0) <= LIMIT
    mine.close()
    other.close()


def test_a_store_that_forgets_is_told(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = host(tmp_path / "a"), host(tmp_path / "b")
    for one in (a, b):
        assert one.reserve((0,), 400_000_000) == ""
    assert a.reserve((0,), 300_000_000) == "key:k"
    store.stop()
    a._asked_s = [0.0]
    assert a.reserve((0,), 500_000_000) == "key:k", "without the store, what is leased and no more"
    assert "Error" in a.problem
    assert b.reserve((0,), 5_000_000) == "", "and that goes on"
    store.start()
    monkeypatch.setattr(leases, "SETTLE_S", 30.0)
    assert a.renew()
    assert b.renew()
    a._asked_s = [0.0]
    assert a.reserve((0,), 150_000_000) == "key:k", "a store without a memory grants nothing until all could tell"
    monkeypatch.setattr(leases, "SETTLE_S", 0.0)
    a._asked_s = [0.0]
    assert a.reserve((0,), 150_000_000) == ""
    b._asked_s = [0.0]
    assert b.reserve((0,), 100_000_000) == "key:k"
    assert a._lease[0] + b._lease[0] <= LIMIT
    a.close()
    b.close()


def test_late_calls_are_ignored_and_lost_answers_heal(store: Store, tmp_path: Path) -> None:
    a = host(tmp_path / "a")
    assert a.reserve((0,), 100_000_000) == ""
    script = a._script
    said: list[dict[str, Any]] = []

    def lost(**call: Any) -> Any:
        said.append(call)
        script(**call)
        raise TimeoutError("the answer is lost")

    a._script = lost
    assert a.reserve((0,), 300_000_000) == "key:k"
    held = int(a._client.hget("polysilicon:{fleet}:key:k", f"h:{a.host.name}"))
    assert held * 1000 > a._lease[0], "the store has written down what we do not know of: that is the safe side"
    a._script = script
    assert a.renew()
    assert int(a._client.hget("polysilicon:{fleet}:key:k", f"h:{a.host.name}")) * 1000 == a._lease[0]
    assert script(**said[0]) == [b"late"]
    a.close()


def test_leases_come_back(store: Store, tmp_path: Path) -> None:
    """An idle host gives back what it does not need; one that ends, all; one that is new again takes up what it held."""
    a, b = host(tmp_path / "a"), host(tmp_path / "b")
    assert a.reserve((0,), 900_000_000) == ""
    assert b.reserve((0,), 200_000_000) == "key:k"
    a.settle((0,), 900_000_000, 10_000_000)
    assert a.renew()
    b._asked_s = [0.0]
    assert b.reserve((0,), 200_000_000) == ""
    held = a._lease[0]
    (tmp_path / "a" / "leases-x.bin").write_bytes(bytes(8))
    assert a._lease[0] == 0, "as after a power cut"
    assert a.recover()
    assert a._lease[0] == held
    assert a.leave()
    assert a._lease[0] == 10_000_000
    b._asked_s = [0.0]
    assert b.reserve((0,), 750_000_000) == ""
    a.close()
    b.close()


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_new_period_starts_anew(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, period: str) -> None:
    a = host(tmp_path / "a", period=period)
    assert a.reserve((0,), 999_000_000) == ""
    a.settle((0,), 999_000_000, 999_000_000)
    assert a.reserve((0,), 500_000_000) == "key:k"
    later = time.gmtime(time.time() + 32 * 86400)
    monkeypatch.setattr(leases.time, "gmtime", lambda: later)
    a.set_spent([0])
    assert a.renew()
    a._asked_s = [0.0]
    assert a.reserve((0,), 500_000_000) == ""
    assert a._client.ttl(next(k for k in a._client.keys("polysilicon:{fleet}:key*"))) > 0
    a.close()


def test_two_gateways_against_a_budget_for_a_hundred(rig: Callable[..., Rig], store: Store) -> None:
    """One request each, then 998 at once, on two gateways with a folder each: overspend 0, and the budget is used."""
    probe = rig([endpoint("t", "claude")])
    post(probe, ask())
    cost = probe.ledger(1)[0].cost_nano_usd
    limit = 100 * cost
    both = [
        rig(
            [endpoint("t", "claude", model=FleetModel(ttft_s=0.003, tpot_s=0.0))], budgets=(Budget(0, "team:core", "team:core", limit),),
            keys=(key(budgets=(0,)),), body_bytes=10_000, shared=Shared("two", "env:TEST_VALKEY"),
        )
        for _ in range(2)
    ]  # fmt: skip
    statuses = [post(r, ask())[0] for r in both]  # each has a portion before the rush, which either may win
    with ThreadPoolExecutor(48) as pool:
        statuses += pool.map(lambda i: post(both[i % 2], ask())[0], range(998))
    assert set(statuses) == {200, 429}
    spent = [sum(e.cost_nano_usd for e in r.ledger()) for r in both]
    assert sum(spent) <= limit
    assert sum(spent) == statuses.count(200) * cost == sum(r.worker.live.budgets.spent(0) for r in both)
    assert [r.worker.live.budgets.reserved(0) for r in both] == [0, 0]
    assert min(spent) > 0


def test_a_hung_store_delays_one_request_a_second_and_no_more(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TEST_VALKEY", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        r = rig(
            [endpoint("t", "claude")], budgets=(Budget(0, "team:core", "team:core", LIMIT),), keys=(key(budgets=(0,)), key("free")),
            shared=Shared("hung", "env:TEST_VALKEY"),
        )  # fmt: skip
        calls: list[float] = []
        budgets = r.worker.live.budgets
        assert isinstance(budgets, LeasedBudgets)
        exchange = budgets._exchange
        budgets._exchange = lambda *a, **k: (calls.append(0.0), exchange(*a, **k))[1]  # type: ignore[method-assign]
        assert [post(r, ask())[0] for _ in range(20)] == [429] * 20
        assert post(r, ask(), key="sk-free")[0] == 200
        assert len(calls) <= 2
        assert "Timeout" in budgets.problem


# --- PostgreSQL


def entry(i: int, **more: Any) -> Entry:
    return Entry(f"id{i}", 1.7e9 + i, "request", "ok", 200, MODEL, MODEL, "t", "v", "", "aws", "us", "production", cost_nano_usd=i + 1,
                 contract="edp" if i % 2 else "", others={"w": i}, meters=(i, 0, 0, 0, 1), **more)  # fmt: skip


def test_every_line_once_whatever_dies(dsn: str, tmp_path: Path) -> None:
    """Lines come while they are shipped; the connection is cut again and again, in the middle of transactions: each line is there once."""
    import psycopg

    writer = Writer(tmp_path / "ledger", 0)
    shipper = Shipper("env:TEST_POSTGRES", tmp_path / "ledger", "host-once")
    rng = random.Random(1)
    stop = threading.Event()

    def killer() -> None:
        with psycopg.connect(dsn, autocommit=True) as admin:
            while not stop.is_set():
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
                time.sleep(rng.uniform(0.01, 0.06))

    thread = threading.Thread(target=killer)
    thread.start()
    broken = 0
    for batch in range(30):
        for i in range(100):
            writer.append(entry(100 * batch + i))
        shipper.step({})
        broken += bool(shipper.problem)
    stop.set()
    thread.join()
    assert broken > 0, "the test did cut it"
    until = time.monotonic() + 20
    while shipper.step({}) or shipper.problem:
        assert time.monotonic() < until, shipper.problem
    mine = [e for e in database.read("env:TEST_POSTGRES") if e.id.startswith("id")]
    assert [e.id for e in mine] == [f"id{i}" for i in range(3000)]
    assert mine == [entry(i) for i in range(3000)], "with every field"
    with psycopg.connect(dsn) as admin:
        drawn = admin.execute("SELECT nano_usd FROM polysilicon_drawn WHERE host = 'host-once'").fetchone()
        assert drawn == (sum(e.cost_nano_usd for e in mine if e.contract),)
        for change in ("UPDATE polysilicon_ledger SET cost_nano_usd = 0", "DELETE FROM polysilicon_ledger", "TRUNCATE polysilicon_ledger"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                admin.execute(change)
            admin.rollback()
    shipper.close()
    writer.close()


def test_a_host_ships_once_and_a_restart_goes_on(dsn: str, tmp_path: Path) -> None:
    writer = Writer(tmp_path / "ledger", 0)
    writer.append(entry(1, team="nul\x00 and \"quotes\"\\ and é"))
    first, second = (Shipper("env:TEST_POSTGRES", tmp_path / "ledger", "host-two") for _ in range(2))
    assert first.step({}) == 1
    assert second.step({}) == 0
    assert "another process" in second.problem
    first.close()
    writer.append(entry(2))
    assert second.step({}) == 1
    second.close()
    writer.close()


def test_a_table_of_an_earlier_version_gets_its_new_columns(dsn: str, tmp_path: Path) -> None:
    from polysilicon.gateway.shared import postgres

    with postgres.connect("env:TEST_POSTGRES") as connection:
        connection.execute(postgres._SCHEMA)
        for name in postgres._NEWER:
            connection.execute(f"ALTER TABLE polysilicon_ledger DROP COLUMN {name}")
    writer = Writer(tmp_path / "ledger", 0)
    for i in range(5):
        writer.append(entry(i, answer_id="msg_1"))
    shipper = Shipper("env:TEST_POSTGRES", tmp_path / "ledger", "host-newer")
    assert shipper.step({}) == 5, shipper.problem
    with postgres.connect("env:TEST_POSTGRES") as connection:
        rows = connection.execute("SELECT reasoning_tokens, answer_id FROM polysilicon_ledger WHERE host = 'host-newer'").fetchall()
        connection.execute("ALTER TABLE polysilicon_ledger DISABLE TRIGGER ALL")
        connection.execute("DELETE FROM polysilicon_ledger WHERE host = 'host-newer'")
        connection.execute("ALTER TABLE polysilicon_ledger ENABLE TRIGGER ALL")
    assert rows == [(0, "msg_1")] * 5
    shipper.close()
    writer.close()


def test_hosts_hear_of_each_others_burn_down_and_demand(dsn: str, rig: Callable[..., Rig]) -> None:
    contract = Contract("macc", "azure", "committed_spend", "2020-01-01", "2099-01-01", commit_usd=1e6)
    rigs = [
        rig([endpoint("f", "foundry")], variants={"f": {"contract": "macc"}}, shared=Shared("three", postgres="env:TEST_POSTGRES")) for _ in range(2)
    ]
    for i, r in enumerate(rigs):
        for _ in range(3 + i):
            post(r, ask())
        r.ledger(3 + i)
    controllers = [Controller(r.wiring, contracts=[contract]) for r in rigs]
    now_s = time.time()
    for t in range(2):
        for c in controllers:
            c.tick(now_s + t)
            assert c.peers.step({MODEL: 0.25}) == []
    for c in controllers:
        c.tick(now_s + 3)
    drawn = sum(e.cost_nano_usd for r in rigs for e in r.ledger()) / 1e9
    assert [c.drawn_usd(contract) for c in controllers] == pytest.approx([drawn, drawn], abs=1e-12)
    assert all(c._view is not None and c._view.demand_mtok_per_s[0] >= 0.25 for c in controllers)
    assert controllers[0].status()["fleet"]["shipped"] == 3
    for c in controllers:
        c.peers.leave({})
        c.close()
    assert sum(e.cost_nano_usd for e in database.read("env:TEST_POSTGRES") if e.contract == "macc") / 1e9 == pytest.approx(drawn)


def test_a_database_that_is_away_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("TEST_POSTGRES", "postgresql://nobody:secret-word@127.0.0.1:1/none")
    shipper = Shipper("env:TEST_POSTGRES", tmp_path / "ledger", "away")
    assert shipper.step({}) == 0
    assert "cannot be reached" in shipper.problem
    assert "secret-word" not in shipper.problem
    with pytest.raises(PolysiliconError, match="cannot be reached"):
        database.read("env:TEST_POSTGRES")


def test_without_the_extra_the_file_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setenv("TEST_VALKEY", "redis://127.0.0.1:1")
    with pytest.raises(PolysiliconError, match="extra `shared`"):
        host(tmp_path)
    assert msgspec.structs.asdict(Shared())["valkey"] == ""


def test_two_served_hosts_one_killed_whole(dsn: str, store: Store, rig: Callable[..., Rig], tmp_path: Path) -> None:
    """`polysilicon serve` on two hosts, one of them killed with all its processes and started again: the database ends with every line of
    both, each once; what the budget's holders spent is what the lines say; the limit holds."""
    from test_operations import Served, file_text

    r = rig([endpoint("a", "claude"), endpoint("b", "vertex")])
    extra = (
        "shared: {name: served, valkey: env:TEST_VALKEY, postgres: env:TEST_POSTGRES}\n"
        "budgets: [{scope: 'team:core', usd: 0.02}]\n"
    )  # fmt: skip
    hosts = []
    for name in "xy":
        (tmp_path / name).mkdir()
        hosts.append(Served(tmp_path / name, file_text(r, workers=1) + extra))
    x, y = hosts
    try:

        def some(n: int) -> list[int]:
            return [post(h, ask())[0] for _ in range(n) for h in hosts]  # type: ignore[arg-type]

        assert set(some(5)) == {200}
        children = subprocess.run(["pgrep", "-P", str(x.process.pid)], capture_output=True, text=True, check=True).stdout.split()
        for pid in (x.process.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        x.process.wait()
        x.log.close()
        assert post(y, ask())[0] == 200  # type: ignore[arg-type]
        hosts[0] = x = Served(tmp_path / "x", file_text(r, workers=1) + extra)
        statuses = some(90)
        assert set(statuses) == {200, 429}, "until the common budget is used up"
    finally:
        for h in hosts:
            if h.process.poll() is None:
                h.close()
    lines = database.read("env:TEST_POSTGRES")
    ours = {e.id for folder in "xy" for e in Tail(tmp_path / folder / "gateway-state" / "ledger").read()}
    mine = [e for e in lines if e.id in ours]
    assert {e.id for e in mine} == ours
    assert len(mine) == len(ours), "each once"
    spent = sum(e.cost_nano_usd for e in mine)
    assert 8_000_000 < spent <= 20_000_000
