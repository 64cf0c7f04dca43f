"""OpenTelemetry's GenAI spans and metrics, made of ledger lines and sent by OTLP over HTTP. Extra `otel`.

Lines are taken from the ledger's tail by the controller, so the data path knows nothing of this; a thread of its own turns them into
spans and histograms and sends them. A collector that is slow or away costs lines here (counted), never a request.

Source: open-telemetry/semantic-conventions-genai (status: development), names as of its 2026 form: always the latest, so what
`OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental` asks for. Cost, chip and contract have no names there: ours start with `polysilicon.`.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from zlib import crc32

from polysilicon.errors import InputError
from polysilicon.gateway.config import TelemetryPart
from polysilicon.gateway.ledger import Entry
from polysilicon.gateway.secrets import SecretValue
from polysilicon.gateway.wiring import Wiring

_WAITING_MOST = 50_000  # lines; what comes on top is dropped and counted
_TOKENS = [float(4**i) for i in range(14)]
_SECONDS = [0.01 * 2**i for i in range(14)]
_FIRST_S = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
_EACH_S = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5]
PROVIDERS = {
    "claude": "anthropic", "aws-platform": "anthropic", "google-cloud": "anthropic", "bedrock": "aws.bedrock", "bedrock-messages": "aws.bedrock",
    "vertex": "gcp.vertex_ai", "foundry": "azure.ai.inference",
}  # fmt: skip

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")

Attributes = dict[str, Any]


class Telemetry:
    """The sender: lines in, spans and metrics out."""

    def __init__(self, settings: TelemetryPart, wiring: Wiring, host: str = "", *, exporter: Any = None, reader: Any = None) -> None:
        """Open what sends; `exporter` of spans and `reader` of metrics stand in for OTLP where they are given."""
        self.settings = settings
        self.sent = 0
        self.dropped = 0
        self._providers = {t.id: PROVIDERS.get(t.door, "") for t in wiring.targets}
        self._names = {v.id: v.name for v in wiring.variants}
        self._addresses = {t.id: (t.host, t.port) for t in wiring.targets}
        self._queue: queue.Queue[Entry | None] = queue.Queue(_WAITING_MOST)
        self._open(host, exporter, reader)
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def _open(self, host: str, exporter: Any, reader: Any) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise InputError("OpenTelemetry needs the extra `otel`", where="telemetry", hint="pip install polysilicon[otel]") from error
        settings = self.settings
        given = SecretValue(settings.headers, where="telemetry.headers", spaces=True).get() if settings.headers else ""
        headers = {name.strip(): value.strip() for name, _, value in (pair.partition("=") for pair in given.split(",")) if name.strip()}
        base = settings.otlp.rstrip("/")
        resource = Resource.create({"service.name": "polysilicon-gateway", "service.instance.id": host or "local"})
        self._ids = _Ids()
        ids: Any = self._ids  # has what an IdGenerator has; the library is not there to inherit from
        self._traces = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
        self._traces.add_span_processor(
            BatchSpanProcessor(
                exporter or OTLPSpanExporter(f"{base}/v1/traces", headers=headers, timeout=5), schedule_delay_millis=settings.every_s * 1000
            )
        )
        reader = reader or PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{base}/v1/metrics", headers=headers, timeout=5), export_interval_millis=settings.every_s * 1000
        )
        self._meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer("polysilicon.gateway")
        meter = self._meters.get_meter("polysilicon.gateway")

        def histogram(name: str, unit: str, words: str, edges: Sequence[float]) -> Any:
            return meter.create_histogram(name, unit, words, explicit_bucket_boundaries_advisory=edges)

        self._tokens = histogram("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS)
        self._duration = histogram("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _SECONDS)
        self._first_chunk = histogram("gen_ai.client.operation.time_to_first_chunk", "s", "Time to receive the first chunk.", _FIRST_S)
        self._each_chunk = histogram("gen_ai.client.operation.time_per_output_chunk", "s", "Time per chunk after the first.", _EACH_S)
        self._server = histogram("gen_ai.server.request.duration", "s", "Duration of a request as the gateway's clients see it.", _SECONDS)
        self._first_token = histogram("gen_ai.server.time_to_first_token", "s", "Time to generate the first token.", _FIRST_S)
        self._each_token = histogram("gen_ai.server.time_per_output_token", "s", "Time per token after the first.", _EACH_S)
        self._cost = meter.create_counter("polysilicon.cost", "USD", "Cost under contract.")

    def add(self, entries: Sequence[Entry]) -> None:
        """Take new ledger lines; never waits."""
        for entry in entries:
            try:
                self._queue.put_nowait(entry)
            except queue.Full:
                self.dropped += 1

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            try:
                self._measure(entry)
                if crc32(entry.id.encode()) < self.settings.trace_frac * 2**32:
                    self._span(entry)
                self.sent += 1
            finally:
                self._queue.task_done()

    def _common(self, e: Entry) -> Attributes:
        host, port = self._addresses.get(e.target, ("", 0))
        out: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": e.model, "polysilicon.kind": e.kind}
        if e.target:
            out |= {
                "gen_ai.provider.name": self._providers.get(e.target) or e.engine or "openai",
                "gen_ai.response.model": e.answer_model or self._names.get(e.variant, e.model),
                "server.address": host, "server.port": port, "polysilicon.chip": e.chip, "polysilicon.cloud": e.cloud, "polysilicon.target": e.target,
            }  # fmt: skip
        if e.outcome not in ("ok", "client_gone"):
            out["error.type"] = str(e.status) if e.status >= 400 else e.outcome
        return out

    def _measure(self, e: Entry) -> None:
        common = self._common(e)
        if e.target:
            self._tokens.record(_prompt_tokens(e), {**common, "gen_ai.token.type": "input"})
            self._tokens.record(e.output_tokens, {**common, "gen_ai.token.type": "output"})
            self._duration.record(e.seconds, common)
            self._cost.add(e.cost_nano_usd / 1e9, {**common, "polysilicon.application": e.application, "polysilicon.contract": e.contract})
        if e.kind == "request":
            self._server.record(e.seconds, common)
            if e.ttft_s > 0.0:
                self._first_token.record(e.ttft_s, common)
                if e.stream:
                    self._first_chunk.record(e.ttft_s, common)
                if e.stream and e.output_tokens > 1 and e.seconds > e.ttft_s:
                    each_s = (e.seconds - e.ttft_s) / (e.output_tokens - 1)  # the doors stream a token a chunk, or nearly
                    self._each_token.record(each_s, common)
                    self._each_chunk.record(each_s, common)

    def _span(self, e: Entry) -> None:
        from opentelemetry import trace

        given = _TRACEPARENT.fullmatch(e.trace)
        client = (int(given[1], 16), int(given[2], 16)) if given else (0, 0)
        root = self._ids.of(e.id, client[0])
        is_root = e.kind == "request"
        self._ids.next_span = root[1] if is_root else 0
        above = root if not is_root else client
        parent = None
        if above[1]:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            parent = trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(*above, is_remote=True, trace_flags=flags)))
        begin_ns = int(e.at_s * 1e9)
        span = self._tracer.start_span(
            f"chat {e.model}", context=parent, kind=trace.SpanKind.CLIENT, attributes={**self._common(e), **_details(e)}, start_time=begin_ns
        )
        if e.outcome not in ("ok", "client_gone"):
            span.set_status(trace.Status(trace.StatusCode.ERROR, e.outcome))
        span.end(begin_ns + int(e.seconds * 1e9))

    def flush(self) -> None:
        """Send all that was taken so far; waits for the collector, at most some seconds."""
        until = time.monotonic() + 5.0
        while self._queue.unfinished_tasks and time.monotonic() < until:  # also what was taken and is not yet told
            time.sleep(0.005)
        self._traces.force_flush(5000)
        self._meters.force_flush(5000)

    def status(self) -> Mapping[str, int]:
        """Return how many lines were sent on and how many dropped."""
        return {"sent": self.sent, "dropped": self.dropped}

    def close(self) -> None:
        """Send what there is and end."""
        self._queue.put(None)
        self._thread.join(10)
        self._traces.shutdown()
        self._meters.shutdown()


class _Ids:
    """A request's trace and its root span are named by the request's id, so that a log line leads to its trace; a client's own trace goes on."""

    def __init__(self) -> None:
        self._trace = 0
        self.next_span = 0

    def of(self, request: str, given: int = 0) -> tuple[int, int]:
        digest = sha256(request.encode()).digest()
        self._trace = given or int.from_bytes(digest[:16], "big") or 1
        return self._trace, int.from_bytes(digest[16:24], "big") or 1

    def generate_trace_id(self) -> int:
        return self._trace

    def generate_span_id(self) -> int:
        if self.next_span:
            return self.next_span
        import secrets

        return secrets.randbits(64) or 1

    @staticmethod
    def is_trace_id_random() -> bool:
        return False


def _prompt_tokens(e: Entry) -> int:
    """Return all prompt tokens: the convention's input tokens include what was cached."""
    return e.fresh_tokens + e.cached_tokens + e.write_5m_tokens + e.write_1h_tokens


def _details(e: Entry) -> Attributes:
    """Return what a span says beyond its metrics' attributes."""
    out: Attributes = {
        "gen_ai.usage.input_tokens": _prompt_tokens(e), "gen_ai.usage.output_tokens": e.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": e.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": e.write_5m_tokens + e.write_1h_tokens, "gen_ai.request.stream": e.stream,
        "polysilicon.request": e.id, "polysilicon.variant": e.variant, "polysilicon.region": e.region, "polysilicon.stage": e.stage,
        "polysilicon.contract": e.contract, "polysilicon.why": e.why, "polysilicon.attempts": e.attempts,
        "polysilicon.plan_version": e.plan_version, "polysilicon.price_version": e.price_version, "polysilicon.directive": e.directive,
        "polysilicon.cost_usd": e.cost_nano_usd / 1e9, "polysilicon.list_cost_usd": e.list_nano_usd / 1e9, "polysilicon.team": e.team,
        "polysilicon.application": e.application, "polysilicon.key": e.key, "polysilicon.outcome": e.outcome,
    }  # fmt: skip
    if e.ttft_s > 0.0 and e.stream:
        out["gen_ai.response.time_to_first_chunk"] = e.ttft_s
    if e.stop:
        out["gen_ai.response.finish_reasons"] = (e.stop,)
    if e.session:
        out["gen_ai.conversation.id"] = e.session
    if e.answer_id:
        out["gen_ai.response.id"] = e.answer_id
    if e.upstream_id:
        out["polysilicon.upstream_request_id"] = e.upstream_id
    if e.reasoning_tokens:  # 0 is what nobody has said
        out["gen_ai.usage.reasoning.output_tokens"] = e.reasoning_tokens
    if e.tier:
        out["polysilicon.service_tier"] = e.tier
    return out
