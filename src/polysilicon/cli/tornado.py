"""`polysilicon tornado`: what each field of a chip is worth to a workload, widest swing of the cost per token first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polysilicon.cli.performance import check_promise, shape


def tornado(
    model: Annotated[str, typer.Argument(help="A model of the catalogue, or the path of a config.json.")],
    chip: Annotated[str, typer.Argument(help="A chip of the catalogue, or a hypothetical one of your overlay.")],
    isl: Annotated[float, typer.Option(help="Mean prompt tokens.")] = 1024,
    osl: Annotated[float, typer.Option(help="Mean output tokens.")] = 512,
    cached: Annotated[float, typer.Option(help="Share of prompt tokens found in the prefix cache, 0..1.")] = 0.0,
    ttft: Annotated[float, typer.Option(help="Promised time to first token, seconds.")] = 2.0,
    tpot: Annotated[float, typer.Option(help="Promised time per output token, seconds.")] = 0.05,
    change: Annotated[float, typer.Option(help="How far each field is moved, down and up, as a share.")] = 0.3,
    overlay: Annotated[Path | None, typer.Option(help="Your own facts, over the catalogue's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which field of a chip moves the cost per output token most, its price held: what to ask of the next chip.

    Each field falls and rises alone; the best layout and batch that keep the promise are searched anew each time.
    """
    from polysilicon import catalogue, performance
    from polysilicon.application.workload import Slo
    from polysilicon.cli.output import print_json, print_table
    from polysilicon.errors import InputError

    lengths, slo = shape(isl, osl, cached), Slo(ttft, tpot)
    check_promise(ttft=ttft, tpot=tpot, quantile=slo.quantile)
    if not 0 < change < 1:
        raise InputError(f"--change is {change:g}; a share between 0 and 1 is expected")
    known = catalogue.load(overlay)
    subject, silicon = known.model(model), known.chip(chip)
    swings = performance.tornado(subject, silicon, lengths, slo, change_frac=change)
    if json:
        rows = [{"field": s.field, "low_cost_ratio": s.low_cost_ratio, "high_cost_ratio": s.high_cost_ratio} for s in swings]
        print_json({"model": subject.id, "chip": silicon.id, "change_frac": change, "fields": rows})
        return
    cells = [[s.field, _moved(s.low_cost_ratio), _moved(s.high_cost_ratio), _bar(s.low_cost_ratio, s.high_cost_ratio)] for s in swings]
    title = f"{subject.name} on {silicon.name}: cost per output token when a field moves by {change:.0%}"
    print_table(("field", f"{change:.0%} less", f"{change:.0%} more", "swing"), cells, title=title)


def _moved(ratio: float) -> str:
    return "fits no more" if ratio == float("inf") else f"{ratio - 1:+.1%}"


def _bar(low: float, high: float) -> str:
    """Return a swing as a bar, a mark for every two percent, forty at most."""
    return "#" * int(min(40.0, round(50.0 * abs(min(low, 10.0) - high))))
