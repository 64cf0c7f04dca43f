"""The sections that answer a negotiator: suppliers, offers, ports, shocks, frontier. Tables and charts of `Asked`."""

from __future__ import annotations

from typing import Any

import altair as alt

from polysilicon.report import charts
from polysilicon.report.asked import Asked, PortSurface
from polysilicon.report.figures import Column, Table
from polysilicon.report.names import proper
from polysilicon.report.words import money

UNPRICED = "A dash for dollars: demand goes unserved whose loss the scenario does not price (unserved_usd_per_mtok)."
HORIZONS = ("1 hour", "30 days", "6 months")


def tables(asked: Asked) -> list[Table]:
    """Return the table of every question that was asked."""
    return [routes(asked), slo_prices(asked), suppliers(asked), comparisons(asked), ports(asked), shocks(asked), frontier(asked)]


def routes(asked: Asked) -> Table:
    """Return the buyer's view: each application's cheapest way in each cloud, the cheapest cloud first."""
    rows = tuple(
        (r.application, r.workload, proper(r.cloud), r.where, r.usd_per_mtok, "cheapest" if r.cheapest else "")
        for r in sorted(asked.routes, key=lambda r: (r.application, r.workload, r.usd_per_mtok))
    )
    shown = (
        Column("application", "Application"),
        Column("workload", "Workload"),
        Column("cloud", "Cloud"),
        Column("where", "Cheapest there"),
        Column("usd_per_mtok", "$/Mtok, in and out", "usd_per_mtok"),
        Column("cheapest", ""),
    )
    note = "Chips always busy, at the least price asked, on engines that run now; tokens at list price. A plan pays for idle hours too."
    return Table("routes", "The cheapest route of each application, cloud by cloud", shown, rows, note)


def slo_prices(asked: Asked) -> Table:
    """Return what a millisecond of each promise costs."""
    rows = tuple((p.workload, p.measure, p.promise_s, p.promise_s - p.shorter_ms / 1000.0, p.usd, p.usd_per_ms) for p in asked.slo_prices)
    shown = (
        Column("workload", "Workload"),
        Column("measure", "Promise"),
        Column("promise_s", "Now", "seconds"),
        Column("shorter_s", "A tenth shorter", "seconds"),
        Column("usd", "Costs more, discounted", "usd"),
        Column("usd_per_ms", "A millisecond", "usd"),
    )
    note = "All of a workload's latencies are cut by a tenth and everything is planned again. A dash: then not all can be served."
    return Table("slo_prices", "What a millisecond costs", shown, rows, _note(asked, "slo", note))


def suppliers(asked: Asked) -> Table:
    """Return what each supplier is worth, dearest to lose first."""
    fair = any(s.fair_share_usd is not None for s in asked.suppliers)
    rows = tuple(
        (
            proper(s.name),
            "chip vendor" if s.kind == "vendor" else s.kind,
            s.token_share_frac,
            s.spend_usd,
            s.worth_usd,
            s.released_usd if s.released_usd != s.worth_usd else None,
            s.unserved_frac,
            s.indifference_factor,
            s.walk_away_factor,
            *(s.movable_frac.get(h) for h in HORIZONS),
            *((s.fair_share_usd,) if fair else ()),
        )
        for s in sorted(asked.suppliers, key=lambda s: -(float("inf") if s.worth_usd is None else s.worth_usd))
        if s.token_share_frac > 1e-9 or s.spend_usd > 0
    )
    shown = (
        Column("name", "Supplier"),
        Column("kind", "Kind"),
        Column("token_share_frac", "Of tokens", "frac"),
        Column("spend_usd", "Spend", "usd"),
        Column("worth_usd", "Dearer without it", "usd"),
        Column("released_usd", "If released", "usd"),
        Column("unserved_frac", "Unserved", "frac"),
        Column("indifference_factor", "Indifferent at x", "number"),
        Column("walk_away_factor", "Walk away at x", "number"),
        Column("movable_1h_frac", "Movable 1 hour", "frac"),
        Column("movable_30d_frac", "30 days", "frac"),
        Column("movable_6mo_frac", "6 months", "frac"),
        *((Column("fair_share_usd", "Shapley value", "usd"),) if fair else ()),
    )
    note = "Indifferent: times today's price, at today's volume, that costs as much as life without it. Discounted over the horizon."
    note += f" {UNPRICED}" if any(s.worth_usd is None for s in asked.suppliers) else ""
    return Table("suppliers", "What each supplier is worth", shown, rows, _note(asked, "negotiate", note))


def comparisons(asked: Asked) -> Table:
    """Return the plan's cost with one, the other, both and neither of two offers."""
    rows = []
    for c in asked.comparisons:
        base = c.neither_usd
        cases = (("a", f"only {c.a}", c.a_usd), ("b", f"only {c.b}", c.b_usd), ("both", "both", c.both_usd), ("neither", "neither", base))
        for key, words, usd in cases:
            saved = None if usd is None or base is None else base - usd
            each = None if usd is None or not c.mtok else usd / c.mtok
            rows.append((f"{c.a} or {c.b}", words, usd, saved, each, c.unserved_frac.get(key)))
    shown = (
        Column("pair", "Offers"),
        Column("kept", "With"),
        Column("usd", "Plan costs, discounted", "usd"),
        Column("saved_usd", "Saves over neither", "usd"),
        Column("usd_per_mtok", "$/Mtok", "usd_per_mtok"),
        Column("unserved_frac", "Unserved", "frac"),
    )
    note = UNPRICED if any(row[2] is None for row in rows) else ""
    return Table("comparisons", "One offer against another", shown, tuple(rows), _note(asked, "compare", note))


def ports(asked: Asked) -> Table:
    """Return from which gain each port pays."""
    rows = tuple(
        (
            f"{p.model_family} to {p.chip_family}",
            "started" if p.chosen else "not started",
            p.cost_usd,
            p.lead_months,
            p.spend_usd_per_year,
            p.needed_gain_frac,
            p.program_gain_frac,
            f"{p.switch_factor:.2f} x the efficiency assumed" if p.switch_factor is not None else p.switch_words,
        )
        for p in asked.ports
    )
    shown = (
        Column("port", "Port"),
        Column("state", "In the plan"),
        Column("cost_usd", "Costs", "usd"),
        Column("lead_months", "Lead, months", "number"),
        Column("spend_usd_per_year", "Spend it could move, a year", "usd"),
        Column("needed_gain_frac", "Gain needed, closed form", "frac"),
        Column("program_gain_frac", "Gain needed, program", "frac"),
        Column("switch", "Pays here from"),
    )
    note = "Gain: of throughput per dollar over today's chips. A dash: no gain pays at that spend within the horizon."
    return Table("ports", "When leaving an engine pays", shown, rows, _note(asked, "port", note))


def shocks(asked: Asked) -> Table:
    """Return what each shock costs and leaves unserved."""
    rows = tuple(
        (s.name, s.more_usd, s.unserved_mtok, s.unserved_frac, "yes" if s.replanned else "no: only routing and hourly chips react")
        for s in asked.shocks
    )
    shown = (
        Column("name", "What if"),
        Column("more_usd", "Costs more, discounted", "usd"),
        Column("unserved_mtok", "Unserved tokens", "mtok"),
        Column("unserved_frac", "Unserved", "frac"),
        Column("replanned", "Planned anew"),
    )
    note = UNPRICED if any(s.more_usd is None for s in asked.shocks) else "Unserved demand is priced in, at its stated price."
    return Table("shocks", "Stress", shown, rows, _note(asked, "stress", note))


def frontier(asked: Asked) -> Table:
    """Return cost against resilience, concentration and carbon."""
    rows = tuple((_axis(p.axis), p.limit, p.usd, p.more_frac) for p in asked.frontier)
    shown = (
        Column("axis", "Axis"),
        Column("limit", "Limit"),
        Column("usd", "Costs, discounted", "usd"),
        Column("more_frac", "Above the loosest", "frac"),
    )
    note = _note(asked, "frontier", "A dash: no plan keeps the limit.")
    return Table("frontier", "Cost against resilience, concentration, carbon", shown, rows, note)


def drawings(asked: Asked) -> dict[str, charts.Chart]:
    """Return every chart of the answers that has data, by name."""
    made: dict[str, charts.Chart] = {}
    rows = [s for s in asked.suppliers if s.worth_usd is not None and s.worth_usd > 0]
    if rows:
        worth = [(proper(s.name), float(s.worth_usd or 0), s.kind) for s in rows]
        made["suppliers"] = charts.Chart("What losing each supplier would cost", _bars(worth))
    costly = [s for s in asked.shocks if s.more_usd is not None and s.more_usd > 0]
    if costly:
        made["shocks"] = charts.Chart("What each shock would cost", _bars([(s.name, float(s.more_usd or 0), "") for s in costly]))
    if asked.surface is not None:
        made["surface"] = charts.Chart(f"What a port is worth by gain and yearly spend ({asked.surface.terms})", _heat(asked.surface))
    if any((p.more_frac or 0.0) > 1e-6 for p in asked.frontier):
        made["frontier"] = charts.Chart("What tighter limits cost", _frontier(asked))
    return made


def _bars(rows: list[tuple[str, float, str]]) -> charts.Spec:
    """Return dollars by name, largest first; chip vendors in a colour of their own."""
    order = sorted(rows, key=lambda r: -r[1])
    values = [{"name": f"{n} (chips)" if kind == "vendor" else n, "usd": usd, "words": money(usd), "kind": kind} for n, usd, kind in order]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("name:N", sort=[str(v["name"]) for v in values], title=None, axis=alt.Axis(labelLimit=220)),
        x=alt.X("usd:Q", title=None, axis=alt.Axis(labelExpr=charts.DOLLARS, tickCount=4)),
    )
    colour = alt.Color("kind:N", scale=alt.Scale(domain=["cloud", "", "vendor"], range=[charts.LEVEL, charts.LEVEL, charts.UP]), legend=None)
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.62}).encode(color=colour)
    return charts.finished(bars + base.mark_text(align="left", dx=5).encode(text="words:N"), height=30 * len(values), padding_right=60)


def _heat(surface: PortSurface) -> charts.Spec:
    """Return the port's worth as a heat map; green pays, red does not."""
    values: list[dict[str, Any]] = [
        {"gain": f"{g:.0%}", "spend": money(b), "usd": usd, "words": money(usd), "pays": usd > 0, "row": i, "column": j}
        for i, (g, line) in enumerate(zip(surface.gain_frac, surface.worth_usd, strict=True))
        for j, (b, usd) in enumerate(zip(surface.spend_usd_per_year, line, strict=True))
    ]
    top = max((abs(v["usd"]) for v in values), default=1.0) or 1.0
    for v in values:
        v["shade"] = (1 if v["usd"] > 0 else -1) * min(1.0, (abs(v["usd"]) / top) ** 0.35)
    spends = [money(b) for b in surface.spend_usd_per_year]
    gains = [f"{g:.0%}" for g in reversed(surface.gain_frac)]
    chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_rect()
        .encode(
            x=alt.X("spend:O", sort=spends, title="spend of the model a year", axis=alt.Axis(labelAngle=-45, labelOverlap=True)),
            y=alt.Y("gain:O", sort=gains, title="gain per dollar", axis=alt.Axis(labelOverlap=True)),
            color=alt.Color("shade:Q", scale=alt.Scale(domain=[-1, 0, 1], range=[charts.PROMISE, "#8a8f98", charts.DOWN]), legend=None),
            tooltip=[alt.Tooltip("gain:O", title="Gain"), alt.Tooltip("spend:O", title="Spend a year"), alt.Tooltip("words:N", title="Worth")],
        )
    )
    return charts.finished(chart, height=max(160, 16 * len(gains)))


def _frontier(asked: Asked) -> charts.Spec:
    known = [p for p in asked.frontier if p.more_frac is not None]
    values = [{"name": f"{_axis(p.axis)}: {p.limit}", "more": p.more_frac, "words": f"{p.more_frac:+.1%}"} for p in known]
    base = alt.Chart(alt.InlineData(values=values)).encode(
        y=alt.Y("name:N", sort=[str(v["name"]) for v in values], title=None, axis=alt.Axis(labelLimit=340)),
        x=alt.X("more:Q", title="cost above the loosest step", axis=alt.Axis(format="%", tickCount=4)),
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.62}, color=charts.LEVEL)
    return charts.finished(bars + base.mark_text(align="left", dx=5).encode(text="words:N"), height=28 * len(values), padding_right=60)


def _axis(name: str) -> str:
    """Return an axis in words.

    >>> _axis("resilience:cloud"), _axis("concentration:vendor"), _axis("carbon")
    ('losing any one cloud', 'share of one chip vendor', 'carbon')
    """
    axis, _, kind = name.partition(":")
    of = {"vendor": "chip vendor", "family": "chip family"}.get(kind, kind)
    return {"resilience": f"losing any one {of}", "concentration": f"share of one {of}"}.get(axis, axis)


def _note(asked: Asked, question: str, words: str) -> str:
    effort = asked.effort.get(question, "")
    return " ".join(part for part in (words, f"{effort}." if effort else "") if part)
