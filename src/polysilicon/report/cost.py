"""Pages of what compute costs, what tokens fetch and what binds a buyer."""

from __future__ import annotations

from collections.abc import Sequence

from polysilicon.economics.cost_report import CostAnswer
from polysilicon.economics.kpi import MarginOutlook
from polysilicon.economics.lockin import LockIn, SurfacePoint
from polysilicon.economics.price_history import Trend
from polysilicon.report import money_charts as charts
from polysilicon.report.evidence import Section
from polysilicon.report.sheet import drawing, sheet

LAYERS = {"it_usd": "IT", "site_usd": "site", "power_usd": "power", "carbon_usd": "carbon", "opex_usd": "upkeep", "staff_usd": "staff"}


def cost_page(answer: CostAnswer) -> str:
    """Return the cost of a chip-hour as one HTML page: layers, margins by price, range, tokens."""
    cost, spread, told = answer.chip_hour, answer.range.usd_per_chip_hour, answer.published
    layers = {words: getattr(cost, name) for name, words in LAYERS.items()}
    facts = [
        ("sold chip-hour", f"{cost.total_usd:.2f} $", "with cost of capital"),
        ("by accounts", f"{cost.accounting_usd:.2f} $", "straight-line, every hour taken"),
        ("p10 to p90", f"{spread.p10:.2f} to {spread.p90:.2f} $", f"median {spread.p50:.2f}"),
        ("written off", f"{answer.floor_usd_per_chip_hour:.2f} $", "below it a chip is better switched off"),
    ]
    sections = [
        Section(
            "Layers",
            ("Dollars per sold chip-hour.",),
            (("What a sold chip-hour costs", drawing(charts.stack(layers, title="$ per chip-hour"))),),
        ),
        Section(
            "Range",
            (
                f"{answer.range.draws} draws with seed {answer.range.seed}: {spread.p10:.2f}, {spread.p50:.2f}, {spread.p90:.2f} at p10, p50, p90.",
                f"Another study of the same rack gives {told.p10:.2f}, {told.p50:.2f}, {told.p90:.2f}; its ranges were not published.",
            ),
            (("What moves it", drawing(charts.tornado(answer.range.bars, title="$ per chip-hour", scale=1.0))),),
            ((("number", "low", "base", "high", "ends from"), [(d.name, d.low, d.base, d.high, d.source) for d in answer.range.ranges]),),
        ),
        Section(
            "Margins by price",
            (
                f"A published day to compare (DeepSeek, February 2025): cost {answer.published_day.cost_usd:,.0f} $, revenue "
                f"{answer.published_day.revenue_usd:,.0f} $ at list prices: {answer.published_day.margins}.",
            ),
            tables=(
                (
                    ("$ per chip-hour", "profit over cost", "accounting gross margin", "after cost of capital", "chips that 30 B$ rents for 5 years"),
                    [
                        (
                            r.usd_per_chip_hour,
                            f"{r.profit_over_cost_frac:.0%}",
                            f"{r.accounting_margin_frac:.0%}",
                            f"{r.economic_margin_frac:.0%}",
                            r.chips,
                        )
                        for r in answer.prices
                    ],
                ),
            ),
        ),
        *_tokens(answer),
    ]
    lead = f"A rack of {answer.rack.chips:g} chips at {answer.rack.rack_kw:g} kW, {answer.rack.sold_frac:.0%} of its hours sold."
    return sheet("What a chip-hour costs", over="Cost of ownership", lead=lead, facts=facts, sections=sections)


def _tokens(answer: CostAnswer) -> list[Section]:
    out = []
    if answer.margin_stack_usd_per_mtok is not None:
        stack = answer.margin_stack_usd_per_mtok
        words = f"The layers sum to the price, {sum(stack.values()):.3g} $/Mtok; a negative one is a loss."
        out.append(Section("Who keeps what of a token's price", (words,), (("By layer, $/Mtok", drawing(charts.stack(stack, title="$/Mtok"))),)))
    if answer.cache:
        rows = [(c.memory, c.usd_per_gb_hour, c.usd_per_mtok_hour, c.usd_per_mtok, c.basis) for c in answer.cache]
        table = ("memory", "$/GB-hour", "$/Mtok-hour", "$/Mtok a read", "basis"), rows
        out.append(Section(f"The cache of {answer.cache_model}", ("Keys and values in bf16, held between two reads.",), tables=(table,)))
    if answer.token_cost is not None:
        kinds = answer.token_cost
        row = (kinds.input_usd_per_mtok, kinds.cached_usd_per_mtok, kinds.output_usd_per_mtok, answer.floor_usd_per_mtok)
        out.append(Section("A million tokens", tables=((("input $", "cached $", "output $", "output on written-off chips $"), [row]),)))
    return out


def prices_page(trends: Sequence[Trend], months: float, floor_usd_per_mtok: float | None = None) -> str:
    """Return token prices as one HTML page: each class's history, scenarios and the floor of written-off chips."""
    heads = ("class", "prices", "newest $/Mtok", "a year", "95 % band", "half-life, months", "last year", "class up", "class down")
    rows = [
        (
            t.name, len(t.observations), t.observations[-1].usd_per_mtok, f"{t.per_year_frac:+.0%}",
            f"{t.low_per_year_frac:+.0%} to {t.high_per_year_frac:+.0%}", t.half_life_months,
            "-" if t.last_year_frac is None else f"{t.last_year_frac:+.0%}", t.class_rises, t.class_falls,
        )
        for t in trends
    ]  # fmt: skip
    sections = [Section("Classes", ("A class without a half-life did not fall.",), tables=((heads, rows),))]
    for t in trends:
        low, middle, high = t.projected(months)
        words = [f"In {months:g} months, if it went on so: {middle:.3g}; at the band's ends {low:.3g} and {high:.3g} $/Mtok. A scenario, not a fact."]
        if floor_usd_per_mtok is not None:
            words.append(f"Written-off chips can serve down to {floor_usd_per_mtok:.3g} $/Mtok.")
        figure = (f"{t.name}, $/Mtok at three input tokens to one output", drawing(charts.price_history(t, months, floor_usd_per_mtok)))
        seen = [(o.day, o.model, o.usd_per_mtok, o.source) for o in t.observations]
        sections.append(Section(t.name, tuple(words), (figure,), ((("day", "model", "$/Mtok", "source"), seen),)))
    return sheet("Token prices", over="History by class of models", lead="Dated list prices; projections are scenarios.", sections=sections)


def lockin_page(bound: LockIn, points: Sequence[SurfacePoint], outlook: MarginOutlook) -> str:
    """Return what binds a buyer as one HTML page: cost of leaving, break-even of a port, margin with one silicon and with two."""
    parts = {
        "porting and double running": bound.porting_usd, "efficiency until mature": bound.efficiency_usd,
        "stranded commitment": bound.stranded_usd, "moving data": bound.egress_usd,
    }  # fmt: skip
    facts = [("lock-in index", f"{bound.index_frac:.1%}", "of a year's spend"), ("leaving costs", f"{bound.total_usd / 1e6:,.1f} M$", "")]
    falls = " and ".join(
        f"{what} {low:.0%} to {high:.0%} a year, most likely {base:.0%}"
        for what, (low, base, high) in (("prices", outlook.price_fall_frac), ("costs of each silicon", outlook.cost_fall_frac))
    )
    heads = ("years from now", "one: p10", "p50", "p90", "two: p10", "p50", "p90")
    rows = [(a[0], *(f"{x:.1%}" for x in (*a[1:], *b[1:]))) for a, b in zip(outlook.one, outlook.two, strict=True) if a[0] == round(a[0])]
    sections = [
        Section("Cost of leaving", tables=((("part", "M$"), [(name, usd / 1e6) for name, usd in parts.items()]),)),
        Section("Break-even gain", (), (("Gain in performance per dollar at which a port pays", drawing(charts.heat_map(points))),)),
        Section(
            "Gross margin",
            (f"From 50 % today. Assumed falls: {falls}. Who can move pays the cheaper of two.",),
            (("Gross margin, p10 to p90", drawing(charts.margin_outlook(outlook))),),
            ((heads, rows),),
        ),
    ]
    return sheet("When does leaving an engine pay?", over="Lock-in", facts=facts, sections=sections)
