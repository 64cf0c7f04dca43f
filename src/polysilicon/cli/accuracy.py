"""`polysilicon validate` and `polysilicon calibrate`: how wrong predictions are, and how to make them less wrong."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polysilicon.exchange.fitting import Calibration
    from polysilicon.exchange.live import Live, Step
    from polysilicon.exchange.validate import Group, Refused

ERROR_COLUMNS = ("rows", "predicted", "median", "mean", "p90", "bias", "within 20 %", "in 80 % band")


def validate(
    points: Annotated[Path, typer.Argument(help="Measured points: our CSV, or results of a benchmark tool.")],
    by: Annotated[str, typer.Option(help="Group by metric, chip, model, source or engine.")] = "metric",
    efficiency: Annotated[Path | None, typer.Option(help="Your own efficiency table, as `calibrate` writes it.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Your own facts, over the catalogue's.")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Also list every point with its prediction.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict every measured point under the protocol it was measured with, and print the errors.

    TTFT and TPOT of closed loops are played step by step, bursts included; offline rows take the fastest batch that fits.
    """
    from polysilicon import catalogue
    from polysilicon.cli.output import print_json, progress
    from polysilicon.errors import UsageError
    from polysilicon.exchange import results
    from polysilicon.exchange import validate as validation

    if by not in validation.GROUPINGS:
        raise UsageError(f'--by "{by}" is not one of {", ".join(validation.GROUPINGS)}')
    known = catalogue.load(overlay)
    measured = results.read(points)
    with progress("validate", quiet=json) as tell:
        checked, refused = validation.check(measured, known, path=str(efficiency or ""), each=tell)
    found = validation.groups(checked, refused, by)
    if json:
        document = validation.as_json(found, refused)
        if rows:
            document["points"] = [
                {
                    "row": c.point.row,
                    "metric": c.point.metric,
                    "measured": c.point.value,
                    "predicted": c.predicted,
                    "error_frac": c.error_frac,
                    "band_frac": c.band_frac,
                    "unit": c.point.unit,
                }
                for c in checked
            ]
        print_json(document)
        return
    _print_groups(by, found, refused)
    if rows:
        from polysilicon.cli.output import print_table

        print_table(
            ("row", "model", "chip", "metric", "measured", "predicted", "error"),
            [[c.point.row, c.model, c.chip, c.point.metric, c.point.value, c.predicted, f"{c.error_frac:+.0%}"] for c in checked],
        )


def _print_groups(by: str, found: list[Group], refused: list[Refused]) -> None:
    from polysilicon.cli.output import print_table

    print_table(
        (by, *ERROR_COLUMNS),
        [
            [
                g.key,
                g.rows,
                g.predicted,
                *(f"{x:.1%}" for x in (g.median_abs_error_frac, g.mean_abs_error_frac, g.p90_abs_error_frac)),
                f"{g.bias_frac:+.1%}",
                f"{g.within_20_frac:.0%}",
                f"{g.band_80_coverage_frac:.0%}",
            ]
            if g.predicted
            else [g.key, g.rows, 0, *["-"] * 6]
            for g in found
        ],
        title="absolute error of predictions, by " + by,
    )
    reasons: dict[str, int] = {}
    for r in refused:
        reasons[r.reason] = reasons.get(r.reason, 0) + 1
    if reasons:
        print_table(("refused", "why"), [[n, why] for why, n in reasons.items()])


def calibrate(
    points: Annotated[str, typer.Argument(help="Measured points, results of a benchmark tool, or the URL of a live endpoint.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the efficiency table.")] = Path("efficiency.csv"),
    model: Annotated[str, typer.Option(help="For a live endpoint: the model it serves, as the catalogue knows it.")] = "",
    chip: Annotated[str, typer.Option(help="For a live endpoint: the chip it runs on; H100:fp8 says the weights' precision.")] = "",
    layout: Annotated[str, typer.Option(help="For a live endpoint: chips of a replica, TP8 or TP1 attnDP8 EP8.")] = "TP1",
    slots: Annotated[int, typer.Option(help="For a live endpoint: most requests at once.")] = 4,
    minutes: Annotated[float, typer.Option(help="For a live endpoint: how long it may take.")] = 3.0,
    key_env: Annotated[str, typer.Option(help="For a live endpoint: the environment variable that holds its key.")] = "",
    overlay: Annotated[Path | None, typer.Option(help="Your own facts, over the catalogue's.")] = None,
    judge: Annotated[bool, typer.Option(help="Also leave out models, chips and sources in turn.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit a small number of physical efficiencies to measured points, and say how well they predict what they did not see.

    The table it writes can be given to `perf` and `validate` as `--efficiency`, and to a scenario as `efficiency`. A live
    endpoint is measured with a short, stated schedule: 12 closed loops of 3 requests a slot, every third held back from the
    fit and then predicted. Its points are written beside the table, as `NAME-points.csv`, for `--measured`.
    """
    from polysilicon import catalogue
    from polysilicon.cli.output import print_json, progress, write_atomically

    known = catalogue.load(overlay)
    if points.startswith(("http://", "https://")):
        from polysilicon.exchange import live

        name, _, precision = chip.partition(":")
        subject = live.Subject(model, name, precision, layout)
        _print_schedule(live.schedule(min(max(slots, 1), 1024)), minutes)
        with progress("measure", quiet=json) as tell:
            report = live.calibrate(points, known, subject, minutes=minutes, most_slots=slots, key=_key(key_env), each=tell)
        write_atomically(out, live.as_csv(report))
        beside = out.with_name(f"{out.stem}-points.csv")
        write_atomically(beside, live.points_csv(report))
        _print_live(report, out, beside, json=json)
        return
    from polysilicon.exchange import bands, fitting, results

    measured = results.read(Path(points))
    with progress("calibrate", quiet=json) as tell:
        done = fitting.calibrate(measured, known, judge=judge, each=lambda x: tell(0.9 * x))
        table = bands.extend(done, measured, known, each=lambda x: tell(0.9 + 0.1 * x))
    write_atomically(out, fitting.as_csv(table))
    if json:
        print_json(
            {
                "runs": done.runs,
                "set_aside": done.aside,
                "left_out": [{f: getattr(j, f) for f in j.__slots__} for j in done.judgements],
                "bands": [{f: getattr(c, f) for f in c.__slots__} for c in done.coverage],
                "table": str(out),
            }
        )
        return
    _print_calibration(done, out)


def _key(variable: str) -> str:
    """Return the key an environment variable holds."""
    import os

    from polysilicon.errors import UsageError

    if variable and not os.environ.get(variable):
        raise UsageError(f"--key-env {variable}: the environment holds no such variable, or an empty one")
    return os.environ.get(variable, "") if variable else ""


def _print_schedule(steps: Sequence[Step], minutes: float) -> None:
    """Say on stderr what will be sent, before it is."""
    from polysilicon.cli.output import say

    parts = [f"{s.words}/{s.tokens} x{s.slots}{'*' if s.held_back else ''}" for s in steps]
    say(f"schedule, prompt words/output tokens x requests at once (* held back from the fit): {', '.join(parts)}")
    say(f"{sum(s.requests for s in steps)} requests, at most {minutes:g} minutes")


def _print_live(report: Live, out: Path, beside: Path, *, json: bool) -> None:
    from polysilicon.cli.output import print_json, print_table, say

    held, fitted = report.error_frac(held_back=True), report.error_frac(held_back=False)
    lines = [
        [p.isl_tokens, p.osl_tokens, p.concurrency, p.ttft_s * 1e3, first * 1e3, p.tpot_s * 1e3, each * 1e3, p.held_back]
        for p, first, each in zip(report.points, report.ttft_s, report.tpot_s, strict=True)
    ]
    names = ("ISL", "OSL", "slots", "TTFT ms", "predicted", "TPOT ms", "predicted", "held back")
    if json:
        keys = (
            "isl_tokens",
            "osl_tokens",
            "concurrency",
            "ttft_ms",
            "ttft_predicted_ms",
            "tpot_ms",
            "tpot_predicted_ms",
            "held_back",
        )
        print_json(
            {
                "points": [dict(zip(keys, line, strict=True)) for line in lines],
                "table": str(out),
                "measured": str(beside),
                "took_s": report.took_s,
                "held_back": {"ttft_median_frac": held[0], "tpot_median_frac": held[1]},
                "fitted": {"ttft_median_frac": fitted[0], "tpot_median_frac": fitted[1]},
            }
        )
        return
    print_table(names, lines, title="a live endpoint, measured and predicted")
    worst = [float(abs(e).max()) for e in report.errors(held_back=True)]
    say(f"error on points held back: TTFT {held[0]:.0%} median, {worst[0]:.0%} at worst; TPOT {held[1]:.0%} median, {worst[1]:.0%} at worst")
    say(f"measured in {report.took_s:.0f} s; wrote {out} and {beside}")


def _print_calibration(done: Calibration, out: Path) -> None:
    from polysilicon.cli.output import print_table, say

    print_table(
        ("left out", "runs", "TPOT median", "mean", "p90", "within 20 %", "TTFT median", "within 20 %"),
        [
            [
                j.left_out,
                j.runs,
                f"{j.tpot_median_frac:.1%}",
                f"{j.tpot_mean_frac:.1%}",
                f"{j.tpot_p90_frac:.1%}",
                f"{j.tpot_within_20_frac:.0%}",
                *(("-", "-") if isnan(j.ttft_median_frac) else (f"{j.ttft_median_frac:.1%}", f"{j.ttft_within_20_frac:.0%}")),
            ]
            for j in done.judgements
        ],
        title=f"{done.runs} runs fitted; error on runs left out",
    )
    if done.coverage:
        print_table(
            ("seed", "number", "runs", "in the 80 % band"),
            [[c.seed, c.number, c.runs, f"{c.inside_frac:.0%}"] for c in done.coverage],
            title="bands learnt on one half of the runs, counted on the other",
        )
    for why, n in done.aside.items():
        say(f"set aside: {n} runs: {why}")
    say(f"wrote {out}: {len(done.rows)} rows")
