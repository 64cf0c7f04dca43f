"""Calibration on a live endpoint: a short, stated schedule of requests, a fit of a few constants, a test on what it did not see.

Speaks the OpenAI completions protocol with streaming over plain asyncio. Every prompt is fresh random words, so that no
prefix cache helps; a chunk that carries text counts as one token unless the endpoint reports usage.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from polysilicon.catalogue import Catalogue
from polysilicon.errors import UpstreamError, UsageError
from polysilicon.exchange import closed_loop
from polysilicon.exchange.calibrate import Cell, Fitter
from polysilicon.exchange.cases import Case, Recipe
from polysilicon.exchange.fitting import as_csv as table_csv
from polysilicon.exchange.fitting import unit_of
from polysilicon.model.layout import Layout
from polysilicon.performance.efficiency import COLUMNS, Efficiency

Array = NDArray[np.float64]
# (prompt words, output tokens, concurrency), cheapest first; every third is held back from the fit
SCHEDULE: tuple[tuple[int, int, int], ...] = (
    (32, 16, 1),
    (256, 16, 1),
    (128, 24, 1),
    (32, 24, 2),
    (512, 16, 1),
    (256, 24, 2),
    (64, 32, 4),
    (128, 16, 2),
    (256, 16, 4),
)
ROUNDS = 3  # requests per slot
SILENCE_S = 60.0
MAX_LINE = 1 << 20
_WORDS = [
    "river",
    "stone",
    "maple",
    "orbit",
    "candle",
    "harbor",
    "violet",
    "copper",
    "meadow",
    "signal",
    "ladder",
    "winter",
    "garden",
    "silver",
    "thunder",
    "pocket",
]


@dataclass(frozen=True, slots=True)
class Measured:
    """One operating point of a live endpoint: means over its requests."""

    isl_tokens: float
    osl_tokens: float
    concurrency: int
    ttft_s: float
    tpot_s: float
    held_back: bool


@dataclass(frozen=True, slots=True)
class Live:
    """A calibrated endpoint: what was measured, what the fit says of it, what it wrote."""

    points: tuple[Measured, ...]
    ttft_s: tuple[float, ...]  # predicted
    tpot_s: tuple[float, ...]
    rows: tuple[dict[str, str], ...]

    def error_frac(self, *, held_back: bool) -> tuple[float, float]:
        """Return the median absolute error of TTFT and TPOT on points that were (not) held back."""
        first = [abs(p / m.ttft_s - 1) for p, m in zip(self.ttft_s, self.points, strict=True) if m.held_back == held_back]
        each = [abs(p / m.tpot_s - 1) for p, m in zip(self.tpot_s, self.points, strict=True) if m.held_back == held_back]
        return float(np.median(first)), float(np.median(each))


def calibrate(
    url: str,
    known: Catalogue,
    *,
    model: str,
    chip: str,
    minutes: float = 3.0,
    each: Callable[[float], None] | None = None,
) -> Live:
    """Measure an endpoint within so many minutes, fit the chip's efficiencies, predict the points held back.

    Raises: UsageError without model and chip; UpstreamError where the endpoint refuses, hangs or answers nonsense.
    """
    if not model or not chip:
        raise UsageError("a live endpoint needs --model and --chip, as the catalogue (or --overlay) knows them")
    if not 0.1 <= minutes <= 120:
        raise UsageError(f"--minutes is {minutes:g}; 0.1 to 120 is allowed")
    known.model(model)
    known.chip(chip)
    return fit(asyncio.run(measure(url, seconds=60.0 * minutes, each=each)), known, model=model, chip=chip)


async def measure(url: str, *, seconds: float, each: Callable[[float], None] | None = None) -> list[Measured]:
    """Return the operating points of the schedule that fit into the time given.

    Raises: UpstreamError where fewer than four points could be measured.
    """
    began = time.monotonic()
    name = await _model_name(url)
    await _one(url, name, 8, 4)  # warm up
    found: list[Measured] = []
    for n, (words, tokens, slots) in enumerate(SCHEDULE):
        if time.monotonic() - began > seconds:
            break
        done = await asyncio.gather(*(_slot(url, name, words, tokens) for _ in range(slots)))
        samples = [s for slot in done for s in slot]
        isl, osl, ttft, tpot = (float(np.mean([s[k] for s in samples])) for k in range(4))
        found.append(Measured(isl, osl, slots, ttft, tpot, held_back=n % 3 == 2))
        if each is not None:
            each((n + 1) / len(SCHEDULE))
    if len(found) < 4:
        raise UpstreamError(f"only {len(found)} operating points in {seconds:.0f} s; a fit needs 4", where=url)
    return found


async def _slot(url: str, name: str, words: int, tokens: int) -> list[tuple[float, float, float, float]]:
    return [await _one(url, name, words, tokens) for _ in range(ROUNDS)]


async def _one(url: str, name: str, words: int, tokens: int) -> tuple[float, float, float, float]:
    """Return prompt tokens, output tokens, TTFT and TPOT of one request."""
    prompt = " ".join(random.choice(_WORDS) for _ in range(words))
    body = {
        "model": name,
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 1.0,
        "stream": True,
        "ignore_eos": True,
        "stream_options": {"include_usage": True},
    }
    began, first, last, chunks = time.monotonic(), 0.0, 0.0, 0
    isl, osl = float(words), 0.0
    async for line in _request(url, "POST", "/completions", body):
        if not line.startswith("data:") or line.endswith("[DONE]"):
            continue
        try:
            event = json.loads(line[5:])
        except ValueError as error:
            raise UpstreamError(f"sent an event that is no JSON: {line[:80]!r}", where=url) from error
        usage = event.get("usage") if isinstance(event, dict) else None
        if isinstance(usage, dict):
            isl, osl = float(usage.get("prompt_tokens") or isl), float(usage.get("completion_tokens") or osl)
        choices = event.get("choices") if isinstance(event, dict) else None
        if choices and choices[0].get("text"):
            last = time.monotonic()
            first = first or last
            chunks += 1
    if chunks < 2:
        raise UpstreamError(f"streamed {chunks} tokens; at least 2 are needed to time", where=url)
    osl = osl or float(chunks)
    return isl, osl, first - began, (last - first) / max(osl - 1.0, 1.0)


async def _model_name(url: str) -> str:
    text = "".join([line async for line in _request(url, "GET", "/models", None)])
    try:
        return str(json.loads(text)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UpstreamError("does not list its models as OpenAI endpoints do", where=url) from error


async def _request(url: str, method: str, path: str, body: object) -> AsyncIterator[str]:
    """Yield the lines of an HTTP answer."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    content = json.dumps(body).encode() if body is not None else b""
    base = parts.path.rstrip("/") or "/v1"
    head = f"{method} {base}{path} HTTP/1.0\r\nHost: {parts.hostname}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    try:
        opening = asyncio.open_connection(
            parts.hostname, port, ssl=ssl.create_default_context() if secure else None, limit=MAX_LINE
        )
        reader, writer = await asyncio.wait_for(opening, 10.0)
        try:
            writer.write(head.encode() + content)
            await writer.drain()
            status = (await asyncio.wait_for(reader.readline(), SILENCE_S)).decode("latin-1").split(" ", 2)
            while (await asyncio.wait_for(reader.readline(), SILENCE_S)).strip():
                pass
            if len(status) < 2 or status[1] != "200":
                raise UpstreamError(f"answered {' '.join(status).strip() or 'nothing'} to {method} {path}", where=url)
            while line := await asyncio.wait_for(reader.readline(), SILENCE_S):
                yield line.decode("utf-8", "replace").strip()
        finally:
            writer.close()
    except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError) as error:
        raise UpstreamError(f"cannot be spoken to: {type(error).__name__} {error}", where=url) from error


def fit(points: list[Measured], known: Catalogue, *, model: str, chip: str) -> Live:
    """Fit a chip's efficiencies to the points that are not held back, and predict all."""
    subject, silicon = known.model(model), known.chip(chip)
    precision = subject.native_precision if subject.native_precision in ("fp8", "fp4", "int8") else "bf16"
    cases = [
        Case(
            key=str(i),
            model=subject,
            chip=silicon,
            layout=Layout(precision, "bf16"),
            engine="*",
            years=0.0,
            protocol="closed",
            isl_tokens=p.isl_tokens,
            osl_tokens=p.osl_tokens,
            concurrency=float(p.concurrency),
            recipe=Recipe(2048, queued_client=False),
        )
        for i, p in enumerate(points)
    ]
    d = Efficiency()
    wide = (
        "gemm_math_frac",
        "gemm_memory_frac",
        "kv_memory_frac",
        "attention_math_frac",
        "layer_s",
        "step_s",
        "sequence_s",
        "prefill_step_s",
        "first_token_s",
    )
    layout = [
        Cell(n, subject=silicon.id, prior=getattr(d, n), width=1.5, most=1.0 if n.endswith("_frac") else 10.0) for n in wide
    ]
    fitter = Fitter(cases, np.array([p.tpot_s for p in points]), np.array([p.ttft_s for p in points]), layout)
    rows = np.nonzero([not p.held_back for p in points])[0]
    theta = fitter.fit(rows, plays=3)
    fitter.play(theta)
    values = fitter.prior * np.exp(theta)
    today = date.today().isoformat()
    held = [i for i, p in enumerate(points) if p.held_back]
    played = fitter.played
    error = np.abs(np.log([played[i, closed_loop.TPOT] / points[i].tpot_s for i in held])) if held else np.array([0.5])
    written = [(c.parameter, float(v)) for c, v in zip(layout, values, strict=True)]
    written.append(("error_frac", float(np.expm1(np.max(error)))))
    table = tuple(
        dict(
            zip(
                COLUMNS,
                (
                    silicon.id,
                    "*",
                    "*",
                    name,
                    f"{value:.5g}",
                    unit_of(name),
                    "live endpoint",
                    today,
                    "measured",
                    str(len(rows)),
                    "",
                    "calibrate URL",
                ),
                strict=True,
            )
        )
        for name, value in written
    )
    first, each = tuple(float(x) for x in played[:, closed_loop.TTFT]), tuple(float(x) for x in played[:, closed_loop.TPOT])
    return Live(tuple(points), first, each, table)


def as_csv(live: Live) -> bytes:
    """Return the fitted rows as an efficiency table."""
    return table_csv(live.rows)
