"""OpenTelemetry GenAI spans and metrics, as a collector on loopback receives them by OTLP over HTTP."""

from __future__ import annotations

import http.server
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rig import MODEL, Rig, ask, endpoint, post, served

from polysilicon.errors import InputErrors, PolysiliconError
from polysilicon.gateway import config
from polysilicon.gateway.config import TelemetryPart
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.emulator import Fault, FleetModel
from polysilicon.gateway.ledger import Entry
from polysilicon.gateway.telemetry import Telemetry

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `otel` is not installed")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


class Collector(http.server.ThreadingHTTPServer):
    """Takes OTLP; keeps all spans and the latest metrics."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resource: dict[str, str] = {}
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                collector.headers.append({k.lower(): v for k, v in self.headers.items()})
                if self.path == "/v1/traces":
                    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                        collector.resource = attributes(resource.resource)
                        collector.spans += [s for scope in resource.scope_spans for s in scope.spans]
                elif self.path == "/v1/metrics":
                    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                        collector.metrics |= {m.name: m for scope in resource.scope_metrics for m in scope.metrics}
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


def attributes(thing: Any) -> dict[str, Any]:
    out = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in thing.attributes}
    return {k: [x.string_value for x in v.values] if hasattr(v, "values") else v for k, v in out.items()}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as one, served(one):
        yield one


def part(collector: Collector, **more: Any) -> TelemetryPart:
    return TelemetryPart(otlp=f"http://127.0.0.1:{collector.server_port}", every_s=60.0, **more)


def told(r: Rig, settings: TelemetryPart, lines: int) -> list[Entry]:
    """Have a controller tell what stands in the ledger; only what comes after its start is news to it."""
    controller = Controller(r.wiring, telemetry=settings)
    assert controller.telemetry is not None
    entries = r.ledger(lines)
    controller.telemetry.add(entries)
    controller.telemetry.flush()
    controller.close()
    return entries


def test_spans_say_what_the_convention_and_the_ledger_say(rig: Callable[..., Rig], collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_OTLP", "x-api-key=collector-key,x-more=1")
    r = rig(
        [endpoint("aws", "bedrock", model=FleetModel(ttft_s=0.02, tpot_s=0.001)), endpoint("gcp", "vertex")],
        variants={"aws": {"chip": "Trainium2", "contract": "edp"}},
    )
    long = [{"type": "text", "text": "y" * 4000, "cache_control": {"type": "ephemeral"}}]
    for i in range(6):
        post(r, ask(stream=i < 4, system=long))
    entries = told(r, part(collector, headers="env:TEST_OTLP"), 6)
    assert collector.resource["service.name"] == "polysilicon-gateway"
    assert collector.headers[0]["x-api-key"] == "collector-key"
    assert len(collector.spans) == 6
    spans = {attributes(s)["polysilicon.request"]: s for s in collector.spans}
    for e in entries:
        span = spans[e.id]
        seen = attributes(span)
        assert (span.name, span.kind) == (f"chat {MODEL}", Span.SPAN_KIND_CLIENT)
        assert seen["gen_ai.operation.name"] == "chat"
        assert seen["gen_ai.provider.name"] == {"aws": "aws.bedrock", "gcp": "gcp.vertex_ai"}[e.target]
        assert seen["gen_ai.request.model"] == MODEL
        assert seen["gen_ai.response.model"] == {"aws": "us.anthropic.opus-v1:0", "gcp": "opus@20251001"}[e.target]
        assert seen["gen_ai.usage.input_tokens"] == e.tokens - e.output_tokens
        assert seen["gen_ai.usage.output_tokens"] == e.output_tokens
        assert seen["gen_ai.usage.cache_read.input_tokens"] == e.cached_tokens
        assert seen["gen_ai.usage.cache_creation.input_tokens"] == e.write_5m_tokens
        assert (seen["polysilicon.chip"], seen["polysilicon.contract"]) == (e.chip, e.contract)
        assert seen["polysilicon.cost_usd"] * 1e9 == pytest.approx(e.cost_nano_usd)
        assert abs((span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 - e.seconds) < 1e-5
        assert ("gen_ai.response.time_to_first_chunk" in seen) == e.stream
        assert seen["gen_ai.response.finish_reasons"] == ["end_turn"]
        assert "hello there" not in str(span), "no prompts"
    assert sum(attributes(s)["gen_ai.usage.cache_read.input_tokens"] for s in collector.spans) > 0


def test_a_clients_own_trace_goes_on_and_a_conversation_has_one_name(rig: Callable[..., Rig], collector: Collector) -> None:
    r = rig([endpoint("o", "openai")])
    parent = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "x-session-id": "conversation-7"}
    for i in range(2):
        post(r, ask(stream=bool(i)), headers=parent)
    for bad in ("nonsense", f"00-{'0' * 32}-{'cd' * 8}-01", "x" * 5000):
        post(r, ask(), headers={"traceparent": bad})
    told(r, part(collector), 5)
    mine = [s for s in collector.spans if s.trace_id == bytes.fromhex("ab" * 16)]
    assert [s.parent_span_id for s in mine] == [bytes.fromhex("cd" * 8)] * 2
    assert len({attributes(s)["gen_ai.conversation.id"] for s in mine}) == 1
    assert "conversation-7" not in str(collector.spans)
    assert all(attributes(s)["gen_ai.response.finish_reasons"] == ["stop"] for s in collector.spans)
    assert len({s.trace_id for s in collector.spans}) == 4


def test_metrics_add_up_to_the_ledger(rig: Callable[..., Rig], collector: Collector) -> None:
    r = rig([endpoint("a", "claude", model=FleetModel(ttft_s=0.01, tpot_s=0.001)), endpoint("f", "foundry")])
    for i in range(8):
        post(r, ask(stream=bool(i % 2)))
    entries = told(r, part(collector, trace_frac=0.0), 8)
    assert collector.spans == [], "none was asked for"
    tokens = collector.metrics["gen_ai.client.token.usage"]
    assert tokens.unit == "{token}"
    by_type: dict[str, float] = {}
    for point in tokens.histogram.data_points:
        kind = attributes(point)["gen_ai.token.type"]
        by_type[kind] = by_type.get(kind, 0.0) + point.sum
        assert list(point.explicit_bounds)[:3] == [1.0, 4.0, 16.0]
    assert by_type == {"input": sum(e.tokens - e.output_tokens for e in entries), "output": sum(e.output_tokens for e in entries)}
    for name in ("gen_ai.client.operation.duration", "gen_ai.server.request.duration"):
        points = collector.metrics[name].histogram.data_points
        assert sum(p.count for p in points) == 8
        assert sum(p.sum for p in points) == pytest.approx(sum(e.seconds for e in entries))
        assert {attributes(p)["gen_ai.provider.name"] for p in points} == {"anthropic", "azure.ai.inference"}
    first = collector.metrics["gen_ai.client.operation.time_to_first_chunk"].histogram.data_points
    assert sum(p.count for p in first) == sum(e.stream for e in entries)
    assert {"gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token", "gen_ai.client.operation.time_per_output_chunk"} <= set(
        collector.metrics
    )
    cost = collector.metrics["polysilicon.cost"].sum.data_points
    assert sum(p.as_double for p in cost) * 1e9 == pytest.approx(sum(e.cost_nano_usd for e in entries))


def test_failures_are_errors_and_attempts_share_a_trace(rig: Callable[..., Rig], collector: Collector) -> None:
    r = rig([endpoint("bad", "claude", faults=[Fault("error-event")]), endpoint("good", "vertex")], weights=[1.0, 0.0])
    assert post(r, ask(stream=True))[0] == 200
    r.call(r.emulator["good"].outage)
    r.emulator["bad"].spec.faults = [Fault("500")]
    assert post(r, ask())[0] != 200
    told(r, part(collector), 3)
    requests: dict[str, list[Any]] = {}
    for s in collector.spans:
        requests.setdefault(attributes(s)["polysilicon.request"], []).append(s)
    retried = next(spans for spans in requests.values() if len(spans) > 1)
    assert len({s.trace_id for s in retried}) == 1
    root = next(s for s in retried if attributes(s)["polysilicon.kind"] == "request")
    (other,) = [s for s in retried if s is not root]
    assert (root.parent_span_id, other.parent_span_id) == (b"", root.span_id)
    assert other.status.code == Status.STATUS_CODE_ERROR
    assert root.status.code == Status.STATUS_CODE_UNSET
    (refused,) = next(spans for spans in requests.values() if len(spans) == 1)
    assert attributes(refused)["error.type"].startswith("5")
    assert "gen_ai.provider.name" not in attributes(refused), "nobody served it"


def test_the_controller_sends_what_comes_and_a_collector_that_is_away_costs_nothing(rig: Callable[..., Rig], collector: Collector) -> None:
    r = rig([endpoint("a", "claude")])
    controller = Controller(r.wiring, telemetry=part(collector))
    for _ in range(3):
        post(r, ask())
    r.ledger(3)
    controller.tick()
    assert controller.telemetry is not None
    controller.telemetry.flush()
    assert len(collector.spans) == 3
    assert controller.status()["telemetry"] == {"sent": 3, "dropped": 0}
    controller.close()
    away = Telemetry(TelemetryPart(otlp="http://127.0.0.1:1", every_s=60.0), r.wiring)
    began = time.monotonic()
    away.add(r.ledger(3) * 30_000)
    assert time.monotonic() - began < 2.0, "adding never waits"
    assert away.dropped > 0
    away._queue.queue.clear()
    away._meters.shutdown = lambda: None  # nothing to wait for here
    away._traces.shutdown = lambda: None
    away.close()


def test_the_section_of_the_file_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    base = "polysilicon: 1\nlisten: {open: true}\ntargets: [{id: a, door: claude, url: 'https://x', cloud: c, region: r, models: {}}]\n"
    for bad in ("telemetry: {otlp: 'ftp://x'}", "telemetry: {otlp: 'http://u:p@x'}", "telemetry: {otlp: 'http://x', headers: 'key=1'}"):
        with pytest.raises(InputErrors):
            config.load_text(base + bad)
    assert config.load_text(base).telemetry is None, "nothing is sent anywhere unless asked for"
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(PolysiliconError, match="extra `otel`"):
        Telemetry(TelemetryPart(otlp="http://127.0.0.1:1"), config_wiring())


def config_wiring() -> Any:
    from polysilicon.gateway.wiring import Reliability, Wiring

    return Wiring("d", "p", "/n", "h", 0, 1, (), (), (), (), (), Reliability())


CONVENTION = {  # of the GenAI conventions, what this gateway can know
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "gen_ai.response.id",
    "gen_ai.response.finish_reasons", "gen_ai.response.time_to_first_chunk", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.conversation.id",
}  # fmt: skip
HISTOGRAMS = {
    "gen_ai.client.token.usage", "gen_ai.client.operation.duration", "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.client.operation.time_per_output_chunk", "gen_ai.server.request.duration", "gen_ai.server.time_to_first_token",
    "gen_ai.server.time_per_output_token",
}  # fmt: skip


@pytest.mark.parametrize("door", ["claude", "bedrock", "openai"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("stream", [True, False])
def test_every_name_of_the_convention(rig: Callable[..., Rig], door: str, path: str, stream: bool) -> None:
    """By the library's own exporters in memory: each attribute and histogram, whatever the dialects; reasoning tokens as the target says them."""
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    r = rig([endpoint("t", door, model=FleetModel(ttft_s=0.005, tpot_s=0.001, reasoning_tokens=5))])
    asked = {"model": MODEL, "stream": stream, "max_tokens": 50, "input" if "responses" in path else "messages": [{"role": "user", "content": "hi"}]}
    status, _, body = post(r, asked, path=path, headers={"x-session-id": "c7"})
    assert status == 200, body
    shown = {"/v1/messages": b'"thinking_tokens":5', "/v1/chat/completions": b'"reasoning_tokens":5', "/v1/responses": b'"reasoning_tokens":5'}[path]
    assert (shown in body.replace(b" ", b"")) == (not stream or "chat" not in path), "clients of chat streams did not ask for usage"
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    telemetry = Telemetry(TelemetryPart(otlp="http://127.0.0.1:9", every_s=60.0), r.wiring, exporter=spans, reader=metrics)
    (entry,) = r.ledger(1)
    telemetry.add([entry])
    telemetry.flush()
    (span,) = spans.get_finished_spans()
    assert CONVENTION - set(span.attributes) == (set() if stream else {"gen_ai.response.time_to_first_chunk"})
    assert span.attributes["gen_ai.usage.reasoning.output_tokens"] == entry.reasoning_tokens == 5
    assert span.attributes["gen_ai.usage.output_tokens"] == entry.output_tokens == 12
    assert span.attributes["gen_ai.response.id"].endswith("00000001")
    assert span.attributes["gen_ai.response.id"].startswith("chatcmpl" if door == "openai" else "msg_")
    data = metrics.get_metrics_data()
    names = {m.name for resource in data.resource_metrics for scope in resource.scope_metrics for m in scope.metrics}
    of_streams = {n for n in HISTOGRAMS if n.endswith(("first_chunk", "per_output_chunk", "per_output_token"))}
    assert HISTOGRAMS - names == (set() if stream else of_streams)
    telemetry.close()
