"""The numbers of a report, each from the plan and nothing else: totals, tables, shares, margins.

Dollars are undiscounted unless a name says otherwise. Priced misses (`unserved_usd`) are a penalty, not a bill: they are
shown apart and never added to the cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from polysilicon.economics import kpi
from polysilicon.portfolio import Holding, Placement, Plan, ShadowPrice
from polysilicon.portfolio import concentration as of_plan
from polysilicon.report.evidence import Evidence, WorkloadEvidence
from polysilicon.report.names import proper
from polysilicon.units import HOURS_PER_YEAR

Form = Literal[
    "text", "usd", "usd_per_mtok", "usd_per_hour", "number", "whole", "frac", "index", "seconds", "kwh", "kg", "kw", "mtok", "date", "name"
]  # fmt: skip
Cell = str | float | int | None
SMALL_FRAC = 5e-4
HELD_NOTE = "Chips hired by the hour: the mean; their peak is what one needs quota for. List or signed prices, before discounts and shortfalls."


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its key in JSON and Parquet, its heading, how its cells are written."""

    key: str
    label: str
    form: Form = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw numbers with what is needed to print them; the same rows go to HTML, Markdown, JSON and Parquet."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def records(self) -> list[dict[str, Cell]]:
        """Return the rows as records."""
        keys = [column.key for column in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.rows]


def _columns(*words: str) -> tuple[Column, ...]:
    """Return columns written as `key | heading | form`."""
    return tuple(Column(*(part.strip() for part in word.split("|"))) for word in words)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a waterfall."""

    layer: str
    usd: float
    total: bool = False  # a level, not a step


def years(plan: Plan) -> float:
    """Return the length of the horizon."""
    return sum(period.hours for period in plan.periods) / HOURS_PER_YEAR


def total_usd(plan: Plan) -> float:
    """Return what is paid over the horizon: bills, energy and ports, undiscounted."""
    return plan.bill_usd + plan.energy_usd + plan.port_usd


def mtok(plan: Plan) -> float:
    """Return million tokens served over the horizon, in and out together."""
    return sum(placement.mtok for placement in plan.placements)


def mtok_out(evidence: Evidence) -> float:
    """Return million output tokens served, by each workload's lengths; 0 where no workload is known."""
    share = {w.id: _out_frac(w) for w in evidence.workloads}
    return sum(p.mtok * share.get(p.workload, 0.0) for p in evidence.plan.placements)


def _out_frac(workload: WorkloadEvidence) -> float:
    return workload.lengths.osl_tokens / (workload.lengths.isl_tokens + workload.lengths.osl_tokens)


def label(chip: str, cloud: str, pool: str = "") -> str:
    """Name a place the way a person does: chip and cloud, or the offer that sells tokens.

    >>> label("gb200", "azure"), label("", "openai", "openai-gpt-5"), label("gb200", "azure", "gb200@azure/e>h100@gcp/e")
    ('GB200 · Azure', 'tokens · OpenAI', 'GB200 · Azure prefills, H100 · Google Cloud decodes')
    """
    chip_there, _, place = pool.partition(">")[2].partition("@")
    if chip_there:
        return f"{label(chip, cloud)} prefills, {label(chip_there, place.partition('/')[0])} decodes"
    return f"{proper(chip)} · {proper(cloud)}" if chip else f"tokens · {proper(cloud or pool)}"


def given(holding: Holding) -> bool:
    """Return whether chips come with a contract (a lease, megawatts) and are paid by its fixed charge."""
    return holding.offer == holding.contract


def waterfall(plan: Plan, training: Collection[str] = ()) -> tuple[Step, ...]:
    """Return the steps from metered list price to the total; they add up to `total_usd`.

    list price by kind + contract discounts + shortfall + overage + fixed charges + energy + ports = total

    Where training blocks stand in the plan, or with the ids of workloads that train, list price is told by inference and training
    instead of by kind, idle chips in proportion.
    """
    listed: dict[str, float] = defaultdict(float)
    for holding in plan.holdings:
        if not given(holding):
            listed[_listed_name(holding)] += holding.bill_usd
    tokens = sum(p.usd for p in plan.placements if not p.chip)
    moved = sum(p.decode.transfer_usd for p in plan.placements if p.decode is not None)
    steps = [Step(name, usd) for name, usd in sorted(listed.items(), key=lambda item: -item[1])]
    steps.append(Step("Tokens bought", tokens))
    if training or plan.training:
        blocks = sum(b.usd for b in plan.training)
        placed, metered = sum(p.usd for p in plan.placements) + blocks, sum(listed.values()) + tokens
        share = (sum(p.usd for p in plan.placements if p.workload in training) + blocks) / placed if placed > 0 else 0.0
        steps = [Step("Inference", metered * (1 - share)), Step("Training", metered * share)]
    steps.append(Step("KV over wires", moved))
    eligible = sum(bill.eligible_usd for bill in plan.contracts)
    steps.append(Step("Contract discounts", eligible - sum(listed.values()) - tokens - moved))
    steps.append(Step("Commitment shortfall", sum(bill.shortfall_usd for bill in plan.contracts)))
    steps.append(Step("Overage", sum(bill.overage_usd for bill in plan.contracts)))
    steps.append(Step("Fixed charges less rebates", sum(bill.fixed_usd for bill in plan.contracts)))
    steps.append(Step("Energy and carbon", plan.energy_usd))
    steps.append(Step("Ports", plan.port_usd))
    largest = max((abs(step.usd) for step in steps), default=0.0)
    kept = [step for step in steps if abs(step.usd) > 1e-9 * largest]
    return (*kept, Step("Total", total_usd(plan), total=True))


def _listed_name(holding: Holding) -> str:
    if holding.kind == "reserved":
        return f"Reserved at {proper(holding.cloud)}"
    return {"on_demand": "Chips by the hour", "spot": "Spot chips", "quote_only": "Quoted chips"}.get(holding.kind, holding.kind)


def unserved_frac(plan: Plan) -> float:
    """Return the share of all tokens asked for that the plan does not serve, from the shares of its placements."""
    served: dict[tuple[str, int], list[float]] = {}
    for placement in plan.placements:
        sums = served.setdefault((placement.workload, placement.period), [0.0, 0.0])
        sums[0] += placement.share_frac
        sums[1] += placement.mtok
    asked = sum(tokens / min(share, 1.0) for share, tokens in served.values() if share > 0)
    done = sum(tokens for _, tokens in served.values())
    return 1.0 - done / asked if asked > 0 else 0.0


def concentration(evidence: Evidence) -> Table:
    """Return HHI and largest share by chip vendor, cloud and region, of dollars and of tokens."""
    names = {"vendor": "chip vendor"}
    rows = [(names.get(c.by, c.by), c.of, c.hhi, c.top, c.top_frac, c.suppliers) for c in of_plan(evidence.plan, evidence.vendors)]
    columns = _columns(
        "by | By",
        "of | Share of",
        "hhi_frac | HHI | index",
        "top | Largest | name",
        "top_frac | Its share | frac",
        "suppliers | Suppliers | whole",
    )
    note = "HHI is the sum of squared shares: 0.25 is four equal suppliers, 1 a single one."
    known = {p.chip for p in evidence.plan.placements if p.chip} <= evidence.vendors.keys()
    shares = kpi.of_plan(evidence.plan, evidence.vendors) if known else {}
    if "custom_silicon_usd_frac" in shares:
        tokens, usd = shares["custom_silicon_tokens_frac"], shares["custom_silicon_usd_frac"]
        note += f" Of what chips serve, those that clouds make for themselves serve {tokens:.1%} of tokens, for {usd:.1%} of dollars."
    return Table("concentration", "Supplier concentration", columns, tuple(rows), note)


def held(evidence: Evidence) -> Table:
    """Return what is held, by offer: mean chips in the first and last period, most at once, price, dollars a year."""
    plan = evidence.plan
    span = years(plan)
    groups: dict[tuple[str, str, str, str, str], list[Holding]] = defaultdict(list)
    for holding in plan.holdings:
        groups[(holding.offer, holding.chip, holding.cloud, holding.region, holding.kind)].append(holding)
    last = len(plan.periods) - 1
    whole = sum(h.bill_usd for h in plan.holdings) or 1.0
    rows = []
    for (offer, chip, cloud, region, kind), items in groups.items():
        chips = {i: sum(h.chips for h in items if h.period == i) for i in range(last + 1)}
        peak = max(sum(h.peak_chips for h in items if h.period == i) for i in chips)
        usd = sum(h.bill_usd for h in items)
        hours = sum(h.chips * plan.periods[h.period].hours for h in items)
        contract = next((h.contract for h in items if h.contract), "")
        rows.append(
            (
                chip,
                cloud,
                region,
                kind.replace("_", " "),
                chips[0],
                chips[last],
                peak,
                usd / hours if hours else None,
                usd / span,
                usd / whole,
                contract,
                offer,
            )
        )
    rows.sort(key=lambda row: -float(row[8] or 0))
    columns = _columns(
        "chip | Chip | name",
        "cloud | Cloud | name",
        "region | Region",
        "kind | Terms",
        "chips_first | Chips now | whole",
        "chips_last | Chips at end | whole",
        "chips_most | Chips at most | whole",
        "usd_per_chip_hour | $ / chip-hour | usd_per_hour",
        "usd_per_year | $ / year | usd",
        "share_frac | Share | frac",
        "contract | Draws down",
        "offer | Offer",
    )
    return Table("holdings", "What to hold", columns, tuple(rows), HELD_NOTE)


def at_a_glance(evidence: Evidence, count: int = 7) -> Table:
    """Return the first screen's table: the largest positions, few columns; those under `SMALL_FRAC` of the spend are for the report."""
    rows = tuple(
        (r["chip"], f"{proper(str(r['cloud']))} {r['region']}", *(r[k] for k in ("kind", "chips_first", "chips_last", "chips_most", "usd_per_year")))
        for i, r in enumerate(held(evidence).records()[:count])
        if i == 0 or float(r["share_frac"] or 0.0) >= SMALL_FRAC
    )
    columns = _columns(
        "chip | Chip | name",
        "where | Where",
        "kind | Terms",
        "chips_first | Chips now | whole",
        "chips_last | At end | whole",
        "chips_most | Peak | whole",
        "usd_per_year | $ / year | usd",
    )
    return Table("at_a_glance", "What to hold", columns, rows, HELD_NOTE)


def placements(evidence: Evidence) -> Table:
    """Return where each workload runs over the horizon, at which cost, and why."""
    plan = evidence.plan
    groups: dict[tuple[str, str], list[Placement]] = defaultdict(list)
    for placement in plan.placements:
        groups[(placement.workload, placement.pool)].append(placement)
    served: dict[str, float] = defaultdict(float)
    for placement in plan.placements:
        served[placement.workload] += placement.mtok
    share = {w.id: _out_frac(w) for w in evidence.workloads}
    rows = []
    for (workload, pool), items in groups.items():
        tokens, usd = sum(p.mtok for p in items), sum(p.usd for p in items)
        out = tokens * share.get(workload, 0.0)
        main = max(items, key=lambda p: p.mtok)
        rows.append(
            (
                workload,
                label(main.chip, main.cloud, pool),
                main.region,
                tokens / served[workload] if served[workload] else 0.0,
                tokens,
                usd,
                usd / tokens if tokens else None,
                usd / out if out else main.usd_per_mtok_out,
                main.engine,
                main.stage,
                main.why,
                pool,
            )
        )
    rows.sort(key=lambda row: (str(row[0]), -float(row[3])))
    columns = _columns(
        "workload | Workload",
        "place | Runs on",
        "region | Region",
        "share_frac | Share of tokens | frac",
        "mtok | Tokens | mtok",
        "usd | $ | usd",
        "usd_per_mtok | $ / Mtok | usd_per_mtok",
        "usd_per_mtok_out | $ / Mtok out | usd_per_mtok",
        "engine | Engine",
        "stage | Stage",
        "why | Why here",
        "pool | Pool",
    )
    return Table("placements", "Where each workload runs, and why", columns, tuple(rows))


def margins(evidence: Evidence) -> Table:
    """Return price, cost and margin by application.

    revenue = fresh x price_in + cached x price_cached + out x price_out (a missing cached price: the input price)
    cost = dollars attributed to its placements x (total / all dollars attributed): idle commitments, energy and ports are
    shared in proportion, so that the costs of all applications add up to the total. This is the transfer price.
    """
    plan = evidence.plan
    usd: dict[str, float] = defaultdict(float)
    tokens: dict[str, float] = defaultdict(float)
    for placement in plan.placements:
        usd[placement.workload] += placement.usd
        tokens[placement.workload] += placement.mtok
    attributed = sum(usd.values())
    lift = total_usd(plan) / attributed if attributed > 0 else 0.0
    rows = []
    for w in evidence.workloads:
        mtok_served = tokens.get(w.id, 0.0)
        cost = usd.get(w.id, 0.0) * lift
        revenue = price_usd_per_mtok(w)
        earned = None if revenue is None else revenue * mtok_served
        rows.append(
            (
                w.application or w.id,
                w.id,
                mtok_served,
                revenue,
                cost / mtok_served if mtok_served else None,
                earned,
                cost,
                None if earned is None else earned - cost,
                (earned - cost) / earned if earned else None,
            )
        )
    columns = _columns(
        "application | Application",
        "workload | Workload",
        "mtok | Tokens | mtok",
        "list_usd_per_mtok | Price, $ / Mtok | usd_per_mtok",
        "transfer_usd_per_mtok | Transfer price, $ / Mtok | usd_per_mtok",
        "revenue_usd | Revenue | usd",
        "cost_usd | Cost | usd",
        "margin_usd | Margin | usd",
        "margin_frac | Margin, % | frac",
    )
    return Table(
        "margins",
        "Margin by application",
        columns,
        tuple(rows),
        "Price is what users pay, blended over fresh, cached and output tokens. The transfer price is the full cost: idle "
        "commitments, energy and ports are shared in proportion to use.",
    )


def price_usd_per_mtok(w: WorkloadEvidence) -> float | None:
    """Return what a workload's users pay for a million tokens, blended over fresh, cached and output; None where no price is stated."""
    if w.usd_per_mtok_in is None or w.usd_per_mtok_out is None:
        return None
    cached_price = w.usd_per_mtok_in if w.usd_per_mtok_cached is None else w.usd_per_mtok_cached
    cached = w.lengths.isl_tokens * w.lengths.cached_frac
    usd = (w.lengths.isl_tokens - cached) * w.usd_per_mtok_in + cached * cached_price + w.lengths.osl_tokens * w.usd_per_mtok_out
    return usd / (w.lengths.isl_tokens + w.lengths.osl_tokens)


def price_steps(price_usd: float, costs: Iterable[Step]) -> tuple[Step, ...]:
    """Return the steps from a price through its costs, as falls, down to the margin that the sum leaves."""
    falls = [Step(step.layer, -step.usd) for step in costs if not step.total]
    return (Step("Price", price_usd, total=True), *falls, Step("Margin", price_usd + sum(step.usd for step in falls), total=True))


def margin_steps(evidence: Evidence) -> tuple[Step, ...]:
    """Return the steps from price to gross margin, in dollars per million tokens; empty where a price is missing.

    revenue - every layer of the cost waterfall = margin
    """
    table = margins(evidence).records()
    served = mtok(evidence.plan)
    if not table or served <= 0 or any(row["revenue_usd"] is None for row in table):
        return ()
    revenue = sum(float(row["revenue_usd"] or 0.0) for row in table) / served
    return price_steps(revenue, [Step(step.layer, step.usd / served, step.total) for step in waterfall(evidence.plan)])


def bills(evidence: Evidence) -> Table:
    """Return every contract's bill over the horizon."""
    groups: dict[str, list[float]] = {}
    for bill in evidence.plan.contracts:
        sums = groups.setdefault(bill.contract, [0.0] * 6)
        for i, usd in enumerate((bill.eligible_usd, bill.drawdown_usd, bill.shortfall_usd, bill.overage_usd, bill.fixed_usd, bill.total_usd)):
            sums[i] += usd
    columns = _columns(
        "contract | Contract",
        "eligible_usd | Metered | usd",
        "drawdown_usd | Draws down | usd",
        "shortfall_usd | Shortfall | usd",
        "overage_usd | Overage | usd",
        "fixed_usd | Fixed less rebates | usd",
        "total_usd | Total | usd",
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple((name, *sums) for name, sums in sorted(groups.items(), key=lambda item: -item[1][5]))
    return Table(
        "contracts",
        "Bills by contract",
        columns,
        rows,
        "Metered + shortfall + overage + fixed less rebates = total; the drawdown is shown, not added.",
    )


def promises(evidence: Evidence) -> Table:
    """Return each promise and what the replay measured."""
    rows = tuple(
        (
            d.workload,
            {"ttft": "TTFT", "tpot": "TPOT", "e2e": "end to end"}.get(d.measure, d.measure),
            d.slo_quantile,
            d.slo_s,
            d.attained_s,
            None if d.kept is None else ("kept" if d.kept else "missed"),
            d.requests,
        )
        for d in evidence.distributions
    )
    columns = _columns(
        "workload | Workload",
        "measure | Measure",
        "quantile_frac | At | frac",
        "slo_s | Promise | seconds",
        "attained_s | Replay | seconds",
        "outcome | Outcome",
        "requests | Requests | whole",
    )
    return Table("promises", "Promises against the replay", columns, rows, evidence.proof_words)


def worth(evidence: Evidence) -> Table:
    """Return shadow prices that are not zero, one row a limit: its dearest period, and in how many periods it binds."""
    plan = evidence.plan
    groups: dict[tuple[str, str], list[ShadowPrice]] = defaultdict(list)
    for price in plan.shadow_prices:
        if abs(price.usd) > 1e-9:
            groups[(price.limit, price.per)].append(price)
    rows = []
    for (limit, per), prices in groups.items():
        told = [p for p in prices if p.is_priced]
        top = max(told or prices, key=lambda p: abs(p.usd))
        known = told and top.period is not None and top.period < len(plan.periods)
        start = plan.periods[top.period].start if known and top.period is not None else ""
        rows.append((top.words, top.usd if told else None, per, start, len({p.period for p in prices}), limit))
    rows.sort(key=lambda row: -abs(row[1] or 0.0))
    columns = _columns(
        "words | What one more would be worth",
        "usd | At most | usd",
        "per | Per",
        "period | In the period from | date",
        "periods | Binds in periods | whole",
        "limit | Limit",
    )
    clouded = sorted({p.period for p in plan.shadow_prices if not p.is_priced and p.period is not None})
    note = ""
    if clouded:
        first, last = (plan.periods[i].start for i in (clouded[0], clouded[-1]))
        when = f"In the period from {first}" if len(clouded) == 1 else f"In {len(clouded)} periods, from {first} to {last},"
        note = f"{when} demand goes unserved whose loss the scenario does not price (unserved_usd_per_mtok): what limits are worth there is left out."
    return Table("shadow_prices", "What the limits cost", columns, tuple(rows), note)


def energy(evidence: Evidence) -> Table:
    """Return energy by pool: mean IT power, kWh at the meter, kWh per million output tokens, carbon."""
    rows = tuple((e.pool, 1000.0 * e.it_mw, e.kwh, e.kwh_per_mtok, e.co2_kg) for e in sorted(evidence.energy, key=lambda e: -e.kwh))
    columns = _columns(
        "pool | Pool",
        "it_kw | IT power, mean | kw",
        "kwh | Energy | kwh",
        "kwh_per_mtok | kWh / Mtok out | number",
        "co2_kg | CO2 | kg",
    )
    return Table("energy", "Energy and carbon", columns, rows, "kWh at the meter: IT power times PUE.")


def assumptions(evidence: Evidence) -> Table:
    """Return what the answer rests on, with source, date and how much it matters; estimates first."""
    order = {b: i for i, b in enumerate(("assumed", "estimate", "announced", "press"))}
    shown = sorted(evidence.plan.assumptions, key=lambda a: (-(a.matters_usd or 0.0), order.get(a.basis, 9), a.subject))
    rows = tuple((a.subject, a.value, a.basis, evidence.sources.get(a.source, a.source), a.as_of, a.matters_usd) for a in shown)
    columns = _columns(
        "subject | Assumption",
        "value | Value",
        "basis | Basis",
        "source | Source",
        "as_of | As of | date",
        "matters_usd | Moves the answer by | usd",
    )
    return Table("assumptions", "Assumptions", columns, rows)


def alternatives(evidence: Evidence) -> Table:
    """Return other answers to the same question against this plan, discounted as the plan's objective is."""
    base = evidence.plan.objective_usd
    rows: list[tuple[Cell, ...]] = [("This plan", base, 0.0, "")]
    for other in sorted(evidence.alternatives, key=lambda a: (a.objective_usd is None, a.objective_usd or 0.0)):
        more = None if other.objective_usd is None else other.objective_usd - base
        rows.append((other.name, other.objective_usd, more, other.why_not))
    columns = _columns(
        "name | Answer",
        "objective_usd | Cost, discounted | usd",
        "more_usd | More than the plan | usd",
        "why_not | Why not",
    )
    return Table("alternatives", "Other answers", columns, tuple(rows))


def saving(evidence: Evidence) -> tuple[str, float, float] | None:
    """Return (name, saved dollars, saved share) against the cheapest feasible single supplier, else any alternative."""
    feasible = [a for a in evidence.alternatives if a.objective_usd is not None]
    pool = [a for a in feasible if a.single_supplier] or feasible
    if not pool:
        return None
    best = min(pool, key=lambda a: a.objective_usd or 0.0)
    cost = float(best.objective_usd or 0.0)
    return best.name, cost - evidence.plan.objective_usd, (cost - evidence.plan.objective_usd) / cost if cost else 0.0


def what_ifs(evidence: Evidence) -> Table:
    """Return what would change the answer."""
    rows = tuple((w.words, w.threshold, w.effect, w.usd) for w in evidence.what_ifs)
    columns = _columns(
        "words | If",
        "threshold | Does this",
        "effect | Then",
        "usd | Cost moves by | usd",
    )
    return Table("what_ifs", "What would change the answer", columns, rows)


def rounds(evidence: Evidence) -> Table:
    """Return the rounds of plan and proof."""
    rows = tuple(
        (
            r.number,
            r.objective_usd,
            "; ".join(f"{w} {h:.0%}" for w, h in r.headroom_frac.items() if h > 0) or "none",
            "; ".join(r.missed) or "none",
        )
        for r in evidence.rounds
    )
    columns = _columns(
        "round | Round | whole",
        "objective_usd | Cost, discounted | usd",
        "headroom | Headroom",
        "missed | Promises missed",
    )
    return Table("rounds", "Plan and proof, round by round", columns, rows)


def tables(evidence: Evidence) -> dict[str, Table]:
    """Return every table that has rows, by name, in the order of the report."""
    made = (
        held(evidence),
        alternatives(evidence),
        placements(evidence),
        margins(evidence),
        bills(evidence),
        promises(evidence),
        rounds(evidence),
        concentration(evidence),
        worth(evidence),
        energy(evidence),
        what_ifs(evidence),
        assumptions(evidence),
    )
    return {table.name: table for table in made if table.rows}


def by_place(plan: Plan) -> Mapping[str, list[float]]:
    """Return dollars by place and period, per-token offers included."""
    usd: dict[str, list[float]] = {}
    for holding in plan.holdings:
        usd.setdefault(label(holding.chip, holding.cloud), [0.0] * len(plan.periods))[holding.period] += holding.bill_usd
    for placement in plan.placements:
        if not placement.chip:
            usd.setdefault(label("", placement.cloud, placement.pool), [0.0] * len(plan.periods))[placement.period] += placement.usd
    return dict(sorted(usd.items(), key=lambda item: -sum(item[1])))
