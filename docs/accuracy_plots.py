"""The drawings of the accuracy page: predicted against measured, how many rows lie within which error, error by chip, coverage of the band."""

from collections.abc import Sequence
from pathlib import Path

import altair as alt
import numpy as np
import polars as pl

from polysilicon.exchange import validate

INK, MUTED, OURS, THEIRS = "#24292f", "#8c959f", "#0a5cad", "#d1690a"
KINDS = {"tpot": "time per output token, ms", "ttft": "time to first token, ms", "throughput": "tokens/s, offline"}
TARGET = {"tpot": 0.10, "ttft": 0.20, "throughput": 0.20}  # median error aimed at
MOST_ERROR = 1.0  # the axis ends here; what lies beyond is drawn at the edge
HOUSE = {"Nvidia": "#4c8c2b", "AMD": "#c0392b", "Google TPU": "#1f77b4", "AWS Neuron": "#d68910", "other": MUTED}


def house(chip: str) -> str:
    """Return who makes a chip."""
    if chip.startswith(("tpu",)):
        return "Google TPU"
    if chip.startswith("mi"):
        return "AMD"
    return "AWS Neuron" if chip.startswith(("trainium", "inferentia")) else "Nvidia"


def frame_of(checked: Sequence[validate.Checked]) -> pl.DataFrame:
    """Return one row a point; latencies in ms."""
    return pl.DataFrame({
        "measured": [c.point.seconds * 1e3 if c.point.kind != "throughput" else c.point.value for c in checked],
        "ratio": [1.0 + c.error_frac for c in checked], "kind": [c.point.kind for c in checked], "chip": [c.chip for c in checked],
        "error": [abs(c.error_frac) for c in checked], "covered": [float(c.covered) for c in checked], "maker": [house(c.chip) for c in checked],
    }).with_columns(predicted=pl.col("measured") * pl.col("ratio"))  # fmt: skip


def styled(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """Return a chart in the page's ink."""
    return (
        chart.configure_view(stroke="#d0d7de")
        .configure_axis(grid=False, labelColor=INK, titleColor=INK, titleFontWeight="normal", labelFontSize=11, titleFontSize=12, domainColor=MUTED)
        .configure_title(fontSize=13, color=INK, anchor="start", fontWeight="bold", subtitleColor=MUTED, subtitleFontSize=11)
        .configure_legend(labelColor=INK, titleColor=INK, labelFontSize=11)
    )


def scatter(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw predicted against measured: on the line is right, the grey strip is within 20 %, beyond the axes is at the edge."""
    panels = []
    for kind, words in KINDS.items():
        part = frame.filter(pl.col("kind") == kind)
        some = part.sample(n=min(450, len(part)), seed=0)
        low, high = 0.7 * float(part["measured"].quantile(0.002)), 1.4 * float(part["measured"].quantile(0.998))
        some = some.with_columns(pl.col("measured", "predicted").clip(low, high))  # what lies beyond is drawn at the edge
        ends = pl.DataFrame({"x": [low, high], "low": [low / 1.2, high / 1.2], "high": [low * 1.2, high * 1.2]})
        ticks = [10.0**k for k in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)]
        x = alt.Scale(type="log", domain=[low, high], nice=False)
        axis = alt.Axis(values=ticks, format="~s")
        across, up = alt.X("x:Q", scale=x, axis=axis, title="measured"), alt.Y("low:Q", scale=x, axis=axis, title="predicted")
        strip = alt.Chart(ends).mark_area(color="#d0d7de", opacity=0.7, clip=True).encode(x=across, y=up, y2="high:Q")
        line = alt.Chart(ends).mark_line(color=MUTED, strokeWidth=1).encode(x=across, y=alt.Y("x:Q", scale=x, title="predicted"))
        dots = alt.Chart(some).mark_circle(size=14, opacity=0.45, clip=True).encode(
            x=alt.X("measured:Q", scale=x, axis=axis, title="measured"),
            y=alt.Y("predicted:Q", scale=x, axis=axis, title="predicted"),
            color=alt.Color("maker:N", title=None, scale=alt.Scale(domain=list(HOUSE)[:4], range=list(HOUSE.values())[:4])),
        )  # fmt: skip
        within = float((part["error"] <= 0.2).mean())
        note = f"{len(part):,} rows; median error {float(part['error'].median()):.0%}; {within:.0%} within 20 %"
        panels.append((strip + line + dots).properties(width=250, height=250, title=alt.Title(words, subtitle=note)))
    return styled(alt.hconcat(*panels, spacing=24))


def shares(ours: dict[str, list[float]], theirs: dict[str, list[float]], peer: str) -> alt.TopLevelMixin:
    """Draw which share of the common rows lies within an error: higher is better."""
    panels = []
    for kind in ("tpot", "ttft"):
        lines = []
        for name, errors in (("polysilicon", ours[kind]), (peer, theirs[kind])):
            size = np.sort(np.abs(errors))
            at = np.linspace(0, MOST_ERROR, 101)
            lines += [{"error": float(e), "share": float(np.searchsorted(size, e, side="right") / len(size)), "who": name} for e in at]
        both = alt.Scale(domain=["polysilicon", peer], range=[OURS, THEIRS])
        curve = alt.Chart(pl.DataFrame(lines)).mark_line(strokeWidth=2.5).encode(
            x=alt.X("error:Q", title="error at most", axis=alt.Axis(format="%", values=[0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])),
            y=alt.Y("share:Q", title="share of rows", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("who:N", title=None, scale=both, legend=alt.Legend(orient="bottom-right")),
        )  # fmt: skip
        rule = alt.Chart(pl.DataFrame({"error": [0.2]})).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x="error:Q")
        title = alt.Title(KINDS[kind].split(",")[0], subtitle=f"the {len(ours[kind]):,} rows that both predict")
        panels.append((rule + curve).properties(width=330, height=220, title=title))
    return styled(alt.hconcat(*panels, spacing=30).resolve_legend(color="independent"))


def by_chip(frame: pl.DataFrame, peers: pl.DataFrame, peer: str) -> alt.TopLevelMixin:
    """Draw the median error of each chip with its 90th percentile, beside the peer's median on its rows."""
    panels = []
    for kind, words in KINDS.items():
        part = frame.filter(pl.col("kind") == kind)
        table = part.group_by("chip").agg(rows=pl.len(), median=pl.col("error").median(), p90=pl.col("error").quantile(0.9))
        table = table.with_columns(
            label=pl.format("{} ({})", "chip", "rows"), end=pl.min_horizontal("p90", pl.lit(MOST_ERROR)),
            at=pl.min_horizontal("median", pl.lit(MOST_ERROR)),
            beyond=pl.when(pl.col("median") > MOST_ERROR).then(pl.format("{} %", (pl.col("median") * 100).round(0).cast(pl.Int64))),
        ).sort("median")  # fmt: skip
        y = alt.Y("label:N", sort=table["label"].to_list(), title=None)
        x = alt.X("at:Q", title="error", axis=alt.Axis(format="%", values=[0, 0.2, 0.4, 0.6, 0.8, 1.0]), scale=alt.Scale(domain=[0, MOST_ERROR]))
        base = alt.Chart(table)
        layers = [
            alt.Chart(pl.DataFrame({"at": [TARGET[kind]]})).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=x),
            base.mark_rule(color=OURS, opacity=0.35, strokeWidth=4).encode(y=y, x=x, x2="end:Q"),
            base.mark_circle(color=OURS, size=80, opacity=1).encode(y=y, x=x),
            base.transform_filter("isValid(datum.beyond)").mark_text(color=INK, align="right", dx=-8, fontSize=10).encode(y=y, x=x, text="beyond:N"),
        ]
        other = peers.filter(pl.col("kind") == kind) if len(peers) else peers
        if len(other):
            joined = (
                other.group_by("chip")
                .agg(at=pl.min_horizontal(pl.col("error").median(), pl.lit(MOST_ERROR)))
                .join(table.select("chip", "label"), on="chip")
            )
            layers.append(alt.Chart(joined).mark_point(color=THEIRS, shape="diamond", size=70, filled=True).encode(y=y, x=x))
        note = f"dot median, bar to the 90th percentile, dashed {TARGET[kind]:.0%} aimed at" + (f"; diamond {peer}" if len(other) else "")
        panels.append(
            alt.layer(*layers).properties(width=240, height=19 * len(table), title=alt.Title(words.split(",")[0], subtitle=note.split("; ")))
        )
    return styled(alt.hconcat(*panels, spacing=18))


def band(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw the share of each chip's rows inside the stated 80 % band: the green strip is where it should be."""
    panels = []
    for kind, words in KINDS.items():
        part = frame.filter(pl.col("kind") == kind)
        table = (
            part.group_by("chip")
            .agg(rows=pl.len(), at=pl.col("covered").mean())
            .with_columns(label=pl.format("{} ({})", "chip", "rows"), aim=pl.lit(0.8))
            .sort("rows", descending=True)
        )
        y = alt.Y("label:N", sort=table["label"].to_list(), title=None)
        x = alt.X("at:Q", title="inside the band", axis=alt.Axis(format="%", values=[0, 0.2, 0.4, 0.6, 0.8, 1.0]), scale=alt.Scale(domain=[0, 1]))
        strip = alt.Chart(pl.DataFrame({"at": [0.75], "end": [0.85]})).mark_rect(color="#4c8c2b", opacity=0.2).encode(x=x, x2="end:Q")
        bars = alt.Chart(table).mark_rule(color="#d0d7de", strokeWidth=2).encode(y=y, x=x, x2="aim:Q")
        dots = (
            alt.Chart(table)
            .mark_circle(color=OURS, opacity=1)
            .encode(y=y, x=x, size=alt.Size("rows:Q", legend=None, scale=alt.Scale(type="sqrt", range=[30, 220])))
        )
        note = f"all rows: {float(part['covered'].mean()):.0%}; dots as large as their rows"
        panels.append((strip + bars + dots).properties(width=240, height=19 * len(table), title=alt.Title(words.split(",")[0], subtitle=note)))
    return styled(alt.hconcat(*panels, spacing=18))


def save(
    folder: Path, checked: Sequence[validate.Checked], peers: pl.DataFrame, pairs: tuple[dict[str, list[float]], dict[str, list[float]]], peer: str
) -> None:
    """Write all drawings."""
    frame = frame_of(checked)
    scatter(frame).save(folder / "accuracy_scatter.svg")
    by_chip(frame, peers, peer).save(folder / "accuracy_by_chip.svg")
    band(frame).save(folder / "accuracy_band.svg")
    if pairs[0].get("tpot"):
        shares(pairs[0], pairs[1], peer).save(folder / "accuracy_shares.svg")
