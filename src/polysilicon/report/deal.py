"""The page of a deal, its sections for a plan's report, and its diligence pack."""

from __future__ import annotations

from polysilicon.economics.deal_report import DealAnswer
from polysilicon.economics.diligence import tables
from polysilicon.economics.flows import matrix
from polysilicon.economics.lockin import surface
from polysilicon.economics.tokens import margin_stack
from polysilicon.economics.uncertainty import scaled
from polysilicon.economics.verdicts import runway_by_month
from polysilicon.report import money_charts as charts
from polysilicon.report.charts import steps as steps_chart
from polysilicon.report.evidence import Section
from polysilicon.report.figures import Step, price_steps
from polysilicon.report.sheet import drawing, sankey, sheet


def page(answer: DealAnswer) -> str:
    """Return a deal as one HTML page that loads nothing."""
    circle = answer.circularity
    facts = [
        (view.party, "-" if view.irr_with_values_frac is None else f"{view.irr_with_values_frac:.1%} a year", view.verdict) for view in answer.parties
    ]
    if circle.kappa_ratio is not None:
        facts.append(("equity over spend", f"{circle.kappa_ratio:.0%}", f"outside money needed {_bn(circle.outside_need_usd)}"))
    return sheet(
        answer.deal.name,
        over=f"Deal as of {answer.deal.as_of}, {answer.scenario or 'base'} case",
        lead=answer.deal.description.strip(),
        facts=facts,
        sections=sections(answer),
    )


def sections(answer: DealAnswer) -> list[Section]:
    """Return a deal as sections: money, accounts, each side, ranges, leaving, scenarios, sources."""
    sides = (*_accounts(answer), *_power(answer), *_sides(answer))
    return [_money(answer), *sides, *_uncertain(answer), *_leaving(answer), _scenarios(answer), _fine_print(answer)]


def diligence(answer: DealAnswer) -> str:
    """Return the diligence pack as a page: concentration, related parties, commitments."""
    parts = [Section(title, tables=((heads, rows),)) for title, (heads, rows) in tables(answer).items()]
    return sheet(f"Diligence: {answer.deal.name}", over=f"As of {answer.deal.as_of}", sections=parts)


def _bn(usd: float) -> str:
    return f"{usd / 1e9:,.3g} B$"


def _money(answer: DealAnswer) -> Section:
    circle = answer.circularity
    bands = [(a, b, usd / 1e9) for (a, b), usd in matrix(answer.projection.flows).items() if usd > 0]
    words = [f"Gross {_bn(circle.gross_usd)} in both directions, net {_bn(circle.net_usd)} out of the buyer."]
    words += [f"Circle: {' to '.join([*c.parties, c.parties[0]])}, at most {_bn(c.usd)}." for c in circle.circles]
    words += [f"{party} gets back {ratio:.2f} times what it invested." for party, ratio in circle.round_trip_ratio.items()]
    heads = ("party", "in B$", "out B$", "net B$", "NPV B$", "with what it owns", "IRR", "with what it owns", "payback, years", "coverage", "verdict")
    rows = [
        (
            v.party, sum(v.in_usd.values()) / 1e9, sum(v.out_usd.values()) / 1e9, v.net_usd / 1e9, v.npv_usd / 1e9, v.npv_with_values_usd / 1e9,
            _share(v.irr_frac), _share(v.irr_with_values_frac), v.payback_years, v.coverage_ratio, v.verdict,
        )
        for v in answer.parties
    ]  # fmt: skip
    figures = [("Who pays whom, B$ over the term", sankey(bands, unit="B$"))] if bands else []
    drawn = _burn(answer)
    if drawn:
        figures.append(("Commitments due, planned and billed", drawing(charts.burn_down(drawn))))
    return Section("Money", tuple(words), tuple(figures), ((heads, rows),))


def _burn(answer: DealAnswer) -> list[dict[str, object]]:
    billed = planned = 0.0
    rows: list[dict[str, object]] = []
    due = answer.due_usd()
    for p in answer.projection.periods:
        billed += p.billed_usd
        planned += p.planned_usd
        for what, usd in (("due", due(p.end)), ("planned", planned), ("billed", billed)):
            rows.append({"when": p.end, "what": what, "usd": usd})
    return rows if billed or planned else []


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _accounts(answer: DealAnswer) -> list[Section]:
    """Return profit and loss by period of the lab and of the provider; accounts, not cash."""
    periods = answer.projection.periods
    found = []
    if any(p.sales_usd for p in periods):
        heads = ("the buyer, until", "sales B$", "compute B$", "of it shortfall B$", "gross profit B$", "gross margin")
        rows = [
            (p.end, p.sales_usd / 1e9, p.billed_usd / 1e9, p.shortfall_usd / 1e9, (p.sales_usd - p.billed_usd) / 1e9, _share(p.lab_margin_frac))
            for p in periods
        ]
        found.append((heads, rows))
    if answer.provider:
        heads = ("the provider, until", "revenue B$", "running B$", "depreciation B$", "gross profit B$", "gross margin")
        rows = [
            (
                p.end, p.billed_usd / 1e9, p.running_usd / 1e9, p.depreciation_usd / 1e9,
                (p.billed_usd - p.running_usd - p.depreciation_usd) / 1e9, _share(p.provider_margin_frac),
            )
            for p in periods
        ]  # fmt: skip
        found.append((heads, rows))
    return [Section("Profit and loss", ("By accounts: depreciation straight-line, no cost of capital.",), tables=tuple(found))] if found else []


def _power(answer: DealAnswer) -> list[Section]:
    """Return the build-out by quarter where contracts are in megawatts."""
    if not answer.ramp:
        return []
    rows = [{"when": s.day, "what": what, "value": mw} for s in answer.ramp for what, mw in (("IT", s.it_mw), ("facility", s.facility_mw))]
    table = ("quarter from", "IT MW", "facility MW", "racks", "chips"), [(s.day, s.it_mw, s.facility_mw, s.racks, s.chips) for s in answer.ramp]
    return [Section("Power", (), (("Megawatts by quarter", drawing(charts.lines(rows, title="MW"))),), (table,))]


def _sides(answer: DealAnswer) -> list[Section]:
    out = []
    if answer.lab:
        lab = answer.lab
        low, high = (x / 1e12 for x in lab.break_even_tokens_per_month)
        words = [
            f"The commitment leaves the stated margin from {_bn(lab.revenue_needed_usd)} of revenue: {low:,.1f} to {high:,.1f} T tokens a month.",
            f"Against today's volume that is {lab.growth_ratio[0]:,.0f}x to {lab.growth_ratio[1]:,.0f}x, "
            f"{lab.growth_per_year_frac[0]:.0%} to {lab.growth_per_year_frac[1]:.0%} a year; at today's volume the price would have to be "
            f"{lab.price_needed_usd_per_mtok[0]:,.0f} to {lab.price_needed_usd_per_mtok[1]:,.0f} $/Mtok.",
        ]
        if lab.runway_months is not None:
            words.append(f"Cash and equity last {lab.runway_months:,.1f} months at today's burn.")
        words += [f"{who} gets {share:.2%} at a post-money value of {_bn(post)}." for who, (share, post) in lab.stakes.items()]
        months = runway_by_month(answer.deal)
        left = [{"when": day, "what": "cash left", "value": usd / 1e9} for day, usd in months]
        figures = (("Runway: cash and equity less today's burn, B$", drawing(charts.lines(left, title="B$"))),) if left else ()
        out.append(Section("The buyer", tuple(words), figures))
    if answer.provider:
        out.append(_provider(answer))
    if answer.supplier and answer.supplier.returned_ratio:
        low_r, base, high_r = answer.supplier.returned_ratio
        risk = [(share, usd / 1e9) for share, usd in answer.supplier.at_risk_usd.items()]
        words = [f"{_bn(answer.supplier.hardware_usd)} of chips: {low_r:.2f}, {base:.2f} or {high_r:.2f} times its investment."]
        out.append(Section("The chip maker", tuple(words), tables=((("work moved to other silicon", "revenue lost, B$"), risk),)))
    return out


def _provider(answer: DealAnswer) -> Section:
    view = answer.provider
    assert view is not None
    words = [
        f"{view.chips:,.0f} chips in {view.racks:,.0f} racks, {view.it_gw:.3f} GW of IT; capital cost {_bn(view.capex_usd)}.",
        f"Gross margin {view.gross_margin_frac:.1%} by accounts, {view.margin_after_capital_frac:.1%} after cost of capital.",
    ]
    if view.facilities and view.gigawatt_facilities:
        words.append(
            f"60 to 70 % of the revenue pays for {view.facilities[0]:.1f} to {view.facilities[1]:.1f} facilities of the stated price; "
            f"a gigawatt is {view.gigawatt_facilities[0]:.0f} to {view.gigawatt_facilities[1]:.0f}. That facility: {view.facility_words}."
        )
    price = answer.projection.drivers["usd_per_chip_hour"]
    layers = margin_stack(price, mtok_per_chip_hour=1.0, rent_usd_per_chip_hour=price, rack=answer.deal.rack(), sold_frac=1.0)
    layers.pop("lab gross margin")
    made = price_steps(price, [Step(name, usd) for name, usd in layers.items() if name != "cloud's margin after capital"])
    return Section("The provider", tuple(words), (("From the price of a chip-hour to what is left, $", drawing(steps_chart(made, gain=True))),))


def _uncertain(answer: DealAnswer) -> list[Section]:
    spread = answer.uncertainty
    if spread is None:
        return []
    rows = [(*scaled(name, s), f"{s.negative_frac:.0%}", spread.tornado[name][0].driver) for name, s in spread.outcomes.items()]
    figures = []
    if spread.margin_fan:
        figures.append(("The buyer's gross margin, p10 to p90", drawing(charts.fan(spread.margin_fan, title="gross margin"))))
    key = next((name for name in spread.tornado if "infrastructure" in name), next(iter(spread.tornado)))
    figures.append((f"What matters: {key}", drawing(charts.tornado(spread.tornado[key], title="B$"))))
    words = (f"{spread.draws} draws with seed {spread.seed}; the same seed gives the same numbers.",)
    return [Section("Ranges", words, tuple(figures), ((("outcome", "p10", "p50", "p90", "below 0", "what matters most"), rows),))]


def _leaving(answer: DealAnswer) -> list[Section]:
    """Return from which gain leaving pays, around what the commitments spend a year."""
    yearly = answer.circularity.committed_usd / answer.deal.years
    if yearly <= 0:
        return []
    points = surface([round(yearly * f, -6) for f in (0.05, 0.1, 0.25, 0.5, 1.0)], (10e6, 25e6, 50e6), (3.0, 5.0))
    words = (
        "The gain in performance per dollar from which moving a model to other silicon pays, by what it spends a year (a share of the "
        "commitment's), the cost of the port and the years it must pay in; closed form, with the base terms of `polysilicon lockin`.",
    )
    return [Section("When leaving pays", words, (("Break-even gain", drawing(charts.heat_map(points))),))]


def _scenarios(answer: DealAnswer) -> Section:
    keys = list(next(iter(answer.scenarios.values())))
    rows = [(name, *(row[k] / (1 if k == "lab margin" else 1e9) for k in keys)) for name, row in answer.scenarios.items()]
    return Section("Scenarios", ("Net present value with what each owns, B$; the margin as a share.",), tables=((("scenario", *keys), rows),))


def _fine_print(answer: DealAnswer) -> Section:
    deal = answer.deal
    rows = [(leg.id, leg.status, leg.as_of, leg.source) for leg in deal.equity]
    rows += [(c.contract.id, c.status, c.as_of, c.source) for c in deal.commitments]
    rows += [(o.id, o.status, "", o.source) for o in deal.options]
    drivers = [(d.name, d.low, d.base, d.high, d.shape, d.source) for d in deal.drivers]
    tables_ = ((("leg", "status", "as of", "source"), rows), (("driver", "low", "base", "high", "shape", "source"), drivers))
    words = [f"{o.option} is used in {o.exercised_frac:.0%} of price paths; worth {_bn(o.worth_usd)} today." for o in answer.options]
    return Section("What it rests on", (*deal.notes, *(f"{w}." for w in answer.entanglements), *words), tables=tables_)
