"""Numbers and findings in words, the way they are read aloud."""

from __future__ import annotations

from polysilicon.report import figures
from polysilicon.report.evidence import Evidence
from polysilicon.report.figures import Cell, Form
from polysilicon.report.names import proper

TOKENS = ("M", "B", "T")  # of millions
ENERGY = ("kWh", "MWh", "GWh", "TWh")
MASS = ("kg", "t", "kt", "Mt")
POWER = ("kW", "MW", "GW")
AMOUNTS: dict[Form, tuple[str, ...]] = {"mtok": TOKENS, "kwh": ENERGY, "kg": MASS, "kw": POWER}


def money(usd: float) -> str:
    """Return dollars with three significant digits and a unit.

    >>> [money(x) for x in (0.0, 0.0421, 12.3456, 1_234.0, 45_600_000.0, 3.21e9, -2.5e6, 1.2e12)]
    ['$0', '$0.0421', '$12.3', '$1.23K', '$45.6M', '$3.21B', '-$2.50M', '$1.20T']
    """
    size, sign = abs(usd), "-" if usd < 0 else ""
    if size < 1e-12:
        return "$0"
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if size >= 0.9995 * limit:
            return f"{sign}${_three(size / limit)}{unit}"
    return f"{sign}${_three(size)}"


def _three(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}"


def seconds(value: float) -> str:
    """Return a latency.

    >>> seconds(0.0123), seconds(1.5), seconds(753.0), seconds(86_400.0)
    ('12.3 ms', '1.50 s', '12.6 min', '24.0 h')
    """
    for limit, scale, unit in ((1.0, 1e3, "ms"), (300.0, 1.0, "s"), (7200.0, 1 / 60, "min")):
        if value < limit:
            return f"{_three(value * scale)} {unit}"
    return f"{_three(value / 3600)} h"


def amount(value: float, units: tuple[str, ...]) -> str:
    """Return a large amount with three significant digits, in the largest unit (each a thousand of the one before) that leaves a one.

    >>> amount(1_862_973.0, TOKENS), amount(17_065_228_331.0, TOKENS), amount(0.2, TOKENS), amount(2_998_524_602.0, ENERGY), amount(0.0, MASS)
    ('1.86 T', '17,065 T', '0.2 M', '3.00 TWh', '0')
    """
    if value == 0:
        return "0"
    step = 0
    while abs(value) >= 999.5 and step < len(units) - 1:
        value, step = value / 1e3, step + 1
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{'-' if value < 0 else ''}{_three(abs(value))}"
    return f"{number} {units[step]}"


def cell(value: Cell, form: Form) -> str:
    """Return a table's cell in words; an unknown value is a dash, never a zero."""
    if value is None or value == "":
        return "–"
    if isinstance(value, str):
        return proper(value) if form == "name" else value
    if value != value:
        return "–"
    if form == "usd":
        return money(value)
    if form in ("usd_per_mtok", "usd_per_hour"):
        return f"{'-' if value < 0 else ''}${_three(abs(value))}" if value else "$0"
    if form == "frac":
        return f"{value:.1%}" if abs(value) < 0.9995 else f"{value:.0%}"
    if form == "seconds":
        return seconds(value)
    if form in AMOUNTS:
        return amount(value, AMOUNTS[form])
    if form == "whole":
        return f"{value:,.0f}"
    if form == "index":
        return f"{value:.3f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def recommendation(evidence: Evidence) -> str:
    """Return the one sentence: what to hold, what it costs a year and per million tokens, what it saves."""
    plan = evidence.plan
    parts = _holdings(evidence)
    span = figures.years(plan)
    cost = figures.total_usd(plan)
    served, out = figures.mtok(plan), figures.mtok_out(evidence)
    told = [f"{money(cost / span)} a year" if span > 0 else money(cost)]
    if out > 0:
        told.append(f"{money(cost / out)} per million output tokens")
    elif served > 0:
        told.append(f"{money(cost / served)} per million tokens")
    sentence = f"{parts}: {', '.join(told)}"
    found = figures.saving(evidence)
    if found is not None and found[2] >= 0.005:  # dearer only where limits rule the alternative out; the page says so beside it
        sentence += f", {found[2]:.0%} less than {found[0]}"
    return sentence + "."


def _holdings(evidence: Evidence) -> str:
    table = figures.held(evidence).records()
    tokens = sorted({proper(p.cloud or p.pool) for p in evidence.plan.placements if not p.chip})
    groups: dict[tuple[str, str], list[float]] = {}
    for row in table:
        key = (str(row["chip"]), str(row["cloud"]))
        sums = groups.setdefault(key, [0.0, 0.0, 0.0])
        for i, name in enumerate(("chips_first", "chips_last", "usd_per_year")):
            sums[i] += float(row[name] or 0.0)
    ranked = sorted(groups.items(), key=lambda item: -item[1][2])
    whole = sum(item[1][2] for item in ranked) or 1.0
    main = [item for item in ranked if item[1][2] >= 0.05 * whole][:3] or ranked[:1]
    words = [f"{round(max(first, last)):,} {proper(chip)} at {proper(cloud)}" for (chip, cloud), (first, last, _) in main]
    if len(ranked) == len(main) + 1:
        main = ranked
    rest = len(ranked) - len(main)
    if rest > 0:
        words.append(f"{rest} smaller position{'s' if rest > 1 else ''}")
    if not words:
        return f"Buy tokens from {_join(tokens)}" if tokens else "Hold nothing"
    bought = f", and buy tokens from {_join(tokens)}" if tokens else ""
    grows = any(last > first * 1.005 for _, (first, last, _) in main)
    return f"{'Grow to' if grows else 'Hold'} {_join(words)}{bought}"


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def proof(evidence: Evidence) -> tuple[str, str]:
    """Return (verdict, sentence): "proven", "missed" or "unproven", and what that rests on."""
    checked = [d for d in evidence.distributions if d.kept is not None]
    kept = sum(bool(d.kept) for d in checked)
    placed = evidence.plan.placements
    if evidence.proven is None and placed and not any(p.chip for p in placed):
        return "unproven", (
            "Every token is bought by the token: there is no fleet to replay. The bill follows from demand and the prices; "
            "that latency promises are kept and capacity is there rests on the providers alone and is not proven here."
        )
    if evidence.proven is None:
        return "unproven", "This plan has not been replayed: its promises rest on the performance model alone."
    many = f"{kept} of {len(checked)} promises kept in the replay." if checked else ""
    if evidence.proven:
        bought = any(not p.chip for p in placed)
        rest = "What is bought by the token is not replayed: there the promise rests on the provider." if bought else ""
        return "proven", " ".join(w for w in ("Proven by replay.", many, rest) if w)
    return "missed", f"A promise is missed in the replay. {many}".strip()


def gap(evidence: Evidence) -> str:
    """Return how far from the best the plan may be, as a share of all its cost and in dollars: much of the cost may be settled anyhow."""
    plan = evidence.plan
    most = money(max(0.0, plan.objective_usd - plan.bound_usd))
    if plan.status == "optimal":
        return f"optimal within {plan.gap_frac:.2%} ({most} of {money(plan.objective_usd)}, discounted)"
    return f"at most {plan.gap_frac:.1%} ({most}, discounted) above the best possible ({plan.status.replace('_', ' ')})"


def cost(evidence: Evidence) -> str:
    """Return the total, and what of it is not chips."""
    plan = evidence.plan
    total = figures.total_usd(plan)
    shortfall = sum(bill.shortfall_usd for bill in plan.contracts)
    parts = [f"{money(total)} over the horizon, undiscounted ({money(plan.objective_usd)} discounted)."]
    for usd, what in ((shortfall, "commitments not used up"), (plan.energy_usd, "energy and carbon"), (plan.port_usd, "ports")):
        if total > 0 and usd / total >= 0.0005:
            parts.append(f"{money(usd)} ({usd / total:.1%}) is {what}.")
    trained = sum(block.usd for block in plan.training)
    if trained > 0 and total > 0:
        parts.append(f"Training takes {money(trained)} of it ({trained / total:.1%}), inference the rest.")
    else:
        parts.append("Training is not part of this plan.")
    return " ".join(parts)


def margin(evidence: Evidence) -> str:
    """Return gross margin, and how much of it is the saving against the alternative; empty where a price is missing."""
    steps = figures.margin_steps(evidence)
    if not steps:
        return ""
    price, kept = steps[0].usd, steps[-1].usd
    told = f"Users pay {money(price)} per million tokens, {money(kept)} of which is gross margin ({kept / price:.0%})." if price > 0 else ""
    found = figures.saving(evidence)
    served = figures.mtok(evidence.plan)
    if found is None or price <= 0 or served <= 0:
        return told
    name, _, share = found
    unit = figures.total_usd(evidence.plan) / served
    other = unit / (1 - share) if share < 1 else unit
    return f"{told} At the cost of {name} it would be {(price - other) / price:.0%}: every dollar saved drops to margin."


def energy(evidence: Evidence) -> str:
    """Return the most valuable limit on power, and energy per million output tokens."""
    told = []
    kwh, out = sum(e.kwh for e in evidence.energy), sum(e.mtok_out for e in evidence.energy)
    if out > 0:
        told.append(f"A million output tokens take {_three(kwh / out)} kWh at the meter.")
    power = [s for s in evidence.plan.shadow_prices if s.limit.startswith("power") and abs(s.usd) > 0]
    if power:
        best = max(power, key=lambda s: abs(s.usd))
        told.append(f"Power binds: {best.words} ({money(abs(best.usd))} per {best.per}).")
    return " ".join(told)


def horizon(evidence: Evidence) -> str:
    """Return the time the plan covers."""
    periods = evidence.plan.periods
    if not periods:
        return ""
    span = figures.years(evidence.plan)
    return f"from {periods[0].start}, {span:.3g} year{'' if abs(span - 1) < 0.005 else 's'}"
