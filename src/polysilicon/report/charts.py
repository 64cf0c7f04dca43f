"""The charts: Vega-Lite specifications by altair, coloured so that they read on white, on black and on paper.

Text, axes and grids take the page's own ink by CSS; only data marks carry colours of their own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from polysilicon.portfolio import Plan
from polysilicon.report import figures
from polysilicon.report.evidence import ContractEvidence, Distribution, Evidence
from polysilicon.report.figures import Step
from polysilicon.report.words import cell, money, seconds

Spec = dict[str, Any]
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif'
PALETTE = ("#4269d0", "#e08a1e", "#2fa37c", "#d1495b", "#8b5fd0", "#3aa5c9", "#a08030", "#8a8f98")
UP, DOWN, LEVEL, PROMISE = "#e08a1e", "#2fa37c", "#4269d0", "#d1495b"
MEASURES = {"ttft": "Time to first token", "tpot": "Time per output token", "e2e": "End to end"}
OTHER = "other"
THIN_FRAC = 0.004  # of the tallest bar
SHOWN = 7  # places with a colour of their own; the rest are "other"
FEW_PERIODS = 10
POINTS = 120  # of a distribution's line


# dollars as people write them: $250M, $1.2B; the format's own word for a billion is G
DOLLARS = "'$' + (abs(datum.value) >= 1000 ? replace(format(datum.value, '~s'), 'G', 'B') : format(datum.value, '~g'))"
COUNTS = "replace(format(datum.value, '~s'), 'G', 'B')"


@dataclass(frozen=True, slots=True)
class Chart:
    """A specification, its heading, and the colours that the page explains under it."""

    title: str
    spec: Spec
    legend: tuple[tuple[str, str], ...] = ()


def charts(evidence: Evidence) -> dict[str, Chart]:
    """Return every chart that has data, by name."""
    made: dict[str, Chart] = {}
    plan = evidence.plan
    if plan.holdings or plan.placements:
        made["spend"] = spend(plan)
        made["cost"] = Chart("From list price to total", steps(figures.waterfall(plan)))
    if len(plan.periods) > 1 and plan.holdings:
        made["capacity"] = capacity(plan)
    if plan.placements:
        made["mix"] = mix(plan)
    margin = figures.margin_steps(evidence)
    if margin:
        made["margin"] = Chart("From price to margin, per million tokens", steps(margin, gain=True))
    if any(a.objective_usd is not None for a in evidence.alternatives):
        made["alternatives"] = Chart("Discounted cost of each answer", alternatives(evidence))
    for contract in evidence.contracts:
        burned = burn_down(plan, contract)
        if burned is not None:
            made[f"burn-down-{contract.id}"] = burned
    for d in evidence.distributions:
        if len(d.value_s) > 1:
            made[f"{d.measure}-{d.workload}"] = Chart(f"{MEASURES.get(d.measure, d.measure)}, {d.workload}", distribution(d))
    for name in dict.fromkeys(s.name for s in evidence.series):
        made[f"series-{name}"] = series(evidence, name)
    return made


def spend(plan: Plan) -> Chart:
    """Return dollars by period and place, stacked; by place alone where there is one period."""
    per = f" per {_period(plan)}" if len(plan.periods) > 1 else ""
    return _stack(plan, dict(figures.by_place(plan)), f"Spending by chip and supplier{per}", word=money, axis=DOLLARS)


def capacity(plan: Plan) -> Chart:
    """Return chips held by period and place."""
    chips: dict[str, list[float]] = {place: [0.0] * len(plan.periods) for place in figures.by_place(plan)}
    for holding in plan.holdings:
        chips[figures.label(holding.chip, holding.cloud)][holding.period] += holding.chips
    held = {place: counts for place, counts in chips.items() if any(counts)}
    return _stack(plan, held, "Chips held", word=lambda x: cell(x, "whole"), axis=COUNTS)


def _period(plan: Plan) -> str:
    days = plan.periods[0].hours / 24
    return "month" if days < 45 else "quarter" if days < 200 else "year"


def _stack(plan: Plan, by_place: dict[str, list[float]], title: str, *, word: Callable[[float], str], axis: str) -> Chart:
    places = list(figures.by_place(plan))
    values = [
        {"period": period.start, "place": _shown(place, places), "amount": amount, "words": word(amount), "of": place}
        for place, amounts in by_place.items()
        for period, amount in zip(plan.periods, amounts, strict=True)
        if amount
    ]
    tip = [alt.Tooltip("of:N", title="Place"), alt.Tooltip("period:O", title="From"), alt.Tooltip("words:N", title="Amount")]
    base = alt.Chart(alt.InlineData(values=values))
    colour = alt.Color("place:N", scale=_colour(places), legend=None)
    if len(plan.periods) == 1:
        bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.66}).encode(
            x=alt.X("sum(amount):Q", title=None, axis=alt.Axis(labelExpr=axis, tickCount=4)),
            y=alt.Y("place:N", sort="-x", title=None, axis=alt.Axis(labelLimit=150)),
            color=colour,
            tooltip=tip,
        )
        return Chart(title, finished(bars, height=max(110, 34 * len({v["place"] for v in values}) + 20)))
    stack = base.mark_bar().encode(
        x=alt.X("period:O", title=None, axis=_calendar(plan)),
        y=alt.Y("sum(amount):Q", title=None, axis=alt.Axis(labelExpr=axis, tickCount=5)),
        color=colour,
        order=alt.Order("rank:Q"),
        tooltip=tip,
    )
    ranked = stack.transform_calculate(rank=f"indexof({json.dumps([*places[:SHOWN], OTHER])}, datum.place)")
    return Chart(title, finished(ranked, height=300), _legend([p for p in places if p in by_place], places))


def _calendar(plan: Plan) -> alt.Axis:
    """Label every period where there are few, the first of each year where there are many."""
    starts = [period.start for period in plan.periods]
    if len(starts) <= FEW_PERIODS:
        return alt.Axis(labelExpr=_LABEL, labelAngle=0, labelOverlap="greedy")
    firsts = [start for i, start in enumerate(starts) if i == 0 or start[:4] != starts[i - 1][:4]]
    return alt.Axis(values=firsts, labelExpr="slice(datum.value, 0, 4)", labelAngle=0, labelOverlap="greedy")


# "2027-04-01" -> the year in January, the month otherwise
_LABEL = "slice(datum.value, 5, 7) == '01' ? slice(datum.value, 0, 4) : timeFormat(toDate(datum.value + 'T12:00'), '%b')"


def steps(made: Sequence[Step], *, gain: bool = False) -> Spec:
    """Return a waterfall; the last level equals the sum of the steps before it. Steps too thin to see are drawn as one."""
    values, level = [], 0.0
    for step in _thick(made):
        begin, end = (0.0, step.usd) if step.total else (level, level + step.usd)
        kind = "level" if step.total else ("down" if step.usd < 0 else "up")
        values.append({"layer": step.layer, "begin": begin, "end": end, "high": max(begin, end), "words": money(step.usd), "kind": kind})
        level = end
    down, up = (UP, DOWN) if gain else (DOWN, UP)
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("layer:N", sort=[str(v["layer"]) for v in values], title=None, axis=alt.Axis(labelLimit=170))
    )
    bars = base.mark_bar(cornerRadius=2, height={"band": 0.62}).encode(
        x=alt.X("begin:Q", title=None, axis=alt.Axis(labelExpr=DOLLARS, tickCount=4)),
        x2="end:Q",
        color=alt.Color("kind:N", scale=alt.Scale(domain=["level", "down", "up"], range=[LEVEL, down, up]), legend=None),
        tooltip=[alt.Tooltip("layer:N", title="Layer"), alt.Tooltip("words:N", title="Dollars")],
    )
    text = base.mark_text(align="left", dx=5).encode(x="high:Q", text="words:N")
    return finished(bars + text, height=32 * len(values) + 14, padding_right=56)


def _thick(made: Sequence[Step]) -> list[Step]:
    largest = max((abs(step.usd) for step in made), default=0.0)
    thin = [step for step in made if not step.total and abs(step.usd) < THIN_FRAC * largest]
    if len(thin) < 2:
        return list(made)
    kept = [step for step in made if step not in thin]
    return [*kept[:-1], Step(f"{len(thin)} smaller items", sum(step.usd for step in thin)), kept[-1]]


def mix(plan: Plan) -> Chart:
    """Return the share of each workload's tokens by place."""
    places = list(figures.by_place(plan))
    places += [p for p in dict.fromkeys(figures.label(q.chip, q.cloud, q.pool) for q in plan.placements) if p not in places]
    served: dict[tuple[str, str], float] = defaultdict(float)
    whole: dict[str, float] = defaultdict(float)
    for p in plan.placements:
        served[(p.workload, _shown(figures.label(p.chip, p.cloud, p.pool), places))] += p.mtok
        whole[p.workload] += p.mtok
    values = [
        {"workload": w, "place": place, "share": mtok / whole[w], "words": f"{mtok / whole[w]:.1%}", "mtok": cell(mtok, "mtok")}
        for (w, place), mtok in served.items()
        if whole[w] > 0
    ]
    tip = [("workload", "Workload"), ("place", "Place"), ("words", "Share of tokens"), ("mtok", "Tokens")]
    chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_bar(height={"band": 0.66})
        .encode(
            x=alt.X("sum(share):Q", title=None, stack="zero", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=4)),
            y=alt.Y("workload:N", sort=list(whole), title=None, axis=alt.Axis(labelLimit=150)),
            color=alt.Color("place:N", scale=_colour(places), legend=None),
            order=alt.Order("rank:Q"),
            tooltip=[alt.Tooltip(f"{key}:N", title=title) for key, title in tip],
        )
        .transform_calculate(rank=f"indexof({json.dumps([*places[:SHOWN], OTHER])}, datum.place)")
    )
    used = {figures.label(q.chip, q.cloud, q.pool) for q in plan.placements}
    return Chart(
        "Share of each workload's tokens",
        finished(chart, height=34 * len(whole) + 14),
        _legend([p for p in places if p in used], places),
    )


def alternatives(evidence: Evidence) -> Spec:
    """Return the discounted cost of this plan and of other answers."""
    table = [row for row in figures.alternatives(evidence).records() if row["objective_usd"] is not None]
    values = [
        {"name": r["name"], "usd": r["objective_usd"], "words": money(float(r["objective_usd"] or 0)), "own": i == 0} for i, r in enumerate(table)
    ]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("name:N", sort=[str(v["name"]) for v in values], title=None, axis=alt.Axis(labelLimit=180)),
        x=alt.X("usd:Q", title=None, axis=alt.Axis(labelExpr=DOLLARS, tickCount=4)),
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.62}).encode(
        color=alt.Color("own:N", scale=alt.Scale(domain=[True, False], range=[LEVEL, PALETTE[-1]]), legend=None)
    )
    return finished(bars + base.mark_text(align="left", dx=5).encode(text="words:N"), height=34 * len(values), padding_right=56)


def burn_down(plan: Plan, contract: ContractEvidence) -> Chart | None:
    """Return cumulative drawdown of a commitment against what is due, or None where nothing is committed."""
    if not contract.commit_usd:
        return None
    drawn = [0.0] * len(plan.periods)
    short = [0.0] * len(plan.periods)
    for bill in plan.contracts:
        if bill.contract == contract.id:
            drawn[bill.period] += bill.drawdown_usd
            short[bill.period] += bill.shortfall_usd
    values, used, paid = [], 0.0, 0.0
    ends = [*(p.start for p in plan.periods[1:]), _end(plan)]
    values += [{"at": plan.periods[0].start, "usd": 0.0, "line": line} for line in ("drawn", "drawn and shortfall")]
    for end, d, s in zip(ends, drawn, short, strict=True):
        used, paid = used + d, paid + d + s
        values.append({"at": end, "usd": used, "line": "drawn"})
        values.append({"at": end, "usd": paid, "line": "drawn and shortfall"})
    due = [(contract.start, 0.0), *contract.schedule] if contract.schedule else [(contract.start, 0.0), (contract.end, contract.commit_usd)]
    values += [{"at": day, "usd": usd, "line": "due"} for day, usd in due]
    values = [{**v, "words": money(float(v["usd"]))} for v in values]
    lines, colours = ["due", "drawn", "drawn and shortfall"], [PALETTE[-1], PALETTE[0], PALETTE[3]]
    chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=alt.OverlayMarkDef(size=26))
        .encode(
            x=alt.X("at:T", title=None, axis=alt.Axis(format="%b %Y", labelAngle=0, labelOverlap="greedy", tickCount=5)),
            y=alt.Y("usd:Q", title=None, axis=alt.Axis(labelExpr=DOLLARS, tickCount=5)),
            color=alt.Color("line:N", scale=alt.Scale(domain=lines, range=colours), legend=None),
            strokeDash=alt.StrokeDash("line:N", scale=alt.Scale(domain=lines, range=[[4, 3], [1, 0], [2, 2]]), legend=None),
            tooltip=[
                alt.Tooltip("line:N", title="Line"),
                alt.Tooltip("at:T", title="At"),
                alt.Tooltip("words:N", title="Dollars"),
            ],
        )
    )
    legend = tuple(zip(lines, colours, strict=True))
    return Chart(f"Burn-down of {contract.id}, cumulative", finished(chart, height=240), legend)


def _end(plan: Plan) -> str:
    from datetime import date, timedelta

    last = plan.periods[-1]
    return (date.fromisoformat(last.start) + timedelta(hours=last.hours)).isoformat()


def distribution(d: Distribution) -> Spec:
    """Return the share of requests under a latency, on a log axis, with the promise as a rule."""
    keep = max(1, len(d.value_s) // POINTS)
    pairs = [(v, p) for v, p in zip(d.value_s, d.probability, strict=True) if v > 0]
    pairs = [*pairs[::keep], pairs[-1]] if pairs else [(1e-9, 1.0)]
    values = [{"s": v, "share": p, "words": seconds(v), "part": f"{p:.1%}"} for v, p in pairs]
    line = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(color=LEVEL, interpolate="monotone", strokeWidth=2)
        .encode(
            x=alt.X(
                "s:Q",
                title="seconds",
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(format="~g", tickCount=4, labelOverlap=True),
            ),
            y=alt.Y("share:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=4)),
            tooltip=[alt.Tooltip("words:N", title="Within"), alt.Tooltip("part:N", title="of requests")],
        )
    )
    if d.slo_s is None:
        return finished(line, height=150)
    promise = alt.Chart(alt.InlineData(values=[{"s": d.slo_s, "words": f"promise {seconds(d.slo_s)}", "q": d.slo_quantile}]))
    rule = promise.mark_rule(color=PROMISE, strokeDash=[4, 3], strokeWidth=1.5).encode(x="s:Q", tooltip=alt.Tooltip("words:N", title="Promise"))
    level = promise.mark_rule(strokeDash=[1, 3], opacity=0.6, color=PALETTE[-1]).encode(y="q:Q")
    return finished(line + level + rule, height=150)


SERIES = {
    "waiting": ("Requests waiting for admission", "~s"),
    "batch": ("Requests running per replica", "~s"),
    "kv": ("KV cache held by running requests, shared prefixes left out", "%"),
    "ttft": ("TTFT at the promised percentile, seconds; dashed: the promise", "~g"),
}


def series(evidence: Evidence, name: str) -> Chart:
    """Return a quantity of the replay over time, by subject."""
    values = [
        {"t": t / 60, "value": v, "subject": s.subject} for s in evidence.series if s.name == name for t, v in zip(s.time_s, s.value, strict=True)
    ]
    subjects = list(dict.fromkeys(s.subject for s in evidence.series if s.name == name))
    title, form = SERIES.get(name, (f"{name.capitalize()} during the replay", "~g"))
    line = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(interpolate="step-after", strokeWidth=1.5)
        .encode(
            x=alt.X("t:Q", title="minutes", axis=alt.Axis(tickCount=6)),
            y=alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=f"format(datum.value, '{form}')")),
            color=alt.Color("subject:N", scale=_colour(subjects), legend=None),
        )
    )
    promised = [{"promise": s.promise_s, "subject": s.subject} for s in evidence.series if s.name == name and s.promise_s is not None]
    chart: Any = line
    if promised:
        rule = alt.Chart(alt.InlineData(values=promised)).mark_rule(strokeDash=[4, 3], strokeWidth=1.5)
        chart = line + rule.encode(y="promise:Q", color=alt.Color("subject:N", scale=_colour(subjects), legend=None))
    return Chart(title, finished(chart, height=200), _legend(subjects, subjects))


def _shown(place: str, places: Sequence[str]) -> str:
    return place if places.index(place) < SHOWN else OTHER


def _colour(places: Sequence[str]) -> alt.Scale:
    shown = [*places[:SHOWN], *([OTHER] if len(places) > SHOWN else [])]
    return alt.Scale(domain=shown, range=list(PALETTE[: len(shown)]))


def _legend(used: Sequence[str], places: Sequence[str]) -> tuple[tuple[str, str], ...]:
    shown = dict.fromkeys(_shown(place, places) for place in used)
    return tuple((name, PALETTE[-1] if name == OTHER else PALETTE[places.index(name)]) for name in shown)


def finished(chart: Any, *, height: int, padding_right: int = 8) -> Spec:
    """Return a chart as a specification in the page's own type and measure."""
    made = (
        chart.properties(width="container", height=height, background="transparent")
        .configure(autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), font=FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            gridOpacity=0.5,
            tickSize=0,
            labelPadding=6,
            domain=False,
        )
        .configure_text(fontSize=12)
    )
    spec: Spec = made.to_dict()
    spec["padding"] = {"left": 4, "right": padding_right, "top": 8, "bottom": 4}
    return spec
