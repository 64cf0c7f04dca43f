"""`polysilicon feasible`: whether a model keeps a promise, and on which chip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polysilicon.cli.output import print_json, print_table, say
from polysilicon.cli.performance import warn_of_age

if TYPE_CHECKING:
    from polysilicon.application.workload import Lengths, Slo
    from polysilicon.catalogue import Catalogue
    from polysilicon.model.architecture import Model
    from polysilicon.silicon.chip import Chip


def feasible(
    model: Annotated[str, typer.Argument(help="A model of the catalogue, or the path of a config.json.")],
    preset: Annotated[str, typer.Option(help="multi-document, assistant, coding-agent, productivity or overnight.")] = "multi-document",
    cold: Annotated[bool, typer.Option("--cold", help="Nothing of a prompt is in the prefix cache.")] = False,
    ttft: Annotated[float | None, typer.Option(help="Another time to first token, seconds.")] = None,
    chip: Annotated[str, typer.Option(help="Chips, separated by commas; all by default.")] = "",
    overlay: Annotated[Path | None, typer.Option(help="Your own facts, over the catalogue's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say yes or no: which chips keep a product's promise with this model, the best of them, and why the others do not.

    Best is the cheapest per million output tokens at list price; without a price, the most tokens per second per chip.
    """
    from polysilicon import catalogue
    from polysilicon.application.generate import lengths as shape
    from polysilicon.application.presets import preset as known_preset

    asked = known_preset(preset)
    slo = asked.slo if ttft is None else replace(asked.slo, ttft_s=ttft)
    lengths = shape(asked.profile)
    lengths = replace(lengths, cached_frac=0.0) if cold else lengths
    known = catalogue.load(overlay)
    subject = known.model(model)
    names = [n.strip() for n in chip.split(",") if n.strip()]
    rows = [_verdict(subject, c, lengths, slo, known) for c in ([known.chip(n) for n in names] if names else known.chips.values())]
    rows.sort(
        key=lambda r: (
            not r["keeps"],
            r["usd_per_mtok_out"] is None,
            r["usd_per_mtok_out"] or 0.0,
            -(r["tok_per_s_per_chip"] or 0.0),
        )
    )
    answer = _answer(subject.id, asked.words, rows)
    warn_of_age(known, priced=any(r["usd_per_mtok_out"] for r in rows))
    if json:
        print_json(
            {
                "answer": answer,
                "yes": bool(rows and rows[0]["keeps"]),
                "preset": asked,
                "slo": slo,
                "lengths": lengths,
                "rows": rows,
            }
        )
        return
    print(answer)
    columns = ("chip", "keeps it", "chips", "TTFT s", "TPOT s", "tok/s/chip", "$/Mtok out", "why")
    print_table(
        columns,
        [
            (
                r["chip"],
                r["keeps"],
                r["chips"],
                r["ttft_s"],
                r["tpot_s"],
                r["tok_per_s_per_chip"],
                r["usd_per_mtok_out"],
                r["reason"],
            )
            for r in rows
        ],
    )
    say(
        f"{lengths.isl_tokens:,.0f} tokens in ({lengths.cached_frac:.0%} cached), {lengths.osl_tokens:,.0f} out; means of the {asked.profile} profile"
    )


def _verdict(model: Model, chip: Chip, lengths: Lengths, slo: Slo, known: Catalogue) -> dict[str, Any]:
    """Return whether a chip keeps the promise with its best layout, at which price, or what stands in the way."""
    from polysilicon.errors import PolysiliconError
    from polysilicon.performance import best, table

    row: dict[str, Any] = dict.fromkeys(("chips", "ttft_s", "tpot_s", "tok_per_s_per_chip", "usd_per_mtok_out"))
    row |= {"chip": chip.id, "keeps": False, "reason": ""}
    try:
        point = best(model, chip, lengths, slo)
        points = [point] if point else table(model, chip, lengths, slo)
    except PolysiliconError as error:
        return row | {"reason": error.message.splitlines()[0]}
    if not points:
        return row | {"reason": "no layout fits its memory"}
    near = point or min(points, key=lambda p: max(p.ttft_s / (slo.ttft_s or 1e9), p.tpot_s / (slo.tpot_s or 1e9)))
    prices = [o.usd_per_chip_hour for o in known.offers.values() if o.chip == chip.id and o.usd_per_chip_hour]
    usd = min(prices) / (near.tok_per_s_per_chip * 3600) * 1e6 if prices and near.tok_per_s_per_chip > 0 else None
    row |= {"chips": near.chips, "ttft_s": near.ttft_s, "tpot_s": near.tpot_s, "tok_per_s_per_chip": near.tok_per_s_per_chip}
    if point is None:
        return row | {"reason": _miss(near.ttft_s, near.tpot_s, slo)}
    return row | {"keeps": True, "usd_per_mtok_out": usd}


def _miss(ttft_s: float, tpot_s: float, slo: Slo) -> str:
    misses = [
        f"{name} {got:.3g} s where {limit:.3g} s is promised"
        for name, got, limit in (("TTFT", ttft_s, slo.ttft_s), ("TPOT", tpot_s, slo.tpot_s))
        if limit is not None and got > limit
    ]
    return "at its fastest, " + " and ".join(misses) if misses else "no batch keeps both promises"


def _answer(model: str, words: str, rows: list[dict[str, Any]]) -> str:
    keeping = [r for r in rows if r["keeps"]]
    if not keeping:
        near = min((r for r in rows if r["ttft_s"] is not None), key=lambda r: r["ttft_s"], default=None)
        told = f"; nearest is {near['chip']}: {near['reason']}" if near else ""
        return f"no: {model} keeps this promise on none of {len(rows)} chips ({words}){told}"
    top = keeping[0]
    price = f", ${top['usd_per_mtok_out']:.3g} per million output tokens at the lowest price known" if top["usd_per_mtok_out"] else ""
    return (
        f"yes: {model} keeps this promise on {len(keeping)} of {len(rows)} chips ({words}); best is {top['chip']}, "
        f"{top['chips']} chip{'s' if top['chips'] > 1 else ''} a replica: TTFT {top['ttft_s']:.3g} s, "
        f"{top['tok_per_s_per_chip']:,.0f} tokens/s a chip{price}"
    )
