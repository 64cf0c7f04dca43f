"""Calibration on a live endpoint: a short, stated schedule of requests, a fit of a few constants, a test on what it did not see.

Every operating point is a closed loop: so many requests at once, each answered one followed by the next, a few rounds long; the
fit plays the same loop. Every prompt begins with a word of its own and goes on at random, so that no prefix cache helps.
"""

from __future__ import annotations

import asyncio
import csv
import io
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from polysilicon.catalogue import Catalogue
from polysilicon.errors import InputError, UpstreamError, UsageError, did_you_mean
from polysilicon.exchange import closed_loop
from polysilicon.exchange.calibrate import TPOT_SCALE, TTFT_SCALE, TTFT_WEIGHT, Cell, Fitter
from polysilicon.exchange.cases import Case, Recipe
from polysilicon.exchange.endpoint import Endpoint, Sample
from polysilicon.exchange.fitting import as_csv as table_csv
from polysilicon.exchange.fitting import unit_of
from polysilicon.exchange.points import degree
from polysilicon.model.layout import Layout
from polysilicon.performance.efficiency import COLUMNS, Efficiency
from polysilicon.silicon.chip import PRECISIONS

Array = NDArray[np.float64]
ROUNDS = 3  # requests per slot and operating point
LEAST_POINTS = 6  # of which two are held back
HELD_EVERY = 3  # the third, sixth, ... point is not fitted but predicted
FITTED = {  # constant -> how far it may move, in logarithms; a chip nobody measured may be anything
    "gemm_math_frac": 1.5, "gemm_memory_frac": 1.5, "weight_only_math_frac": 1.5, "weight_only_memory_frac": 1.5, "expert_math_frac": 1.5,
    "expert_memory_frac": 1.5, "gemm_pad_tokens": 4.0, "kv_memory_frac": 1.5, "latent_memory_frac": 1.5, "attention_math_frac": 1.5,
    "layer_s": 1.5, "step_s": 3.0, "sequence_s": 4.0, "prefill_step_s": 3.0, "first_token_s": 1.5,
}  # fmt: skip
FIRST_TOKENS = 4  # asked for once before the clock runs
_WORDS = "river stone maple orbit candle harbor violet copper meadow signal ladder winter garden silver thunder pocket".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Step:
    """One operating point of the schedule."""

    words: int
    tokens: int
    slots: int
    held_back: bool

    @property
    def requests(self) -> int:
        """Return how many requests it sends."""
        return ROUNDS * self.slots


def schedule(most_slots: int = 4) -> tuple[Step, ...]:
    """Return the operating points to measure, short ones first.

    Every third is held back: a length between two that are fitted, loads and lengths that are never fitted, and the
    longest prompts at the highest load.

    >>> sum(s.requests for s in schedule(4)), [s.slots for s in schedule(16) if s.held_back]
    (81, [1, 8, 12, 16])
    """
    half, most = max(1, most_slots // 2), most_slots
    between = max(1, round(0.75 * most_slots))
    plan = (
        (64, 24, 1), (512, 24, 1), (192, 24, 1),
        (64, 32, most), (256, 24, most), (128, 24, half),
        (16, 32, half), (256, 48, half), (384, 24, between),
        (1024, 16, 1), (384, 16, half), (640, 24, most),
    )  # fmt: skip
    return tuple(Step(*one, held_back=n % HELD_EVERY == HELD_EVERY - 1) for n, one in enumerate(plan))


@dataclass(frozen=True, slots=True)
class Subject:
    """What is said to run behind an endpoint."""

    model: str
    chip: str
    precision: str = ""  # of the weights; the model's own where empty
    parallelism: str = ""  # "TP8", "TP1 attnDP8 EP8"; one chip where empty


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

    subject: Subject
    points: tuple[Measured, ...]
    ttft_s: tuple[float, ...]  # predicted
    tpot_s: tuple[float, ...]
    rows: tuple[dict[str, str], ...]
    took_s: float = 0.0

    def errors(self, *, held_back: bool) -> tuple[Array, Array]:
        """Return the signed errors of TTFT and TPOT on points that were (not) held back."""
        rows = [i for i, m in enumerate(self.points) if m.held_back == held_back]
        first = np.array([self.ttft_s[i] / self.points[i].ttft_s - 1.0 for i in rows])
        each = np.array([self.tpot_s[i] / self.points[i].tpot_s - 1.0 for i in rows])
        return first, each

    def error_frac(self, *, held_back: bool) -> tuple[float, float]:
        """Return the median absolute error of TTFT and TPOT on points that were (not) held back."""
        first, each = self.errors(held_back=held_back)
        return float(np.median(np.abs(first))), float(np.median(np.abs(each)))


def calibrate(
    url: str, known: Catalogue, subject: Subject, *, minutes: float = 3.0, most_slots: int = 4, key: str = "",
    each: Callable[[float, str], None] | None = None,
) -> Live:  # fmt: skip
    """Measure an endpoint within so many minutes, fit the chip's efficiencies, predict the points held back.

    Raises: UsageError without model and chip; UpstreamError where the endpoint refuses, hangs or answers nonsense.
    """
    if not subject.model or not subject.chip:
        raise UsageError("a live endpoint needs --model and --chip, as the catalogue (or --overlay) knows them")
    if not 0.1 <= minutes <= 120:
        raise UsageError(f"--minutes is {minutes:g}; 0.1 to 120 is allowed")
    if not 1 <= most_slots <= 1024:
        raise UsageError(f"--slots is {most_slots}; 1 to 1,024 is allowed")
    if subject.precision and subject.precision not in PRECISIONS:
        hint = did_you_mean(subject.precision, PRECISIONS)
        raise InputError(f'--chip: precision "{subject.precision}" is not one of {", ".join(PRECISIONS)}', hint=hint)
    known.model(subject.model)
    known.chip(subject.chip)
    began = time.monotonic()
    points: list[Measured] = []
    try:
        asyncio.run(measure(url, schedule(most_slots), points, seconds=60.0 * minutes, key=key, each=each))
    except KeyboardInterrupt:
        if len(points) < LEAST_POINTS:
            raise
    return fit(points, known, subject, took_s=time.monotonic() - began)


async def measure(
    url: str, steps: Sequence[Step], found: list[Measured], *, seconds: float, key: str = "",
    each: Callable[[float, str], None] | None = None,
) -> None:  # fmt: skip
    """Append to `found` each operating point as it is whole, until the time is over; no request outlives it.

    Whoever interrupts has what was whole by then.

    Raises: UpstreamError where fewer than six points could be measured.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    total = sum(s.requests for s in steps)
    done = 0
    endpoint = Endpoint(url, key=key)

    def told(step: Step) -> None:
        nonlocal done
        done += 1
        if each is not None:
            each(done / total, f"{step.words} words in, {step.tokens} tokens out, {step.slots} at once")

    try:
        async with asyncio.timeout_at(deadline):
            name = await endpoint.model()
            await endpoint.ask(name, _prompt(8), FIRST_TOKENS)  # warm up, learn which path it serves
            for step in steps:
                samples = await _loop(endpoint, name, step, told)
                means = [float(np.mean([getattr(s, f) for s in samples])) for f in ("isl_tokens", "osl_tokens", "ttft_s", "tpot_s")]
                found.append(Measured(means[0], means[1], step.slots, means[2], means[3], step.held_back))
    except TimeoutError as error:
        if len(found) < LEAST_POINTS:
            words = f"{len(found)} of {len(steps)} operating points were whole after {seconds:.0f} s; a fit needs {LEAST_POINTS}"
            raise UpstreamError(words, where=url, hint="give it longer with --minutes") from error
    finally:
        endpoint.close()


async def _loop(endpoint: Endpoint, name: str, step: Step, told: Callable[[Step], None]) -> list[Sample]:
    """Run one closed loop: slots take the next request as soon as they are answered."""
    left = step.requests
    samples: list[Sample] = []

    async def slot() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            samples.append(await endpoint.ask(name, _prompt(step.words), step.tokens))
            told(step)

    try:
        async with asyncio.TaskGroup() as slots:
            for _ in range(step.slots):
                slots.create_task(slot())
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
    return samples


def _prompt(words: int) -> str:
    return " ".join((uuid.uuid4().hex[:6], *random.choices(_WORDS, k=max(1, words - 1))))


def _layout(subject: Subject, precision: str) -> Layout:
    tp, dp, ep = (degree(subject.parallelism, n) for n in ("TP", "attnDP", "EP"))
    return Layout(precision, "bf16", tp=tp, dp=dp, ep=ep)


def fit(points: Sequence[Measured], known: Catalogue, subject: Subject, *, took_s: float = 0.0) -> Live:
    """Fit a chip's efficiencies to the points that are not held back, and predict all."""
    model, chip = known.model(subject.model), known.chip(subject.chip)
    native = model.native_precision if model.native_precision in PRECISIONS else "bf16"
    layout = _layout(subject, subject.precision or native)
    cases = [
        Case(
            key=str(i), model=model, chip=chip, layout=layout, engine="*", years=0.0, protocol="closed", isl_tokens=p.isl_tokens,
            osl_tokens=p.osl_tokens, concurrency=float(p.concurrency), recipe=Recipe(2048, queued_client=False, prompts_per_slot=ROUNDS),
        )
        for i, p in enumerate(points)
    ]  # fmt: skip
    d = Efficiency()
    most = {"frac": 1.0, "tokens": 1024.0}
    cells = [Cell(n, subject=chip.id, prior=getattr(d, n), width=w, most=most.get(n.rsplit("_", 1)[-1], 10.0)) for n, w in FITTED.items()]
    fitter = Fitter(cases, np.array([p.tpot_s for p in points]), np.array([p.ttft_s for p in points]), cells)
    rows = np.nonzero([not p.held_back for p in points])[0]
    theta = _fitted(fitter, rows)
    fitter.play(theta)
    values = fitter.prior * np.exp(theta)
    first, each = (tuple(float(x) for x in fitter.played[:, k]) for k in (closed_loop.TTFT, closed_loop.TPOT))
    live = Live(subject, tuple(points), first, each, (), took_s)
    moved = [(c.parameter, float(v)) for c, v, t in zip(cells, values, theta, strict=True) if abs(t) > 1e-6]
    held_first, held_each = (float(np.max(np.abs(e), initial=0.0)) for e in live.errors(held_back=True))
    note = f"calibrate URL; worst of {len(points) - len(rows)} points held back"
    table = [_row(chip.id, name, value, len(rows), "calibrate URL") for name, value in moved]
    table += [_row(chip.id, "error_frac", held_each, len(rows), note), _row(chip.id, "ttft_error_frac", held_first, len(rows), note)]
    return Live(subject, tuple(points), first, each, tuple(table), took_s)


def _fitted(fitter: Fitter, rows: NDArray[np.int64]) -> Array:
    """Return the best of several descents.

    A constant far below what the engine takes has no slope to follow, so each of the host's also starts at a fifth of the
    shortest token; the least cost, pull towards the priors included, decides.
    """
    names = [c.parameter for c in fitter.cells]
    fifth = 0.2 * float(np.min(fitter.tpot_s[rows]))
    best, least = np.zeros(len(names)), float("inf")
    for raised in ((), ("sequence_s",), ("step_s",), ("prefill_step_s",), ("sequence_s", "step_s")):
        start = np.zeros(len(names))
        for name in raised:
            at = names.index(name)
            start[at] = np.clip(np.log(fifth / fitter.prior[at]), fitter.lower[at], fitter.upper[at])
        theta = fitter.fit(rows, plays=4, start=start)
        fitter.play(theta)
        each = np.log(fitter.played[rows, closed_loop.TPOT] / fitter.tpot_s[rows]) / TPOT_SCALE
        first = np.log(fitter.played[rows, closed_loop.TTFT] / fitter.ttft_s[rows]) / TTFT_SCALE
        size = 2.0 * np.sum(np.sqrt(1 + each**2) - 1) + 2.0 * TTFT_WEIGHT * np.sum(np.sqrt(1 + first**2) - 1)
        cost = float(size + np.sum((theta / fitter.width) ** 2))
        if cost < least:
            best, least = theta, cost
    return best


def _row(chip: str, name: str, value: float, points: int, note: str) -> dict[str, str]:
    today = date.today().isoformat()
    cells = (chip, "*", "*", name, f"{value:.5g}", unit_of(name), "live endpoint", today, "measured", str(points), "", note)
    return dict(zip(COLUMNS, cells, strict=True))


def as_csv(live: Live) -> bytes:
    """Return the fitted rows as an efficiency table."""
    return table_csv(live.rows)


def points_csv(live: Live) -> bytes:
    """Return the measured points as a table that `validate`, `perf --measured` and a scenario's `measured` read."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(
        ("source", "model", "quant", "chip", "n_chips", "parallelism", "isl", "osl", "concurrency_or_batch", "metric", "value", "unit",
         "where_in_source", "backend", "date", "note")
    )  # fmt: skip
    s, today = live.subject, date.today().isoformat()
    layout = _layout(s, "bf16")
    for n, p in enumerate(live.points, start=1):
        run = ("live endpoint", s.model, s.precision, s.chip, layout.chips, s.parallelism or "TP1", f"{p.isl_tokens:g}", f"{p.osl_tokens:g}")
        for metric, seconds in (("ttft", p.ttft_s), ("tpot", p.tpot_s)):
            note = "held back from the fit" if p.held_back else ""
            write.writerow((*run, p.concurrency, metric, f"{1e3 * seconds:.6g}", "ms", f"point {n}", "", today, note))
    return out.getvalue().encode()
