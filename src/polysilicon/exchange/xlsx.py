"""Workbooks whose numbers live: named assumptions, formulas over them, and the engine's values cached in every cell.

Opened anywhere the cached values show at once; recalculated they come out the same to the cent, because each formula is the
engine's own. What a sheet cannot redo (random draws, bills of contracts with volume tiers) stands as a value and says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polysilicon.economics.cost import Rack, chip_hour
from polysilicon.economics.deal_report import DealAnswer
from polysilicon.economics.tokens import UnitRow
from polysilicon.errors import InputError
from polysilicon.portfolio import hhi

MONEY, NUMBER, SHARE = "#,##0.00;[Red]-#,##0.00", "#,##0.####", "0.0%"


@dataclass
class Book:
    """A workbook in memory, with formats and defined names."""

    buffer: io.BytesIO = field(default_factory=io.BytesIO)
    workbook: Any = None
    formats: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the workbook."""
        import xlsxwriter

        self.workbook = xlsxwriter.Workbook(self.buffer, {"in_memory": True, "default_date_format": "yyyy-mm-dd"})
        self.formats = {name: self.workbook.add_format({"num_format": name}) for name in (MONEY, NUMBER, SHARE)}
        self.formats["head"] = self.workbook.add_format({"bold": True, "bottom": 1, "text_wrap": True})
        self.formats["input"] = self.workbook.add_format({"num_format": NUMBER, "font_color": "#0b5394"})
        self.formats["bold"] = self.workbook.add_format({"bold": True})

    def sheet(self, name: str, heads: Sequence[str], widths: Sequence[int] = ()) -> Any:
        """Add a sheet with a head row."""
        sheet = self.workbook.add_worksheet(name)
        for column, head in enumerate(heads):
            sheet.write(0, column, head, self.formats["head"])
            sheet.set_column(column, column, widths[column] if column < len(widths) else 18)
        sheet.freeze_panes(1, 0)
        return sheet

    def formula(self, sheet: Any, row: int, column: int, text: str, value: float | str | None, form: str = MONEY) -> None:
        """Write a formula with the engine's value cached; an undefined value is cached as text."""
        sheet.write_formula(row, column, text, self.formats[form], "" if value is None else value)

    def name(self, name: str, sheet: str, row: int, column: int) -> None:
        """Give a cell a name."""
        letter = chr(ord("A") + column)
        self.workbook.define_name(name, f"='{sheet}'!${letter}${row + 1}")

    def done(self) -> bytes:
        """Close the workbook and return its bytes."""
        self.workbook.close()
        return self.buffer.getvalue()


def letter(column: int) -> str:
    """Return a column's letters.

    >>> letter(0), letter(27)
    ('A', 'AB')
    """
    return chr(ord("A") + column) if column < 26 else letter(column // 26 - 1) + letter(column % 26)


def deal_workbook(answer: DealAnswer) -> bytes:
    """Return a deal as a workbook: assumptions, periods, provider, parties, flows, circularity, ranges, checks."""
    book = Book()
    _cover(book, answer)
    _assumptions(book, answer)
    _periods(book, answer)
    if answer.provider:
        _provider(book, answer)
    _parties(book, answer)
    _flows(book, answer)
    _circularity(book, answer)
    _ranges(book, answer)
    return book.done()


def _cover(book: Book, answer: DealAnswer) -> None:
    sheet = book.workbook.add_worksheet("Read me")
    sheet.set_column(0, 0, 110)
    lines = [
        answer.deal.name,
        answer.deal.description.strip(),
        f"As of {answer.deal.as_of}; start {answer.deal.start}; scenario {answer.scenario or 'base'}.",
        "Blue cells on the sheet Assumptions are inputs; every other figure follows from them by the formulas you see.",
        "The sheet Ranges holds results of random draws: values, not formulas. Cash and accounting figures are labelled.",
        *answer.deal.notes,
    ]
    for row, line in enumerate(lines):
        sheet.write(row, 0, line, book.formats["bold"] if row == 0 else None)


def _inputs(answer: DealAnswer) -> list[tuple[str, float, str, str]]:
    """Return (name, value, unit, source) of every assumption."""
    deal, at, rack = answer.deal, answer.projection.drivers, answer.deal.rack()
    rows: list[tuple[str, float, str, str]] = [
        ("discount_frac", deal.discount_per_year_frac, "a year", "deal file"),
        ("years", float(deal.years), "years", "deal file"),
        ("periods_per_year", 1.0 if deal.step == "year" else 4.0, "1", "deal file"),
        ("commit_usd", answer.circularity.committed_usd, "$", "deal file, binding commitments"),
    ]
    rows += [(f"driver_{name}", value, name.rsplit("_", 1)[-1], "deal file, driver") for name, value in at.items()]
    rows += [
        (f"equity_{i + 1}_usd", leg.usd, "$", f"{leg.id}: {leg.payer} into {leg.payee}. {leg.source}") for i, leg in enumerate(deal.binding_equity())
    ]
    if deal.lab:
        rows.append(("lab_margin_frac", deal.lab.gross_margin_frac, "1", deal.lab.source))
        rows += [
            (f"price_{end}_usd_per_mtok", value, "$/Mtok", deal.lab.source)
            for end, value in zip(("low", "high"), sorted(deal.lab.usd_per_mtok), strict=True)
        ]
    if deal.provider:
        rows += [(f"rack_{name}", float(getattr(rack, name)), name.rsplit("_", 1)[-1], deal.provider.source) for name in _RACK]
        rows += [(f"capex_year_{i + 1}_frac", share, "1", "deal file") for i, share in enumerate(deal.provider.capex_frac_by_year)]
        rows.append(("supplier_margin_frac", deal.provider.supplier_gross_margin_frac, "1", deal.provider.source))
    return rows


_RACK = (
    "rack_usd",
    "network_usd",
    "site_usd",
    "chips",
    "rack_kw",
    "pue",
    "ppa_frac",
    "ppa_usd_per_mwh",
    "carbon_kg_per_mwh",
    "carbon_usd_per_tonnes",
    "staff_usd",
    "opex_frac",
    "capital_frac",
    "it_years",
    "site_years",
    "resale_frac",
)


def _assumptions(book: Book, answer: DealAnswer) -> None:
    sheet = book.sheet("Assumptions", ["name", "value", "unit", "source"], [32, 18, 12, 90])
    for row, (name, value, unit, source) in enumerate(_inputs(answer), 1):
        sheet.write(row, 0, name)
        sheet.write_number(row, 1, value, book.formats["input"])
        sheet.write(row, 2, unit)
        sheet.write(row, 3, source)
        book.name(name, "Assumptions", row, 1)


def _periods(book: Book, answer: DealAnswer) -> None:
    heads = [
        "start",
        "end",
        "planned $",
        "capacity $",
        "age, years",
        "due by end $ (0: no milestone)",
        "used $",
        "shortfall $",
        "covered $",
        "billed $",
        "served $ at plan",
        "sales $",
        "lab gross margin",
    ]
    sheet = book.sheet("Periods", heads)
    figures = answer.projection.periods
    capacity, due, shows = _capacity_and_due(answer)
    covered = 0.0
    for i, p in enumerate(figures):
        row, r = i + 1, i + 2
        age = i / (1 if answer.deal.step == "year" else 4)
        for column, day in enumerate((p.start, p.end)):
            sheet.write(row, column, day)
        for column, value in ((2, p.planned_usd), (3, capacity[i]), (4, age), (5, due[i])):
            sheet.write_number(row, column, value, book.formats["input"])
        need = f"C{r}*(1+driver_demand_growth_frac)^E{r}*(1-driver_efficiency_gain_frac)^E{r}"
        book.formula(sheet, row, 6, f"=MIN({need},D{r})", p.used_usd)
        before = f"I{r - 1}" if i else "0"
        if shows:
            book.formula(sheet, row, 7, f"=IF(F{r}=0,0,MAX(0,F{r}-{before}-G{r}))", p.shortfall_usd)
            book.formula(sheet, row, 9, f"=G{r}+H{r}", p.billed_usd)
        else:
            sheet.write_number(row, 7, p.shortfall_usd, book.formats["input"])
            sheet.write_number(row, 9, p.billed_usd, book.formats["input"])
        covered += p.used_usd + p.shortfall_usd
        book.formula(sheet, row, 8, f"={before}+G{r}+H{r}", covered)
        served = p.planned_usd * (1 + answer.projection.drivers["demand_growth_frac"]) ** age * _ratio(answer, p, age)
        book.formula(sheet, row, 10, f"=IF({need}=0,0,C{r}*(1+driver_demand_growth_frac)^E{r}*G{r}/({need}))", served)
        if answer.deal.lab:
            book.formula(sheet, row, 11, f"=K{r}*(1-driver_price_decay_frac)^E{r}/(1-lab_margin_frac)", p.sales_usd)
            book.formula(sheet, row, 12, f"=IF(L{r}=0,0,1-J{r}/L{r})", p.lab_margin_frac or 0.0, SHARE)
    last = len(figures) + 1
    sheet.write(last, 0, "total", book.formats["bold"])
    for column, name in ((2, "planned_usd"), (6, "used_usd"), (7, "shortfall_usd"), (9, "billed_usd"), (11, "sales_usd")):
        book.formula(sheet, last, column, f"=SUM({letter(column)}2:{letter(column)}{last})", sum(getattr(p, name) for p in figures))


def _ratio(answer: DealAnswer, p: Any, age: float) -> float:
    at = answer.projection.drivers
    need = p.planned_usd * (1 + at["demand_growth_frac"]) ** age * (1 - at["efficiency_gain_frac"]) ** age
    return p.used_usd / need if need > 0 else 0.0


def _capacity_and_due(answer: DealAnswer) -> tuple[list[float], list[float], bool]:
    """Return delivered capacity and cumulative dollars due by period, and whether bills follow from them by simple formulas."""
    from polysilicon.economics.deal import contract_of
    from polysilicon.economics.projection import _later, periods_of, usage_plan

    periods = periods_of(answer.deal)
    slip = answer.projection.drivers["slip_months"]
    capacity, due = [0.0] * len(periods), [0.0] * len(periods)
    binding = answer.deal.binding_commitments()
    simple = len(binding) == 1
    for commitment in binding:
        for i, usd in enumerate(usage_plan(answer.deal, commitment, periods, slip)):
            capacity[i] += usd
        contract = contract_of(commitment.contract, answer.deal.rack())
        if commitment.late_capacity_moves_milestones and slip:
            contract = _later(contract, slip)
        reached = [0.0] * len(periods)
        for index, usd in contract.milestones(periods):
            reached[index] = max(reached[index], usd)  # cumulative: of two in one period the later counts
        due = [a + b for a, b in zip(due, reached, strict=True)]
        simple = simple and contract.kind == "committed_spend" and contract.rollover and not contract.discount_tiers and not contract.holds_chips
    return capacity, due, simple


def _provider(book: Book, answer: DealAnswer) -> None:
    sheet = book.sheet("Provider", ["figure", "value", "unit", "what it is"], [34, 20, 16, 80])
    rack, projection, view = answer.deal.rack(), answer.projection, answer.provider
    assert view is not None
    cost = chip_hour(
        Rack(**{**{n: getattr(rack, n) for n in Rack.__dataclass_fields__}, "energy_usd_per_mwh": projection.drivers["energy_usd_per_mwh"]})
    )
    it, site = "(rack_rack_usd+rack_network_usd)", "rack_site_usd"
    energy = "(rack_ppa_frac*rack_ppa_usd_per_mwh+(1-rack_ppa_frac)*driver_energy_usd_per_mwh)"
    mwh = "rack_rack_kw/1000*rack_pue*8760"
    cash = f"({mwh}*({energy}+rack_carbon_kg_per_mwh/1000*rack_carbon_usd_per_tonnes)+rack_opex_frac*({it}+{site})+rack_staff_usd)/(rack_chips*8760)"
    accounting = f"cash_usd_per_chip_hour+({it}*(1-rack_resale_frac)/rack_it_years+{site}/rack_site_years)/(rack_chips*8760)"
    price = projection.drivers["usd_per_chip_hour"]
    rows = [
        (
            "chips",
            "=commit_usd/(driver_usd_per_chip_hour*8760*years)",
            projection.chips,
            "chips",
            "chips that the commitment rents for the whole term",
            NUMBER,
        ),
        ("racks", "=chips/rack_chips", projection.racks, "racks", "", NUMBER),
        ("capex_usd", f"=racks*({it}+{site})", projection.capex_usd, "$", "with the building", MONEY),
        ("it_gw", "=racks*rack_rack_kw/1000000", view.it_gw, "GW", "IT power", NUMBER),
        ("cash_usd_per_chip_hour", f"={cash}", cost.cash_usd, "$/chip-h", "power, carbon, upkeep, staff", NUMBER),
        ("accounting_usd_per_chip_hour", f"={accounting}", cost.accounting_usd, "$/chip-h", "straight-line, no cost of capital", NUMBER),
        (
            "gross_margin_frac",
            "=1-accounting_usd_per_chip_hour/driver_usd_per_chip_hour",
            1 - cost.accounting_usd / price,
            "1",
            "accounting gross margin",
            SHARE,
        ),
        (
            "hardware_usd",
            "=capex_usd*driver_supplier_take_frac",
            projection.capex_usd * projection.drivers["supplier_take_frac"],
            "$",
            "to the chip maker",
            MONEY,
        ),
    ]
    for row, (name, formula, value, unit, words, form) in enumerate(rows, 1):
        sheet.write(row, 0, name)
        book.formula(sheet, row, 1, formula, value, form)
        sheet.write(row, 2, unit)
        sheet.write(row, 3, words)
        book.name(name, "Provider", row, 1)


def _parties(book: Book, answer: DealAnswer) -> None:
    """Write dated net cash of every party, with present value and rate of return as formulas."""
    parties = [view.party for view in answer.parties]
    dates = sorted({f.after_years for f in answer.projection.flows} | {t for _, t, _, _ in answer.projection.values})
    sheet = book.sheet("Parties", ["after years", *parties, *[f"{p}, with what it owns" for p in parties], "sum over all, outside included"])
    count = len(dates)
    for i, t in enumerate(dates):
        sheet.write_number(i + 1, 0, t, book.formats[NUMBER])
        for k, party in enumerate(parties):
            cash = sum(usd for when, usd in answer.projection.net(party) if when == t)
            owned = sum(usd for owner, when, usd, _ in answer.projection.values if owner == party and when == t)
            flow = f'=SUMIFS(Flows!$F:$F,Flows!$B:$B,"{party}",Flows!$E:$E,$A{i + 2})-SUMIFS(Flows!$F:$F,Flows!$A:$A,"{party}",Flows!$E:$E,$A{i + 2})'
            book.formula(sheet, i + 1, 1 + k, flow, cash)
            own = f'={letter(1 + k)}{i + 2}+SUMIFS(Flows!$L:$L,Flows!$I:$I,"{party}",Flows!$K:$K,$A{i + 2})'
            book.formula(sheet, i + 1, 1 + len(parties) + k, own, cash + owned)
    for offset, label, form in ((2, "net present value", MONEY), (3, "internal rate of return", SHARE)):
        sheet.write(count + offset - 1, 0, label, book.formats["bold"])
        for k, view in enumerate((*answer.parties, *answer.parties)):
            column = letter(1 + k)
            cells, times = f"{column}2:{column}{count + 1}", f"$A$2:$A${count + 1}"
            owns = k >= len(parties)
            if offset == 2:
                value = view.npv_with_values_usd if owns else view.npv_usd
                book.formula(sheet, count + 1, 1 + k, f"=SUMPRODUCT({cells},(1+discount_frac)^(-{times}))", value, form)
            else:
                rate = view.irr_with_values_frac if owns else view.irr_frac
                _rate(book, sheet, count + 2, 1 + k, cells, dates, rate)


def _rate(book: Book, sheet: Any, row: int, column: int, cells: str, dates: Sequence[float], rate: float | None) -> None:
    """Write a rate of return: a formula where the dates are whole steps from the start, else the engine's value."""
    whole = all(abs(t - i) < 1e-9 for i, t in enumerate(dates))
    if rate is None:
        sheet.write(row, column, "none")
    elif whole:
        book.formula(sheet, row, column, f"=IRR({cells},{rate:.4f})", rate, SHARE)
    else:
        sheet.write_number(row, column, rate, book.formats[SHARE])


def _flows(book: Book, answer: DealAnswer) -> None:
    heads = ["payer", "payee", "kind", "leg", "after years", "$", "", "", "owner", "what it owns at the end", "after years", "$"]
    sheet = book.sheet("Flows", heads)
    for row, f in enumerate(answer.projection.flows, 1):
        for column, words in enumerate((f.payer, f.payee, f.kind, f.leg)):
            sheet.write(row, column, words)
        sheet.write_number(row, 4, f.after_years, book.formats[NUMBER])
        sheet.write_number(row, 5, f.usd, book.formats[MONEY])
    for row, (owner, t, usd, what) in enumerate(answer.projection.values, 1):
        sheet.write(row, 8, owner)
        sheet.write(row, 9, what)
        sheet.write_number(row, 10, t, book.formats[NUMBER])
        sheet.write_number(row, 11, usd, book.formats[MONEY])


def _circularity(book: Book, answer: DealAnswer) -> None:
    circle = answer.circularity
    sheet = book.sheet("Circularity", ["figure", "value", "what it is"], [34, 22, 90])
    equity = "+".join(f"equity_{i + 1}_usd" for i in range(len(answer.deal.binding_equity()))) or "0"
    sheet.write(1, 0, "equity in")
    book.formula(sheet, 1, 1, f"={equity}", sum(leg.usd for leg in answer.deal.binding_equity()))
    sheet.write(2, 0, "gross, both directions")
    book.formula(sheet, 2, 1, "=commit_usd+B2", circle.gross_usd)
    sheet.write(3, 0, "net out of the buyer")
    book.formula(sheet, 3, 1, "=commit_usd-B2", circle.net_usd)
    sheet.write(4, 0, "equity over spend")
    book.formula(sheet, 4, 1, "=IF(commit_usd=0,0,B2/commit_usd)", circle.kappa_ratio or 0.0, SHARE)
    sheet.write(5, 0, "net over all parties, must be 0")
    parties = sorted({f.payer for f in answer.projection.flows} | {f.payee for f in answer.projection.flows})
    book.formula(sheet, 5, 1, "=" + "+".join(f'SUMIFS(Flows!F:F,Flows!B:B,"{p}")-SUMIFS(Flows!F:F,Flows!A:A,"{p}")' for p in parties), 0.0)
    for row, words in enumerate((*(" -> ".join([*c.parties, c.parties[0]]) for c in circle.circles), *answer.entanglements), 7):
        sheet.write(row, 0, words)


def _ranges(book: Book, answer: DealAnswer) -> None:
    sheet = book.sheet("Ranges", ["outcome", "p10", "p50", "p90", "share below 0", "what matters most"], [60, 22, 22, 22, 14, 30])
    if answer.uncertainty is None:
        return
    for row, (name, s) in enumerate(answer.uncertainty.outcomes.items(), 1):
        sheet.write(row, 0, name)
        for column, value in enumerate((s.p10, s.p50, s.p90), 1):
            sheet.write_number(row, column, value, book.formats[NUMBER])
        sheet.write_number(row, 4, s.negative_frac, book.formats[SHARE])
        sheet.write(row, 5, answer.uncertainty.tornado[name][0].driver)


def unit_workbook(rows: Iterable[UnitRow]) -> bytes:
    """Return the unit economics of applications: margin per million tokens, live.

    Raises: InputError without rows.
    """
    chosen = list(rows)
    if not chosen:
        raise InputError("a table of unit economics needs rows")
    book = Book()
    heads = [
        "application",
        "model",
        "chip",
        "price $/Mtok",
        "compute $/Mtok",
        "other $/Mtok",
        "margin $/Mtok",
        "gross margin",
        "transfer $/Mtok",
        "application's margin",
    ]
    sheet = book.sheet("Unit economics", heads)
    for i, row in enumerate(chosen):
        r = i + 2
        for column, words in enumerate((row.application, row.model, row.chip)):
            sheet.write(i + 1, column, words)
        for column, value in ((3, row.price_usd_per_mtok), (4, row.cost_usd_per_mtok), (5, row.other_usd_per_mtok), (8, row.transfer_usd_per_mtok)):
            sheet.write_number(i + 1, column, value, book.formats["input"])
        book.formula(sheet, i + 1, 6, f"=D{r}-E{r}-F{r}", row.margin_usd_per_mtok, NUMBER)
        book.formula(sheet, i + 1, 7, f"=IF(D{r}=0,0,G{r}/D{r})", row.margin_frac, SHARE)
        book.formula(sheet, i + 1, 9, f"=IF(D{r}=0,0,1-(I{r}+F{r})/D{r})", row.application_margin_frac, SHARE)
    return book.done()


def cost_workbook(rack: Rack, prices: Sequence[float] = (2.0, 2.5, 3.0, 4.0, 5.0, 6.0)) -> bytes:
    """Return the cost of ownership of a chip-hour, live: assumptions by name, layers, margins by price."""
    book = Book()
    sheet = book.sheet("Assumptions", ["name", "value"], [32, 18])
    for row, name in enumerate(Rack.__dataclass_fields__, 1):
        sheet.write(row, 0, name)
        sheet.write_number(row, 1, float(getattr(rack, name)), book.formats["input"])
        book.name(f"a_{name}", "Assumptions", row, 1)
    cost, hours = chip_hour(rack), "(a_chips*8760*a_sold_frac)"
    it, crf = "(a_rack_usd+a_network_usd)", "a_capital_frac/(1-(1+a_capital_frac)^-{n})"
    mwh = "a_rack_kw/1000*a_pue*8760"
    zero = abs(rack.capital_frac) < 1e-9
    recovery = {n: f"1/{n}" if zero else crf.format(n=n) for n in ("a_it_years", "a_site_years")}
    layers = [
        ("it_usd", f"=({it}-{it}*a_resale_frac*(1+a_capital_frac)^-a_it_years)*{recovery['a_it_years']}/{hours}", cost.it_usd),
        ("site_usd", f"=a_site_usd*{recovery['a_site_years']}/{hours}", cost.site_usd),
        ("power_usd", f"={mwh}*(a_ppa_frac*a_ppa_usd_per_mwh+(1-a_ppa_frac)*a_energy_usd_per_mwh)/{hours}", cost.power_usd),
        ("carbon_usd", f"={mwh}*a_carbon_kg_per_mwh/1000*a_carbon_usd_per_tonnes/{hours}", cost.carbon_usd),
        ("opex_usd", f"=a_opex_frac*({it}+a_site_usd)/{hours}", cost.opex_usd),
        ("staff_usd", f"=a_staff_usd/{hours}", cost.staff_usd),
    ]
    out = book.sheet("Cost", ["layer, $ per sold chip-hour", "value"], [40, 18])
    for row, (name, formula, value) in enumerate(layers, 1):
        out.write(row, 0, name)
        book.formula(out, row, 1, formula, value, NUMBER)
    out.write(7, 0, "total_usd", book.formats["bold"])
    book.formula(out, 7, 1, "=SUM(B2:B7)", cost.total_usd, NUMBER)
    out.write(8, 0, "full_usd (every hour taken)")
    book.formula(out, 8, 1, "=B8*a_sold_frac", cost.full_usd, NUMBER)
    out.write(9, 0, "accounting_usd (every hour taken)")
    written = f"({it}*(1-a_resale_frac)/a_it_years+a_site_usd/a_site_years)/(a_chips*8760)"
    book.formula(out, 9, 1, f"=SUM(B4:B7)*a_sold_frac+{written}", cost.accounting_usd, NUMBER)
    table = book.sheet("Margins", ["price $/chip-h", "accounting gross margin", "margin after cost of capital", "profit over cost"])
    for row, price in enumerate(prices, 1):
        table.write_number(row, 0, price, book.formats["input"])
        book.formula(table, row, 1, f"=1-Cost!$B$10/A{row + 1}", 1 - cost.accounting_usd / price, SHARE)
        book.formula(table, row, 2, f"=1-Cost!$B$9/A{row + 1}", 1 - cost.full_usd / price, SHARE)
        book.formula(table, row, 3, f"=A{row + 1}/Cost!$B$10-1", price / cost.accounting_usd - 1, SHARE)
    return book.done()


def diligence_workbook(tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[object]]]]) -> bytes:
    """Return a diligence pack as a workbook: a sheet a table, shares as live formulas where a column is dollars."""
    book = Book()
    for title, (heads, rows) in tables.items():
        dollars = [i for i, head in enumerate(heads) if head.endswith("$")]
        shares = [f"share of {heads[i]}" for i in dollars]
        sheet = book.sheet(title[:31], [*heads, *shares], [28] * len(heads))
        for r, row in enumerate(rows, 1):
            for column, value in enumerate(row):
                if isinstance(value, (int, float)):
                    sheet.write_number(r, column, value, book.formats[MONEY if column in dollars else NUMBER])
                else:
                    sheet.write(r, column, str(value))
            for k, column in enumerate(dollars):
                total = sum(float(str(other[column])) for other in rows)
                cells = f"{letter(column)}$2:{letter(column)}${len(rows) + 1}"
                share = float(str(row[column])) / total if total else 0.0
                book.formula(sheet, r, len(heads) + k, f"=IF(SUM({cells})=0,0,{letter(column)}{r + 1}/SUM({cells}))", share, SHARE)
        for k, column in enumerate(dollars):
            amounts = [float(str(row[column])) for row in rows]
            if title.startswith("Concentration") and amounts and sum(amounts) > 0 and min(amounts) >= 0:
                at = len(rows) + 2
                sheet.write(at, len(heads) + k - 1, "HHI", book.formats["bold"])
                cells = f"{letter(len(heads) + k)}2:{letter(len(heads) + k)}{len(rows) + 1}"
                book.formula(sheet, at, len(heads) + k, f"=SUMSQ({cells})", hhi(amounts), NUMBER)
    return book.done()
