"""The whole program, read as a table of contents: each line adds variables or states a limit."""

from __future__ import annotations

from polysilicon.planner import constraints as c
from polysilicon.planner import limits, money, resilience, training
from polysilicon.planner.problem import Problem
from polysilicon.planner.program import Program


def build(tables: Problem, *, integer_rent: bool = False, survive: bool = True, units: tuple[float, float] | None = None) -> Program:
    """Return the whole program; the order is the order of `docs/concepts/planning.md`.

    `units` are chips and dollars per unit of the program; left out, powers of ten near what the demand needs.
    """
    from polysilicon.planner import ramps

    program = Program(tables, integer_rent=integer_rent, units=units)
    c.serve(program)
    c.rent(program)
    c.sign(program)
    c.given(program)
    c.start_ports(program)
    training.train(program)
    c.demand(program)
    c.deferral(program)
    c.capacity(program)
    c.ports_live(program)
    c.stages(program)
    c.links(program)
    ramps.rent(program)
    money.spend(program)
    money.fixed(program)
    money.overage(program)
    money.commitments(program)
    money.tiers(program)
    money.choices(program)
    limits.power(program)
    ramps.power(program)
    limits.shares(program)
    limits.concentration(program)
    limits.needed(program)
    limits.budgets(program)
    limits.carbon(program)
    limits.utilisation(program)
    limits.ports_at_once(program)
    if survive:
        resilience.survive(program)
    program.set_objective()
    return program
