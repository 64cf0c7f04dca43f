"""What a plan ports and when, and how much of the traffic stands in which stage of it."""

from __future__ import annotations

from polysilicon.portfolio import Plan
from polysilicon.report.figures import Cell, Column, Table

GATE = "gate_"
STAGES = ("shadow", "pilot", "canary", "production")  # in the order they are passed


def projects(plan: Plan) -> Table:
    """Return each port the plan starts: the dated gates of its stages, from when it serves, what it costs."""
    gates = list(dict.fromkeys(key for port in plan.ports for key in port if key.startswith(GATE)))
    rows = tuple(
        (
            f"{port['model_family']} to {port['chip_family']}", str(port["engine"]), str(port["start"]), *(port.get(gate) for gate in gates),
            str(port["live"]), float(port["usd"]), float(port["upkeep_usd_per_year"]),
        )
        for port in sorted(plan.ports, key=lambda port: str(port["start"]))
    )  # fmt: skip
    columns = (
        Column("port", "Port"),
        Column("engine", "Engine"),
        Column("start", "Starts in the period of", "date"),
        *(Column(gate, f"{gate.removeprefix(GATE).capitalize()} done", "date") for gate in gates),
        Column("live", "Serves from the period of", "date"),
        Column("usd", "Costs once", "usd"),
        Column("upkeep_usd_per_year", "Upkeep a year", "usd"),
    )
    note = "A gate is the day by which its stage is done. Before the last, no traffic counts on it."
    return Table("projects", "What is ported, and when", columns, rows, note)


def stages(plan: Plan) -> Table:
    """Return the share of tokens and dollars by stage of the engine that serves them; no rows where all is in production."""
    sums: dict[str, list[float]] = {}
    for p in plan.placements:
        mine = sums.setdefault(p.stage, [0.0, 0.0])
        mine[0] += p.mtok
        mine[1] += p.usd
    order = sorted(sums, key=lambda stage: STAGES.index(stage) if stage in STAGES else -1)
    tokens, usd = (sum(v[i] for v in sums.values()) for i in (0, 1))
    rows: tuple[tuple[Cell, ...], ...] = ()
    if set(sums) != {"production"} and tokens > 0:
        rows = tuple((stage, sums[stage][0] / tokens, sums[stage][1] / usd if usd else None) for stage in order)
    columns = (Column("stage", "Stage"), Column("tokens_frac", "Of tokens", "frac"), Column("usd_frac", "Of dollars", "frac"))
    return Table("stages", "By stage of the engine", columns, rows, "A stage before production carries no more than its cap.")
