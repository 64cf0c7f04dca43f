"""The failover matrix: seven doors, thirteen faults, whole and streamed; breakers, hedges, retries, outliers."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from rig import FAST, MODEL, SEVEN, Rig, ask, endpoint, post

from polysilicon.gateway.emulator import Fault, FleetModel
from polysilicon.gateway.health import Health
from polysilicon.gateway.sse import each
from polysilicon.gateway.wiring import Reliability

FAULTS = (
    "connect-refused",
    "tls",
    "401",
    "429",
    "429-spend",
    "500",
    "503",
    "529",
    "stall",
    "cut-before",
    "cut-after",
    "bad-json",
    "error-event",
)


def names(events: bytes) -> list[str]:
    return [name.decode() for name, _ in each(events)]


def broken(rig: Callable[..., Rig], door: str, fault: str, **more: bool) -> Rig:
    """A rig whose first choice, behind `door`, has the fault, and whose other target is well."""
    good = "claude" if door != "claude" else "vertex"
    faults = [] if fault in ("connect-refused", "tls") else [Fault(fault)]
    r = rig(
        [endpoint("bad", door, faults=faults), endpoint("good", good)], weights=[1.0, 0.0],
        targets={"bad": {"scheme": "https"}} if fault == "tls" else {},
        reliability=replace_(FAST, first_byte_timeout_s=0.15, stall_timeout_s=0.15), **more,
    )  # fmt: skip
    if fault == "connect-refused":
        r.run(r.emulator["bad"].stop())
    return r


def replace_(settings: Reliability, **changes: object) -> Reliability:
    return msgspec.structs.replace(settings, **changes)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("door", SEVEN)
def test_matrix(rig: Callable[..., Rig], door: str, fault: str) -> None:
    r = broken(rig, door, fault)
    status, headers, body = post(r, ask())
    assert (status, headers["x-polysilicon-target"]) == (200, "good"), body
    assert msgspec.json.decode(body)["stop_reason"] == "end_turn"
    assert headers["x-polysilicon-why"].startswith("failover")

    r.worker.live.health.open_until_s[0] = 0.0  # ask the broken one again
    r.worker.live.health.probing[0] = 0
    status, headers, body = post(r, ask(stream=True))
    said = names(body)
    assert status == 200
    assert said.count("message_start") == 1
    if fault == "cut-after":
        assert headers["x-polysilicon-target"] == "bad"
        assert said[-1] == "error"
        assert "message_stop" not in said
        line = r.ledger(2)[-1]
        assert (line.outcome, line.target) == ("cut", "bad")
        assert line.fresh_tokens > 0
        assert line.output_tokens >= 3
        assert line.cost_nano_usd > 0
        assert line.estimated
    else:
        assert headers["x-polysilicon-target"] == "good"
        assert said[-1] == "message_stop"
        assert "error" not in said
        assert [e.target for e in r.ledger(2) if e.outcome == "ok"] == ["good", "good"]


@pytest.mark.parametrize("fault", ["429", "cut-before", "cut-after", "tls", "stall"])
def test_matrix_on_the_standard_loop(rig: Callable[..., Rig], fault: str) -> None:
    """Without uvloop all is the same, only slower."""
    r = broken(rig, "bedrock", fault, standard_loop=True)
    assert post(r, ask())[1]["x-polysilicon-target"] == "good"
    assert names(post(r, ask(stream=True))[2]).count("message_start") == 1


@pytest.mark.parametrize("fault", ["cut-before", "cut-after", "bad-json", "stall", "error-event", "garbage", "lie-length"])
def test_engine_faults_reach_a_chat_client_as_errors_or_not_at_all(rig: Callable[..., Rig], fault: str) -> None:
    r = broken(rig, "openai", fault)
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    status, headers, body = post(r, chat, path="/v1/chat/completions")
    assert status == 200
    assert body.count(b'"role":"assistant"') == 1
    if fault == "cut-after":
        assert headers["x-polysilicon-target"] == "bad"
        assert b"[DONE]" not in body
        assert b'"error"' in body
    else:
        assert headers["x-polysilicon-target"] == "good"
        assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("door", ["claude", "bedrock", "openai"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize(("shape", "fault"), [("cut", "cut-before"), ("stalled", "stall"), ("malformed", "bad-json"), ("malformed", "garbage")])
def test_litellm_40404_broken_streams_reach_the_fallback(rig: Callable[..., Rig], door: str, path: str, shape: str, fault: str) -> None:
    """A stream that is cut, stalled or malformed before its first content is answered by the next target, in either dialect, once."""
    r = broken(rig, door, fault)
    asked = ask(stream=True) if "messages" in path else {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    status, headers, body = post(r, asked, path=path)
    assert (status, headers["x-polysilicon-target"]) == (200, "good"), shape
    if "messages" in path:
        assert names(body).count("message_start") == 1
        assert names(body)[-1] == "message_stop"
    else:
        assert body.count(b'"role":"assistant"') == 1
        assert body.endswith(b"data: [DONE]\n\n")
    assert r.emulator["bad"].seen.requests == 1
    assert [e.target for e in r.ledger(1) if e.outcome == "ok"] == ["good"]


def test_nobody_well_gives_the_last_reason(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude", faults=[Fault("529", retry_after_s=3)]), endpoint("b", "vertex", faults=[Fault("503")])])
    status, _, body = post(r, ask())
    assert status in (503, 529)
    assert msgspec.json.decode(body)["type"] == "error"
    line = r.ledger(1)[-1]
    assert (line.outcome, line.cost_nano_usd) == ("rejected", 0)


def test_a_request_that_is_wrong_is_asked_once(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude"), endpoint("b", "vertex")])
    status, _, body = post(r, {"model": MODEL, "messages": []})
    assert status == 400
    assert b"max_tokens" in body
    assert r.emulator["a"].seen.requests + r.emulator["b"].seen.requests == 1


def test_one_429_is_all_it_takes(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude", faults=[Fault("429", retry_after_s=60)]), endpoint("b", "vertex")], weights=[0.9, 0.1])
    for _ in range(20):
        assert post(r, ask())[1]["x-polysilicon-target"] == "b"
    assert r.emulator["a"].seen.requests == 1
    assert r.worker.live.health.state(0, time.monotonic()) == "open"


def test_breaker_opens_probes_and_closes() -> None:
    health = Health(1, Reliability(breaker_failures=3, breaker_open_s=10.0))
    for _ in range(3):
        assert health.admits(0, 0.0)
        health.bad(0, 0.0, "500")
    assert not health.admits(0, 9.9)
    assert health.state(0, 5.0) == "open"
    assert health.admits(0, 10.1)
    health.asked(0)
    assert not health.admits(0, 10.1), "one probe at a time"
    health.bad(0, 10.2, "500")
    assert not health.admits(0, 29.0), "twice as long the second time"
    health.asked(0)
    health.good(0, 0.1)
    assert health.state(0, 31.0) == "closed"


def test_outliers_are_ejected_but_never_more_than_half() -> None:
    health = Health(4, Reliability(eject_min_requests=10))
    for i in range(4):
        for n in range(20):
            if i >= 1 and n % 2:
                health.bad(i, 0.0, "500")
            else:
                health.good(i, 5.0 if i == 3 else 0.1)
    out = health.eject((0, 1, 2, 3), 0.0)
    assert len(out) == 2
    assert 0 not in out


def test_hedge_answers_while_the_slow_one_thinks(rig: Callable[..., Rig]) -> None:
    slow = endpoint("slow", "claude", model=FleetModel(ttft_s=8.0, tpot_s=0.0))
    hedging = replace_(FAST, hedge_after_s=0.05, hedge_share_max_frac=1.0, first_byte_timeout_s=20.0, total_timeout_s=30.0)
    r = rig([slow, endpoint("fast", "vertex")], weights=[1.0, 0.0], reliability=hedging)
    status, headers, body = post(r, ask(stream=True))
    assert (status, headers["x-polysilicon-target"], headers["x-polysilicon-why"]) == (200, "fast", "hedge")
    assert names(body).count("message_start") == 1
    kinds = {e.kind: e for e in r.ledger(2)}
    assert kinds["request"].target == "fast"
    assert kinds["hedge"].target == "slow"
    assert kinds["hedge"].estimated


def test_an_idle_connection_closed_by_the_target_costs_nothing(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude")])
    assert post(r, ask())[0] == 200
    port = r.emulator["a"].port
    r.run(r.emulator["a"].stop())
    r.emulator["a"].port = port
    r.run(r.emulator["a"].start("127.0.0.1"))
    assert post(r, ask())[0] == 200
    assert r.worker.live.health.failures[0] == 0


def test_overload_recovers(rig: Callable[..., Rig]) -> None:
    """Far more than the target takes: refusals, no collapse; a second later all is well."""
    spec = endpoint("a", "claude", concurrent=4, model=FleetModel(ttft_s=0.01, tpot_s=0.0))
    r = rig([spec], reliability=replace_(FAST, rate_limit_open_s=0.05))
    with ThreadPoolExecutor(40) as pool:
        statuses = list(pool.map(lambda _: post(r, ask())[0], range(120)))
    assert set(statuses) <= {200, 529}
    assert statuses.count(200) >= 4
    time.sleep(0.1)
    assert [post(r, ask())[0] for _ in range(5)] == [200] * 5


def test_kill_a_backend_under_load(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude"), endpoint("b", "vertex"), endpoint("c", "foundry")])
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(post, r, ask()) for _ in range(40)]
        r.call(r.emulator["a"].outage)
        futures += [pool.submit(post, r, ask()) for _ in range(80)]
        answers = [f.result() for f in futures]
    assert [status for status, _, _ in answers] == [200] * 120
    late = [headers["x-polysilicon-target"] for _, headers, _ in answers[-20:]]
    assert set(late) <= {"b", "c"}


def test_drain_finishes_what_is_under_way(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude", model=FleetModel(ttft_s=0.02, tpot_s=0.01))])
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(post, r, ask(stream=True)) for _ in range(4)]
        time.sleep(0.08)

        async def drain() -> bool:
            return await r.worker.server.drain(3.0)

        assert r.run(drain())
        assert all(names(f.result()[2])[-1] == "message_stop" for f in futures)
    with pytest.raises(OSError):
        post(r, ask())


def test_reload_drops_nothing(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude", model=FleetModel(ttft_s=0.01, tpot_s=0.005)), endpoint("b", "vertex")], weights=[1.0, 0.0])
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(post, r, ask(stream=True)) for _ in range(4)]
        time.sleep(0.03)
        routes = (replace_(r.wiring.routes[0], weights=(0.0, 1.0)),)  # type: ignore[arg-type]
        r.call(lambda: r.worker.reload(replace_(r.wiring, digest="d2", routes=routes)))  # type: ignore[arg-type]
        assert post(r, ask())[1]["x-polysilicon-target"] == "b"
        assert all(names(f.result()[2])[-1] == "message_stop" for f in futures)


def test_client_that_leaves_stops_the_target(rig: Callable[..., Rig]) -> None:
    import socket

    r = rig([endpoint("a", "claude", model=FleetModel(ttft_s=0.0, tpot_s=0.02, output_tokens=200))])
    body = msgspec.json.encode(ask(stream=True, max_tokens=200))
    with socket.create_connection(("127.0.0.1", r.port)) as client:
        client.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk-k1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        assert b"200 OK" in client.recv(4096)
        time.sleep(0.1)
    line = r.ledger(1)[-1]
    assert line.outcome == "client_gone"
    assert 1 <= line.output_tokens < 100
    for _ in range(50):
        if r.emulator["a"].seen.open_now == 0:
            break
        time.sleep(0.02)
    assert r.emulator["a"].seen.open_now == 0
    assert r.worker.live.router.load == [0.0]


def test_slow_reader_slows_the_target_not_the_memory(rig: Callable[..., Rig]) -> None:
    """A client that reads nothing makes the gateway stop reading from the target."""
    import socket

    words = FleetModel(ttft_s=0.0, tpot_s=0.0, output_tokens=25_000, text="a-rather-long-word-to-fill-buffers-with-")
    r = rig(
        [endpoint("a", "claude", model=words)],
        reliability=replace_(FAST, stall_timeout_s=5.0, total_timeout_s=20.0, first_byte_timeout_s=5.0),
    )
    body = msgspec.json.encode(ask(stream=True, max_tokens=25_000))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", r.port))
        client.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk-k1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        time.sleep(0.4)
        held = r.call(lambda: max(c.transport.get_write_buffer_size() for c in r.worker.server.connections))
        assert held < 1_500_000
        total = b""
        while b"message_stop" not in total[-400:]:
            data = client.recv(1 << 20)
            assert data
            total += data
    assert total.count(b'"text_delta"') == 25_000


def test_time_in_which_we_did_not_run_is_nobodys_delay(rig: Callable[..., Rig]) -> None:
    """A process that was not let run for longer than any timeout reads what came meanwhile instead of giving up on it."""
    for stream in (False, True):
        r = rig([endpoint("a", "claude", model=FleetModel(ttft_s=0.1, tpot_s=0.0))], reliability=replace_(FAST, attempts=1, first_byte_timeout_s=0.3))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post, r, ask(stream=stream))
            while r.emulator["a"].seen.requests == 0:
                time.sleep(0.001)
            r.call(lambda: time.sleep(0.8))  # the loop's thread: neither gateway nor target run
            assert answer.result()[0] == 200
        assert r.worker.live.health.failures[0] == 0


def test_hedges_are_kept_for_what_is_really_slow(rig: Callable[..., Rig]) -> None:
    """Five in a hundred at most; when most of them are used, a request that is only a little late gets none."""
    worker = rig([endpoint("a", "claude")]).worker
    worker.counter = 1000
    assert worker.may_hedge(0.05, 1.01)
    worker.hedges = 40
    assert not worker.may_hedge(0.05, 1.5)
    assert worker.may_hedge(0.05, 1.7)
    worker.hedges = 50
    assert not worker.may_hedge(0.05, 100.0)
