"""`polysilicon perf`: what a model delivers on a chip, at what price, and how sure we are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from polysilicon.application.workload import Lengths, Slo
    from polysilicon.catalogue import Catalogue
    from polysilicon.model.architecture import Model
    from polysilicon.performance import Observation, Own, ServingPoint
    from polysilicon.silicon.chip import Chip

COLUMNS = (
    "chip", "chips", "layout", "batch", "TTFT ms", "TPOT ms", "tok/s/chip", "$/Mtok in", "$/Mtok out", "blended",
    "J/token", "users/rack", "basis", "80 % band", "cheapest offer",
)  # fmt: skip


def perf(
    model: Annotated[str, typer.Argument(help="A model of the catalogue, or the path of a config.json.")],
    chip: Annotated[str, typer.Option(help="Chips, separated by commas; all by default. H100:fp8 fixes the weights' precision.")] = "",
    isl: Annotated[float, typer.Option(help="Mean prompt tokens.")] = 1024,
    osl: Annotated[float, typer.Option(help="Mean output tokens.")] = 512,
    cached: Annotated[float, typer.Option(help="Share of prompt tokens found in the prefix cache, 0..1.")] = 0.0,
    ttft: Annotated[float, typer.Option(help="Promised time to first token, seconds.")] = 2.0,
    tpot: Annotated[float, typer.Option(help="Promised time per output token, seconds.")] = 0.05,
    quantile: Annotated[float, typer.Option(help="Share of requests that must keep the promises.")] = 0.95,
    efficiency: Annotated[Path | None, typer.Option(help="Your own efficiency table, as `calibrate` writes it.")] = None,
    measured: Annotated[Path | None, typer.Option(help="Your own points (CSV or a benchmark's results): they override and correct.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Your own facts, over the catalogue's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a model on a chip delivers: latency, speed, $/Mtok, J/token, with basis and error band.

    Each line is the operating point with most tokens per second per chip that keeps the promises, over every layout and
    batch. Prompt and output tokens are priced apart, by the time each takes, at the cheapest offer of the catalogue.
    Lines that your own points match within 5 % take what you measured (basis `measured`); near ones are corrected.
    """
    from polysilicon import catalogue
    from polysilicon.application.workload import Slo
    from polysilicon.cli.output import print_json
    from polysilicon.performance import Own

    lengths, slo = shape(isl, osl, cached), Slo(ttft, tpot, quantile=quantile)
    check_promise(ttft=ttft, tpot=tpot, quantile=quantile)
    known = catalogue.load(overlay)
    subject = known.model(model)
    own = Own(str(efficiency or ""), tuple(_seen(measured, known, subject) if measured else ()))
    rows = [_row(subject, c, lengths, slo, precision, known, own) for c, precision in _chips(chip, known)]
    rows.sort(key=_rank)
    warn_of_age(known, priced=any(r.get("offer") for r in rows))
    if json:
        print_json({"model": subject.id, "isl_tokens": isl, "osl_tokens": osl, "cached_frac": cached,
                    "slo": {"ttft_s": ttft, "tpot_s": tpot, "quantile": quantile}, "rows": rows})  # fmt: skip
        return
    _print(subject, rows, lengths, slo)


def warn_of_age(known: Catalogue, *, priced: bool) -> None:
    """Say on stderr what is old of the prices and benchmarks that an answer rests on."""
    from polysilicon.catalogue.freshness import benchmark_warning, warning
    from polysilicon.cli.output import say

    for words in (warning(known) if priced else "", benchmark_warning(known)):
        if words:
            say(words)


def _rank(row: dict[str, Any]) -> tuple[bool, float, float]:
    """Cheapest first; without a price by speed; misses last."""
    price = row.get("usd_per_mtok_blended") or float("inf")
    return row["status"] != "ok", price, -(row.get("tok_per_s_per_chip") or 0.0)


def shape(isl: float, osl: float, cached: float) -> Lengths:
    """Return the lengths a command was given, or say which cannot be."""
    from polysilicon.application.workload import Lengths
    from polysilicon.errors import InputError

    for name, value in (("--isl", isl), ("--osl", osl)):
        if not 1 <= value <= 1e8:
            raise InputError(f"{name} is {value:g} tokens; 1 to 100,000,000 is allowed")
    if not 0 <= cached < 1:
        raise InputError(f"--cached is {cached:g}; a share from 0 up to, not including, 1 is allowed")
    return Lengths(isl, osl, cached)


def _chips(words: str, known: Catalogue) -> list[tuple[Chip, str]]:
    """Return chips and the precision asked of each, empty for the best: "H100:fp8,GB200"; ":fp8" is every chip."""
    from polysilicon.errors import InputError, did_you_mean
    from polysilicon.silicon.chip import PRECISIONS

    found: list[tuple[Chip, str]] = []
    for word in [w.strip() for w in words.split(",") if w.strip()] or [""]:
        name, colon, precision = word.partition(":")
        if colon and precision not in PRECISIONS:
            allowed = ", ".join(PRECISIONS)
            raise InputError(f'--chip {word}: precision "{precision}" is not one of {allowed}', hint=did_you_mean(precision, PRECISIONS))
        found += [(c, precision) for c in ([known.chip(name)] if name else known.chips.values())]
    return found


def _seen(path: Path, known: Catalogue, model: Model) -> list[Observation]:
    """Return the user's observations of a model, and say how many points are none."""
    from polysilicon.cli.output import say
    from polysilicon.errors import InputError
    from polysilicon.exchange import cases, results

    points = results.read(path)
    seen, refused = cases.observations(points, known)
    mine = [o for o in seen if o.model == model.id]
    say(f"{path}: {len(mine)} of {len(seen)} measured configurations are of {model.name}")
    for reason, count in refused.items():
        say(f"{path}: {count} points not used: {reason}")
    if not seen:
        raise InputError(
            f"none of its {len(points)} points can stand for a measurement", where=str(path),
            hint="a TPOT (and TTFT) at a number of concurrent requests is needed, with model, chip, chips, ISL and OSL",
        )  # fmt: skip
    return mine


def check_promise(*, ttft: float, tpot: float, quantile: float) -> None:
    """Raise InputError for promises that cannot be."""
    from polysilicon.errors import InputError

    for name, value in (("--ttft", ttft), ("--tpot", tpot)):
        if not 0 < value < 1e6:
            raise InputError(f"{name} is {value:g} s; a positive number of seconds is expected")
    if not 0 < quantile < 1:
        raise InputError(f"--quantile is {quantile:g}; a share between 0 and 1 is expected", hint="0.95 for P95")


def _row(
    model: Model, chip: Chip, lengths: Lengths, slo: Slo, precision: str, known: Catalogue, own: Own,
) -> dict[str, Any]:  # fmt: skip
    """Return one chip's best point as plain values, or why there is none."""
    from polysilicon.errors import DoesNotFit, MissingFact
    from polysilicon.performance import choose, layouts, table

    empty: dict[str, Any] = {"chip": chip.id}
    try:
        choices = layouts(model, chip, precisions=(precision,) if precision else ())
        points = table(model, chip, lengths, slo, layouts=choices, own=own)
        point = choose(points, slo)
        if point is None:
            fast = min(points, key=lambda p: max(p.ttft_s / (slo.ttft_s or 1), p.tpot_s / (slo.tpot_s or 1)))
            nearest = f"TTFT {fast.ttft_s * 1e3:,.0f} ms, TPOT {fast.tpot_s * 1e3:.1f} ms on {fast.layout.name}"
            words = f"the promise is kept nowhere; nearest: {nearest}"
            return {**empty, "status": "slo_missed", "reason": words}
    except DoesNotFit as error:
        return {**empty, "status": "does_not_fit", "reason": error.message}
    except MissingFact as error:
        return {**empty, "status": "missing_fact", "reason": error.message}
    return _priced(point, chip, lengths, known)


def _priced(point: ServingPoint, chip: Chip, lengths: Lengths, known: Catalogue) -> dict[str, Any]:
    from polysilicon.performance import token_cost, users_per_rack

    kinds = ("on_demand", "reserved")
    offers = [o for o in known.offers.values() if o.chip == chip.id and o.usd_per_chip_hour and o.kind in kinds]
    offer = min(offers, key=lambda o: o.usd_per_chip_hour or 0.0, default=None)
    racks = [s for s in known.systems.values() if s.chip == chip.id and s.chips >= point.chips]
    rack = max(racks, key=lambda s: s.chips / (s.racks or 1.0), default=None)
    row: dict[str, Any] = {
        "chip": chip.id, "status": "ok", "chips": point.chips, "layout": point.layout.name, "batch": point.batch,
        "ttft_s": point.ttft_s, "tpot_s": point.tpot_s, "tok_per_s_per_chip": point.tok_per_s_per_chip,
        "requests_per_s": point.requests_per_s, "w_per_chip": point.w_per_chip, "j_per_token": point.j_per_token,
        "tok_per_s_per_w": point.tok_per_s_per_chip / point.w_per_chip, "mfu_frac": point.mfu_frac, "mbu_frac": point.mbu_frac,
        "kv_tokens": point.kv_tokens, "basis": point.basis, "error_frac": point.error_frac, "source": point.source,
        "as_of": point.as_of, "note": point.note,
        "rack": rack.id if rack else None, "users_per_rack": users_per_rack(point, rack.chips) if rack else None,
        "offer": None, "usd_per_chip_hour": None,
    }  # fmt: skip
    if offer and offer.usd_per_chip_hour:
        cost = token_cost(point, lengths, offer.usd_per_chip_hour)
        row.update(
            offer=offer.id, usd_per_chip_hour=offer.usd_per_chip_hour, quoted_on=offer.quoted_on,
            usd_per_mtok_in=cost.usd_per_mtok_in, usd_per_mtok_out=cost.usd_per_mtok_out,
            usd_per_mtok_blended=cost.usd_per_mtok_blended, tok_per_usd=cost.tokens_per_usd,
        )  # fmt: skip
    return row


def _print(model: Model, rows: list[dict[str, Any]], lengths: Lengths, slo: Slo) -> None:
    from polysilicon.cli.output import print_table, say

    good = [r for r in rows if r["status"] == "ok"]
    title = (
        f"{model.name}: {lengths.isl_tokens:,.0f} in / {lengths.osl_tokens:,.0f} out"
        f", P{100 * slo.quantile:g} TTFT <= {(slo.ttft_s or 0) * 1e3:,.0f} ms, TPOT <= {(slo.tpot_s or 0) * 1e3:g} ms"
    )
    cells = [
        [r["chip"], r["chips"], r["layout"], r["batch"], r["ttft_s"] * 1e3, r["tpot_s"] * 1e3, r["tok_per_s_per_chip"],
         r.get("usd_per_mtok_in"), r.get("usd_per_mtok_out"), r.get("usd_per_mtok_blended"), _known(r["j_per_token"]),
         r["users_per_rack"], r["basis"], _band(r), r["offer"] or "no price"]
        for r in good
    ]  # fmt: skip
    if cells:
        print_table(COLUMNS, cells, title=title)
    missed = [r for r in rows if r["status"] != "ok"]
    if missed:
        print_table(("chip", "why not"), [[r["chip"], r["reason"]] for r in missed])
    notes = dict.fromkeys(r["note"] for r in good if r["note"])
    for note in notes:
        say(f"note: {note}")


def _band(row: dict[str, Any]) -> str:
    rate, wide = row["tok_per_s_per_chip"], 1.0 + row["error_frac"]
    return f"{rate / wide:,.0f} to {rate * wide:,.0f}"


def _known(value: float) -> float | None:
    return value if value == value else None
