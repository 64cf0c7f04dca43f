"""FLEET.yaml: pools, routes, promises and what is to happen, read whole with every problem at its place."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from polysilicon.application.workload import Slo
from polysilicon.catalogue import Catalogue
from polysilicon.catalogue import load as load_catalogue
from polysilicon.errors import InputError, InputErrors, PolysiliconError, UsageError, did_you_mean, unknown_name
from polysilicon.model.layout import Layout
from polysilicon.performance import StepTimes, step_budget_tokens, step_times
from polysilicon.scenario.document import Document, read_document
from polysilicon.simulator import fleet as fleets
from polysilicon.simulator.dynamics import SCOPES, Autoscaling, Availability, Happenings, Outage, PriceChange, WeightChange
from polysilicon.simulator.dynamics import check as check_happenings
from polysilicon.simulator.fleet import Fleet, Pool

NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A section of the file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StepPart(Part):
    """Step times given outright: base_s + token_s x tokens, the growing terms, and what a step with prefill and a client's first token wait for."""

    base_s: Positive
    token_s: NonNegative = 0.0
    sequence_s: NonNegative = 0.0
    kv_s_per_token: NonNegative = 0.0
    window_s_per_token: NonNegative = 0.0
    window_tokens: Count = 0
    pair_s: NonNegative = 0.0
    kv_tokens: Annotated[int, Field(ge=1)]
    transfer_s_per_token: NonNegative = 0.0
    transfer_latency_s: NonNegative = 0.0
    prefill_step_s: NonNegative = 0.0
    first_token_s: NonNegative = 0.0

    def build(self, max_step_tokens: int) -> StepTimes:
        """Return the table."""
        tokens = np.arange(max_step_tokens + 1, dtype=np.float64)
        table = np.where(tokens > 0, self.base_s + self.token_s * tokens, 0.0)
        return StepTimes(tokens_s=table, **self.model_dump(exclude={"base_s", "token_s"}))


class LayoutPart(Part):
    """How a replica is spread over chips."""

    precision: str = "bf16"
    kv_precision: str = "bf16"
    tp: Annotated[int, Field(ge=1)] = 1
    pp: Annotated[int, Field(ge=1)] = 1
    ep: Annotated[int, Field(ge=1)] = 1
    dp: Annotated[int, Field(ge=1)] = 1


class PoolPart(Part):
    """One pool: a model on a chip in a layout, or step times given outright."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[^#*?\[\]]+$")]
    model: str = ""
    chip: str = ""
    layout: LayoutPart = LayoutPart()
    step_times: StepPart | None = None
    max_step_tokens: Annotated[int, Field(ge=1, le=4_000_000)] | None = None  # None: 8192 a data-parallel rank
    replicas: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    cloud: str = ""
    region: str = ""
    vendor: str = ""
    role: str = "both"
    decode_pool: str = ""
    link: str = ""  # of `links`: the wire a prefill pool's KV crosses; without, the chip's own scale-out link
    chips_per_replica: Annotated[int, Field(ge=1)] | None = None
    max_batch: int = 256
    block_tokens: int = 16
    watermark_frac: float = 0.01
    context_tokens: Count = 0
    queue_requests: Count | None = None
    routing: str = "least-loaded"
    prefix_gain_requests: NonNegative = 8.0
    draft_tokens: Count = 0
    accepted_tokens: float = 1.0
    acceptance: Literal["sampled", "mean"] = "sampled"
    draft_s: NonNegative = 0.0
    deferred_batch: Count | None = None
    startup_s: NonNegative = 0.0
    replicas_per_node: Annotated[int, Field(ge=1)] = 1
    kind: str = "on_demand"
    usd_per_chip_hour: NonNegative = 0.0
    busy_w_per_chip: NonNegative | None = None
    idle_w_per_chip: NonNegative | None = None
    pue: Annotated[FiniteFloat, Field(ge=1)] = 1.0
    usd_per_kwh: NonNegative = 0.0
    g_co2_per_kwh: NonNegative = 0.0


class LinkPart(Part):
    """A wire between two pools: what one chip sends over it, and how long the first byte takes."""

    gb_per_s: Positive
    latency_s: NonNegative = 0.0


class SloPart(Part):
    """Promises of a workload."""

    ttft_s: Positive | None = None
    tpot_s: Positive | None = None
    e2e_s: Positive | None = None
    quantile: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.95
    deadline_s: Positive | None = None


class OutagePart(Part):
    """Something is lost from a moment on."""

    at_s: NonNegative
    scope: Literal["replica", "node", "pool", "region", "cloud", "vendor", "chip"]
    name: str
    duration_s: Positive | None = None
    why: str = "outage"


class PricePart(Part):
    """A price from a moment on."""

    at_s: NonNegative
    pool: str
    usd_per_chip_hour: NonNegative


class WeightPart(Part):
    """Shares of a workload's requests from a moment on, by pool; a pool that is not named gets none."""

    at_s: NonNegative
    workload: str
    shares: dict[str, NonNegative]


class SupplyPart(Part):
    """So many replicas to be had from a moment on."""

    at_s: NonNegative
    pool: str
    replicas: Count


class ScalingPart(Part):
    """Scaling of one pool."""

    pool: str
    policy: Literal["utilisation", "queue", "slo"] = "utilisation"
    target_ratio: Positive = 0.7
    least: Count = 1
    interval_s: Positive = 15.0
    down_after_s: NonNegative = 300.0


class FleetFile(Part):
    """The whole file."""

    polysilicon_fleet: Literal[1]
    routing: str = "weighted"
    prefix_memory_s: Positive | None = None  # None: the prefix router forgets nothing
    pools: Annotated[tuple[PoolPart, ...], Field(min_length=1)]
    links: dict[str, LinkPart] = {}
    routes: dict[str, dict[str, NonNegative]] = {}
    slos: dict[str, SloPart] = {}
    outages: tuple[OutagePart, ...] = ()
    prices: tuple[PricePart, ...] = ()
    weights: tuple[WeightPart, ...] = ()
    availability: tuple[SupplyPart, ...] = ()
    autoscaling: tuple[ScalingPart, ...] = ()
    sample_s: NonNegative = 0.0


def read_fleet(path: Path, catalogue: Catalogue | None = None) -> tuple[Fleet, Happenings]:
    """Read a fleet file.

    Raises: InputError for a file that cannot be read at all, InputErrors with every problem of one that can.
    """
    document = read_document(path)
    problems = list(document.problems)
    try:
        content = FleetFile.model_validate(document.value)
    except ValidationError as error:
        problems += [_problem(document, detail) for detail in error.errors(include_url=False)]
    if problems:
        raise InputErrors(problems)
    needs_catalogue = any(part.step_times is None for part in content.pools)
    known = catalogue or (load_catalogue() if needs_catalogue else None)
    pools = []
    for i, part in enumerate(content.pools):
        try:
            pools.append(_pool(part, known, content.links))
        except PolysiliconError as error:
            problems.append(InputError(error.message, where=document.where(("pools", i, "name")), hint=error.hint))
    if problems:
        raise InputErrors(problems)
    slos = {name: Slo(**part.model_dump()) for name, part in content.slos.items()}
    memory_s = math.inf if content.prefix_memory_s is None else content.prefix_memory_s
    fleet = Fleet(tuple(pools), content.routes, routing=content.routing, prefix_memory_s=memory_s, slos=slos)
    happenings = Happenings(
        outages=[Outage(o.at_s, o.scope, o.name, o.duration_s or math.inf, o.why) for o in content.outages],
        prices=[PriceChange(**p.model_dump()) for p in content.prices],
        weights=[_weights(part, fleet) for part in content.weights],
        availability=[Availability(**a.model_dump()) for a in content.availability],
        autoscaling=[Autoscaling(**a.model_dump()) for a in content.autoscaling],
        sample_s=content.sample_s,
    )
    fleets.check(fleet, where=str(path))
    check_happenings(happenings, fleet)
    return fleet, happenings


def _weights(part: WeightPart, fleet: Fleet) -> WeightChange:
    names = [pool.name for pool in fleet.pools]
    for name in part.shares:
        if name not in names:
            raise InputError(f'pool "{name}" is not in the fleet', where=f"weights at {part.at_s:g} s", hint=did_you_mean(name, names))
    return WeightChange(part.at_s, part.workload, tuple(part.shares.get(name, 0.0) for name in names))


def _problem(document: Document, detail: Mapping[str, Any]) -> InputError:
    loc = tuple(detail["loc"])
    hint = ""
    message = str(detail["msg"])
    if detail["type"] == "extra_forbidden":
        part: type[Part] = PoolPart if loc[:1] == ("pools",) else FleetFile
        message, hint = "is not a key of this section", did_you_mean(str(loc[-1]), part.model_fields)
    path = "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in loc).lstrip(".")
    return InputError(f"{path}: {message[:1].lower()}{message[1:]}", where=document.where(loc), hint=hint)


def _pool(part: PoolPart, catalogue: Catalogue | None, links: Mapping[str, LinkPart]) -> Pool:
    values = part.model_dump(exclude={"step_times", "layout", "link", "max_step_tokens", "chips_per_replica", "busy_w_per_chip", "idle_w_per_chip"})
    layout = Layout(**part.layout.model_dump())
    busy_w, vendor = part.busy_w_per_chip, part.vendor
    link = links.get(part.link)
    if part.link and link is None:
        raise unknown_name(part.link, list(links), where=part.name, what="link", plural="links")
    if link is not None and (part.role != "prefill" or part.step_times is not None):
        raise InputError("a link is for a prefill pool of a model on a chip; step_times state transfer_s_per_token", where=part.name)
    if part.step_times is not None:
        times = part.step_times.build(part.max_step_tokens or step_budget_tokens(layout))
    else:
        assert catalogue is not None
        if not part.model or not part.chip:
            raise InputError("needs a model and a chip, or step_times", where=part.name)
        chip = catalogue.chip(part.chip)
        wire = None if link is None else link.gb_per_s
        times = step_times(catalogue.model(part.model), chip, layout, max_step_tokens=part.max_step_tokens, link_gb_per_s=wire)
        if link is not None:
            times = replace(times, transfer_latency_s=link.latency_s)
        vendor = vendor or chip.vendor
        busy_w = busy_w if busy_w is not None else chip.all_in_w or chip.tdp_w
    busy_w = busy_w or 0.0
    idle_w = fleets.IDLE_POWER_FRAC * busy_w if part.idle_w_per_chip is None else part.idle_w_per_chip
    chips = part.chips_per_replica or layout.chips
    values["vendor"] = vendor
    return Pool(step_times=times, chips_per_replica=chips, busy_w_per_chip=busy_w, idle_w_per_chip=idle_w, **values)


def read_price_tape(path: Path) -> list[PriceChange]:
    """Read a price tape: CSV with the columns at_s, pool, usd_per_chip_hour. Raises: InputErrors."""
    problems: list[InputError] = []
    changes: list[PriceChange] = []
    for where, row in _rows(path, ("at_s", "pool", "usd_per_chip_hour")):
        try:
            at_s, usd = float(row["at_s"]), float(row["usd_per_chip_hour"])
        except (TypeError, ValueError):
            problems.append(InputError(f"at_s {row['at_s']!r} and usd_per_chip_hour {row['usd_per_chip_hour']!r} must be numbers", where=where))
            continue
        if not (math.isfinite(at_s) and math.isfinite(usd) and at_s >= 0 and usd >= 0):
            problems.append(InputError(f"at_s {at_s} and usd_per_chip_hour {usd} must be finite and not negative", where=where))
        changes.append(PriceChange(at_s, str(row["pool"]), usd))
    if problems:
        raise InputErrors(problems)
    return changes


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"has no column {', '.join(missing)}; it needs {', '.join(columns)}", where=f"{path}:1:1")
            for row in reader:
                yield f"{path}:{reader.line_num}:1", row
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is not a CSV file of text: {error}", where=str(path)) from error


def parse_outage(words: str) -> Outage:
    """Read an outage as the command line gives it: SCOPE:NAME@START[+DURATION], times in seconds.

    >>> parse_outage("cloud:azure@3600+1800")
    Outage(at_s=3600.0, scope='cloud', name='azure', duration_s=1800.0, why='outage')

    Raises: UsageError.
    """
    what, _, when = words.rpartition("@")
    scope, _, name = what.partition(":")
    start, _, length = when.partition("+")
    try:
        at_s, duration_s = float(start), float(length) if length else math.inf
    except ValueError:
        at_s = duration_s = math.nan
    if scope not in SCOPES or not name or not at_s >= 0 or not duration_s > 0:
        raise UsageError(
            f'"{words}" is not SCOPE:NAME@START[+DURATION]',
            where="--fail",
            hint=f"scopes: {', '.join(SCOPES)}; times in seconds, as in pool:east@60+30",
        )
    return Outage(at_s, scope, name, duration_s)


def parse_watch(words: str) -> tuple[str, tuple[float, float] | None]:
    """Read what to look at closely: a replica, seconds from START on, or both: POOL#3, @START+DURATION, POOL#3@START+DURATION.

    >>> parse_watch("east#3@3600+60"), parse_watch("@0+30"), parse_watch("east#3")
    (('east#3', (3600.0, 3660.0)), ('', (0.0, 30.0)), ('east#3', None))

    Raises: UsageError.
    """
    replica, at, when = words.partition("@")
    if not at:
        return replica, None
    start, _, length = when.partition("+")
    try:
        start_s, duration_s = float(start), float(length)
    except ValueError:
        start_s = duration_s = math.nan
    if not (0 <= start_s < math.inf and 0 < duration_s < math.inf):
        raise UsageError(f'"{words}" is not POOL#3@START+DURATION', where="--watch", hint="times in seconds, as in east#3@3600+60 or @3600+60")
    return replica, (start_s, start_s + duration_s)
