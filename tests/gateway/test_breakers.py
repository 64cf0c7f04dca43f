"""Why a breaker is open, since when, and when it tries again: for the operator, from every worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from rig import FAST, Rig, ask, endpoint, post
from starlette.testclient import TestClient

from polysilicon.gateway import breakers, journal
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.emulator import Fault
from polysilicon.web.live import create


def test_the_operator_sees_fault_since_and_next_try(rig: Callable[..., Rig], capfd: pytest.CaptureFixture[str]) -> None:
    r = rig(
        [endpoint("a", "claude", faults=[Fault("429", retry_after_s=60)]), endpoint("b", "vertex")], weights=[1.0, 0.0],
        reliability=msgspec.structs.replace(FAST, breaker_open_s=30.0),
    )  # fmt: skip
    controller = Controller(r.wiring)
    client = TestClient(create(controller, "k"), headers={"authorization": "Bearer k"})
    before = time.time()
    assert post(r, ask())[1]["x-polysilicon-target"] == "b"
    r.call(r.worker.live.sweep)
    (row,) = client.get("/api/breakers").json()
    assert (row["variant"], row["worker"], row["failures"]) == ("opus@a", 0, 1)
    assert row["reason"].startswith("rate: ")
    assert before - 1 <= row["since_s"] <= time.time() + 1
    assert row["again_s"] - row["since_s"] == pytest.approx(60.0, abs=0.1)
    status = next(v for v in client.get("/api/status").json()["variants"] if v["id"] == "opus@a")
    assert status["breaker"] == "open"
    assert [b["reason"] for b in status["breakers"]] == [row["reason"]]
    r.call(lambda: r.worker.live.health.good(0, 0.01))
    r.call(r.worker.live.sweep)
    assert client.get("/api/breakers").json() == []
    said = [msgspec.json.decode(line) for line in capfd.readouterr().err.splitlines() if "breaker" in line]
    assert [(line["event"], line["variant"]) for line in said] == [("breaker open", "opus@a"), ("breaker closed", "opus@a")]
    controller.close()
    assert client.get("/api/breakers", headers={"authorization": "Bearer no"}).status_code == 401


def test_a_spell_of_failures_begins_with_the_first_opening(tmp_path: Path, rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude")])
    health, board = r.worker.live.health, breakers.Board(tmp_path, r.wiring, 0)
    for t in (10.0, 11.0, 12.0):
        health.bad(0, t, "server: broke")
    board.post(health, 12.0)
    (first,) = breakers.read(tmp_path, r.wiring)["opus@a"]
    health.asked(0)
    health.bad(0, 20.0, "stall: silent")
    board.post(health, 20.0)
    (second,) = breakers.read(tmp_path, r.wiring)["opus@a"]
    assert second.since_s - first.since_s == pytest.approx(-8.0, abs=0.5), "the same moment, seen from a clock that was made to jump by 8 s"
    assert (second.reason, second.failures) == ("stall: silent", 4)
    assert second.again_s - second.since_s == pytest.approx(8.0 + 2 * FAST.breaker_open_s, abs=0.01), "opened twice, so twice as long"


def test_files_that_are_torn_or_of_the_dead_say_nothing(tmp_path: Path, rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude")])
    (tmp_path / "breakers-00.json").write_text('[{"variant": "opus@a", "wor')
    assert breakers.read(tmp_path, r.wiring) == {}
    gone = breakers.Breaker("opus@gone", 0, "x", 1.0, 2.0, 3)
    (tmp_path / "breakers-00.json").write_bytes(msgspec.json.encode([gone]))
    (tmp_path / "breakers-07.json").write_bytes(msgspec.json.encode([msgspec.structs.replace(gone, variant="opus@a")]))
    assert breakers.read(tmp_path, r.wiring) == {}, "a variant that is no more, a worker that is no more"
    breakers.clear(tmp_path, 0)
    breakers.clear(tmp_path, 0)
    assert not (tmp_path / "breakers-00.json").exists()


class Gone:
    """A stream whose reader has gone, until it is back."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.text = ""

    def write(self, text: str) -> None:
        if self.error is not None:
            raise self.error
        self.text += text

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("error", [BrokenPipeError(32, "broken pipe"), OSError(28, "no space left"), ValueError("closed")])
def test_a_log_that_nobody_takes_stops_nothing(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Breakers open and close, ticks go on; the first line that is taken again says how many were not."""
    stream = Gone(error)
    r = rig([endpoint("a", "claude", faults=[Fault("429", retry_after_s=60)]), endpoint("b", "vertex")], weights=[1.0, 0.0])
    monkeypatch.setattr("sys.stderr", stream)
    assert post(r, ask())[1]["x-polysilicon-target"] == "b"
    r.call(r.worker.live.sweep)
    r.call(lambda: r.worker.live.health.good(0, 0.01))
    r.call(r.worker.live.sweep)
    assert not r.worker.failing
    stream.error = None
    r.call(lambda: journal.log("info", "here"))
    r.call(lambda: journal.log("info", "again"))
    here, again = [msgspec.json.decode(line) for line in stream.text.splitlines()]
    assert (here["event"], here["lines_delayed_or_lost"]) == ("here", 2)
    assert "lines_delayed_or_lost" not in again
    assert post(r, ask())[0] == 200


def test_a_failing_part_of_a_tick_stops_no_other(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """It is told once, without the words of the error, and told again when it is over; the ledger is still written, deadlines are still kept."""
    r = rig([endpoint("a", "claude", faults=[Fault("stall")]), endpoint("b", "vertex")], weights=[1.0, 0.0])
    failing, ran = threading.Event(), threading.Event()
    failing.set()
    real = r.worker.server.sweep

    def sweep() -> None:
        if failing.is_set():
            raise ZeroDivisionError("hello there")
        real()
        ran.set()

    monkeypatch.setattr(r.worker.server, "sweep", sweep)
    assert post(r, ask())[1]["x-polysilicon-target"] == "b", "after the first byte's deadline"
    until = time.monotonic() + 20
    while not r.worker.failing or len(r.ledger(1)) < 1:
        assert time.monotonic() < until
        time.sleep(0.01)
    failing.clear()
    assert ran.wait(20)
    while any(r.worker.failing.values()):
        assert time.monotonic() < until
        time.sleep(0.01)
    said = [msgspec.json.decode(line) for line in capfd.readouterr().err.splitlines() if "of the tick" in line]
    assert [line["level"] for line in said] == ["error", "info"]
    assert said[0]["why"].startswith("ZeroDivisionError in ")
    assert "hello there" not in str(said)
