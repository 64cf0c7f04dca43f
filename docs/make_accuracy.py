"""Write docs/accuracy.md and its drawings from measured points and, where given, a peer's predictions of the same runs.

python docs/make_accuracy.py POINTS.csv --peers PEERS.csv [--fast]
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import accuracy_plots
import numpy as np
import polars as pl

from polysilicon import catalogue
from polysilicon.exchange import fitting, points, validate

HERE = Path(__file__).resolve().parent
HEAD = "| | rows | median | mean | p90 | within 20 % | bias |\n|---|---:|---:|---:|---:|---:|---:|"
PEER = "AIConfigurator 0.12.0"
LEFT_OUT = "## Rows left out of the fit"
KINDS = ("tpot", "ttft", "throughput")
WORST_FRAC, WORST_ROWS = 0.3, 4
Pairs = list[tuple[validate.Checked, float]]  # our prediction, the peer's error on the same row


def line(name: str, errors: Sequence[float]) -> str:
    """Return one row of a table: median, mean, p90, within 20 %, bias."""
    size = np.abs(np.asarray(errors, dtype=float))
    if not len(size):
        return f"| {name} | 0 | | | | | |"
    return (f"| {name} | {len(size)} | {np.median(size):.1%} | {size.mean():.1%} | {np.quantile(size, 0.9):.1%} | {np.mean(size <= 0.2):.0%} | "
            f"{np.median(errors):+.1%} |")  # fmt: skip


def aggregated(c: validate.Checked) -> bool:
    """Return whether a point is a closed loop on one pool of chips."""
    return c.point.source.startswith(("InferenceX", "NVIDIA")) and "disagg" not in c.point.parallelism


def beside(checked: Sequence[validate.Checked], path: Path) -> Pairs:
    """Return the rows that both predict, with the peer's error."""
    theirs = {r["id"]: r for r in csv.DictReader(path.open(encoding="utf-8"))}
    columns = {"tpot": ("aic_tpot_ms", "silicon_tpot_ms"), "ttft": ("aic_ttft_ms", "silicon_ttft_ms")}
    found: Pairs = []
    for c in checked:
        r = theirs.get(c.point.run.split("id=")[-1])
        if c.point.kind in columns and r:
            predicted, measured = (r[x] for x in columns[c.point.kind])
            if predicted and measured:
                found.append((c, float(predicted) / float(measured) - 1))
    return found


def peer_tables(pairs: Pairs, ours: Sequence[validate.Checked]) -> list[str]:
    """Return our error and the peer's on the rows that both predict: all, then chip by chip."""
    rows: list[tuple[str, Callable[[validate.Checked], bool]]] = [
        ("all, one pool", aggregated),
        ("disaggregated", lambda c: "disagg" in c.point.parallelism),
    ]
    rows += [(chip, lambda c, chip=chip: c.chip == chip and aggregated(c)) for chip in sorted({c.chip for c, _ in pairs})]  # type: ignore[misc]
    text = [
        "| | rows | polysilicon: median | mean | p90 | within 20 % | peer: median | mean | p90 | within 20 % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in ("tpot", "ttft"):
        for name, keep in rows:
            both = [(c.error_frac, theirs) for c, theirs in pairs if c.point.kind == kind and keep(c)]
            if both:
                cells = [
                    f"{np.median(e):.1%} | {e.mean():.1%} | {np.quantile(e, 0.9):.1%} | {np.mean(e <= 0.2):.0%}" for e in np.abs(np.array(both)).T
                ]
                text.append(f"| {kind}, {name} | {len(both)} | {cells[0]} | {cells[1]} |")
    every = [c for c in ours if c.point.kind == "tpot" and aggregated(c)]
    common = sum(1 for c, _ in pairs if c.point.kind == "tpot" and aggregated(c))
    return [*text, "", f"Of {len(every)} one-pool rows with a time per output token the peer predicts {common} ({common / max(1, len(every)):.0%})."]


def worst(checked: Sequence[validate.Checked]) -> list[str]:
    """Return the groups (model, chip, engine) whose median error is large: the misses."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for c in checked:
        groups.setdefault((c.point.kind, c.model.rsplit("/", 1)[-1], c.chip, c.point.engine), []).append(c.error_frac)
    bad = {k: v for k, v in groups.items() if len(v) >= WORST_ROWS and np.median(np.abs(v)) > WORST_FRAC}
    return [line(" ".join(k), v) for k, v in sorted(bad.items(), key=lambda kv: -np.median(np.abs(kv[1])))]


def left_out(measured: Sequence[points.Point], known: catalogue.Catalogue, *, fast: bool) -> list[str]:
    """Return the section of errors on rows that a fit did not see; with `fast`, as the page has it."""
    page = HERE / "accuracy.md"
    if fast:
        old = page.read_text(encoding="utf-8") if page.exists() else ""
        return [LEFT_OUT + old.split(LEFT_OUT)[1].split("\n## ")[0].rstrip(), ""] if LEFT_OUT in old else []
    done = fitting.calibrate(measured, known)
    text = [
        LEFT_OUT,
        "",
        "| left out | runs | TPOT median | mean | p90 | within 20 % | TTFT median | within 20 % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    text += [f"| {j.left_out} | {j.runs} | {j.tpot_median_frac:.1%} | {j.tpot_mean_frac:.1%} | {j.tpot_p90_frac:.1%}"
             f" | {j.tpot_within_20_frac:.0%} | {first_tokens(j)} |" for j in done.judgements]  # fmt: skip
    text += ["", "Of one-pool closed loops where nothing else is said; of disaggregated systems the decode pool's TPOT, of requests queued at once",
             "the length of the run. Every run was played anew with the constants of a fit that had not seen its group."]  # fmt: skip
    text += ["", "### Does the band hold on runs that made nothing of it?", "",
             "Runs are split in two at random. One half makes the fit (from the priors) and, its own fifths left out, the bands; the other is",
             "predicted and counted. A band of 80 % should hold four runs of five.", ""]  # fmt: skip
    seeds = sorted({c.seed for c in done.coverage})
    text += ["| number | " + " | ".join(f"seed {s}" for s in seeds) + " | runs |", "|---|" + "---:|" * (1 + len(seeds))]
    for number in KINDS:
        mine = [c for c in done.coverage if c.number == number]
        text += [f"| {number} | " + " | ".join(f"{c.inside_frac:.0%}" for c in mine) + f" | {sum(c.runs for c in mine)} |"] if mine else []
    return [*text, "", "Set aside from the fit, by rule: " + "; ".join(f"{n} runs: {why}" for why, n in done.aside.items()) + ".", ""]


def first_tokens(j: fitting.Judgement) -> str:
    """Return two cells: the error of TTFT where a kind of run has one."""
    return " | " if np.isnan(j.ttft_median_frac) else f"{j.ttft_median_frac:.1%} | {j.ttft_within_20_frac:.0%}"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--out", type=Path, default=HERE, help="the folder of the page")
    parser.add_argument("--fast", action="store_true", help="keep the page's errors on rows left out: no new fits")
    arguments = parser.parse_args()
    known = catalogue.load()
    measured = points.read(arguments.points)
    checked, refused = validate.check(measured, known)
    pairs = beside(checked, arguments.peers) if arguments.peers else []
    part = {kind: [c for c in checked if c.point.kind == kind] for kind in KINDS}
    common = {kind: [(c.error_frac, e) for c, e in pairs if c.point.kind == kind and aggregated(c)] for kind in ("tpot", "ttft")}
    drawn = ({k: [a for a, _ in v] for k, v in common.items()}, {k: [b for _, b in v] for k, v in common.items()})
    reasons = "; ".join(sorted({r.reason for r in refused}))
    text = ["# How accurate are the predictions?", "",
            "Every row of a file of published measurements, predicted under the protocol it was measured with, its error beside a peer's.",
            "Error is |predicted / measured - 1|. The shipped table was fitted on closed loops, decode pools and queued runs; errors on rows a",
            "fit did not see have their own table. Made by `python docs/make_accuracy.py POINTS.csv --peers PEERS.csv` (minutes; `--fast` makes no",
            "new fits). Your own: `polysilicon validate POINTS.csv`.", "",
            *(["![share of rows within an error, beside a peer](accuracy_shares.svg)", ""] if drawn[0]["tpot"] else []),
            "![predicted against measured](accuracy_scatter.svg)", "", "## All rows", "", HEAD,
            *[line(k, [c.error_frac for c in v]) for k, v in part.items()],
            *[line(f"{k}, one pool", [c.error_frac for c in part[k] if aggregated(c)]) for k in ("tpot", "ttft")],
            *[line(f"{k}, disaggregated", [c.error_frac for c in part[k] if "disagg" in c.point.parallelism]) for k in ("tpot", "ttft")],
            "", f"Predicted: {len(checked)} of {len(checked) + len(refused)} rows. Refused: {len(refused)}. {reasons}", "",
            *left_out(measured, known, fast=arguments.fast)]  # fmt: skip
    if pairs:
        text += [f"## Beside {PEER}, on the rows both predict", "",
                 "Ours as shipped: most of these rows were fitted; with fifths of them left out it errs as the table above says.", "",
                 *peer_tables(pairs, checked), ""]  # fmt: skip
    text += ["## By chip", "", "![error by chip](accuracy_by_chip.svg)", "", HEAD]
    for chip in sorted({c.chip for c in checked}):
        text += [line(f"{chip} {k}", [c.error_frac for c in v if c.chip == chip]) for k, v in part.items() if any(c.chip == chip for c in v)]
    inside = {k: float(np.mean([c.covered for c in v])) for k, v in part.items() if v}
    held = ", ".join(f"{k} {x:.0%}" for k, x in inside.items())
    text += ["", "## The stated band", "", f"A band of 80 % should hold four rows of five: {held}.", "",
             "![coverage of the 80 % band](accuracy_band.svg)", "", "## Where it misses", "",
             f"Model, chip and engine with {WORST_ROWS} rows or more and a median error above {WORST_FRAC:.0%}.", "",
             HEAD, *worst(checked), ""]  # fmt: skip
    (arguments.out / "accuracy.md").write_text("\n".join(text), encoding="utf-8")
    peers = pl.DataFrame([{"kind": c.point.kind, "chip": c.chip, "error": abs(e)} for c, e in pairs if aggregated(c)])
    accuracy_plots.save(arguments.out, checked, peers, drawn, PEER)


if __name__ == "__main__":
    main()
