"""The page of a deal, and its diligence pack."""

from __future__ import annotations

from polysilicon.economics.deal_report import DealAnswer
from polysilicon.economics.diligence import tables
from polysilicon.economics.flows import matrix
from polysilicon.economics.tokens import margin_stack
from polysilicon.report import money_charts as charts
from polysilicon.report.charts import steps as steps_chart
from polysilicon.report.figures import Step, price_steps
from polysilicon.report.sheet import Section, drawing, sankey, sheet


def page(answer: DealAnswer) -> str:
    """Return a deal as one HTML page that loads nothing."""
    circle = answer.circularity
    facts = [
        (view.party, "-" if view.irr_with_values_frac is None else f"{view.irr_with_values_frac:.1%} a year", view.verdict) for view in answer.parties
    ]
    if circle.kappa_ratio is not None:
        facts.append(("equity over spend", f"{circle.kappa_ratio:.0%}", f"outside money needed {_bn(circle.outside_need_usd)}"))
    sections = [_money(answer), *_sides(answer), *_uncertain(answer), _scenarios(answer), _fine_print(answer)]
    return sheet(
        answer.deal.name,
        over=f"Deal as of {answer.deal.as_of}, {answer.scenario or 'base'} case",
        lead=answer.deal.description.strip(),
        facts=facts,
        sections=sections,
    )


def diligence(answer: DealAnswer) -> str:
    """Return the diligence pack as a page: concentration, related parties, commitments."""
    sections = [Section(title, tables=((heads, rows),)) for title, (heads, rows) in tables(answer).items()]
    return sheet(f"Diligence: {answer.deal.name}", over=f"As of {answer.deal.as_of}", sections=sections)


def _bn(usd: float) -> str:
    return f"{usd / 1e9:,.3g} B$"


def _money(answer: DealAnswer) -> Section:
    circle = answer.circularity
    bands = [(a, b, usd / 1e9) for (a, b), usd in matrix(answer.projection.flows).items() if usd > 0]
    words = [f"Gross {_bn(circle.gross_usd)} in both directions, net {_bn(circle.net_usd)} out of the buyer."]
    words += [f"Circle: {' to '.join([*c.parties, c.parties[0]])}, at most {_bn(c.usd)}." for c in circle.circles]
    words += [f"{party} gets back {ratio:.2f} times what it invested." for party, ratio in circle.round_trip_ratio.items()]
    heads = ("party", "in B$", "out B$", "net B$", "NPV B$", "NPV with what it owns B$", "IRR", "IRR with what it owns", "verdict")
    rows = [
        (
            v.party,
            sum(v.in_usd.values()) / 1e9,
            sum(v.out_usd.values()) / 1e9,
            v.net_usd / 1e9,
            v.npv_usd / 1e9,
            v.npv_with_values_usd / 1e9,
            _share(v.irr_frac),
            _share(v.irr_with_values_frac),
            v.verdict,
        )
        for v in answer.parties
    ]
    figures = [("Who pays whom, B$ over the term", sankey(bands, unit="B$"))] if bands else []
    drawn = _burn(answer)
    if drawn:
        figures.append(("Commitments due and billed", drawing(charts.burn_down(drawn))))
    return Section("Money", tuple(words), tuple(figures), ((heads, rows),))


def _burn(answer: DealAnswer) -> list[dict[str, object]]:
    billed = planned = 0.0
    rows: list[dict[str, object]] = []
    for p in answer.projection.periods:
        billed += p.billed_usd
        planned += p.planned_usd
        rows += [{"when": p.end, "what": "billed", "usd": billed}, {"when": p.end, "what": "planned", "usd": planned}]
    return rows if billed or planned else []


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _sides(answer: DealAnswer) -> list[Section]:
    out = []
    if answer.lab:
        low, high = (x / 1e12 for x in answer.lab.break_even_tokens_per_month)
        out.append(
            Section(
                "The buyer",
                (
                    f"The commitment leaves the stated margin from {_bn(answer.lab.revenue_needed_usd)} of revenue: "
                    f"{low:,.1f} to {high:,.1f} T tokens a month.",
                    f"Against today's volume that is {answer.lab.growth_ratio[0]:,.0f}x to {answer.lab.growth_ratio[1]:,.0f}x.",
                ),
            )
        )
    if answer.provider:
        view = answer.provider
        words = [
            f"{view.chips:,.0f} chips in {view.racks:,.0f} racks, {view.it_gw:.3f} GW of IT; capital cost {_bn(view.capex_usd)}.",
            f"Gross margin {view.gross_margin_frac:.1%} by accounts, {view.margin_after_capital_frac:.1%} after cost of capital.",
        ]
        price = answer.projection.drivers["usd_per_chip_hour"]
        layers = margin_stack(price, mtok_per_chip_hour=1.0, rent_usd_per_chip_hour=price, rack=answer.deal.rack(), sold_frac=1.0)
        layers.pop("lab gross margin")
        steps = price_steps(price, [Step(name, usd) for name, usd in layers.items() if name != "cloud's margin after capital"])
        out.append(
            Section(
                "The provider",
                tuple(words),
                (("From the price of a chip-hour to what is left, $", drawing(steps_chart(steps, gain=True))),),
            )
        )
    if answer.supplier and answer.supplier.returned_ratio:
        low_r, base, high_r = answer.supplier.returned_ratio
        risk = [(share, usd / 1e9) for share, usd in answer.supplier.at_risk_usd.items()]
        words = [f"{_bn(answer.supplier.hardware_usd)} of chips: {low_r:.2f}, {base:.2f} or {high_r:.2f} times its investment."]
        out.append(Section("The chip maker", tuple(words), tables=((("work moved to other silicon", "revenue lost, B$"), risk),)))
    return out


def _uncertain(answer: DealAnswer) -> list[Section]:
    spread = answer.uncertainty
    if spread is None:
        return []
    rows = [(name, s.p10, s.p50, s.p90, f"{s.negative_frac:.0%}", spread.tornado[name][0].driver) for name, s in spread.outcomes.items()]
    figures = []
    if spread.margin_fan:
        figures.append(("The buyer's gross margin, p10 to p90", drawing(charts.fan(spread.margin_fan, title="gross margin"))))
    key = next((name for name in spread.tornado if "infrastructure" in name), next(iter(spread.tornado)))
    figures.append((f"What matters: {key}", drawing(charts.tornado(spread.tornado[key], title="B$"))))
    words = (f"{spread.draws} draws with seed {spread.seed}; the same seed gives the same numbers.",)
    return [Section("Ranges", words, tuple(figures), ((("outcome", "p10", "p50", "p90", "below 0", "what matters most"), rows),))]


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
    return Section("What it rests on", (*deal.notes, *(f"{w}." for w in answer.entanglements)), tables=tables_)
