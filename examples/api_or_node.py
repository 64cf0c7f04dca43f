"""At which traffic do GPUs of one's own beat an API? The embedded enterprise scenario, planned at growing rates."""

from __future__ import annotations

from polysilicon import catalogue, study
from polysilicon.scenario import Scenario, load_embedded


def at_rate(scenario: Scenario, factor: float) -> Scenario:
    """Return the scenario with all its traffic multiplied."""
    workloads = tuple(
        w.model_copy(update={"traffic": w.traffic.model_copy(update={"mean_rps": factor * w.traffic.mean_rps})}) for w in scenario.workloads
    )
    return scenario.model_copy(update={"workloads": workloads})


def main() -> None:
    """Print what the scenario costs and where it is served, as traffic grows."""
    known = catalogue.load()
    firm = load_embedded("enterprise", known)
    print(f"{'traffic':>8} {'$ a year':>12} {'by the token':>13} {'own chips':>10}")
    for factor in (1, 3, 10, 30, 100):
        plan = study.run(at_rate(firm, factor), known, proof=False).plan
        years = sum(p.hours for p in plan.periods) / 8760
        last = plan.periods[-1].index
        tokens = sum(q.share_frac for q in plan.placements if q.period == last and not q.chip) / len(firm.workloads)
        chips = sum(h.chips for h in plan.holdings if h.period == last)
        print(f"{factor:>7}x {plan.bill_usd / years:>12,.0f} {tokens:>13.0%} {chips:>10,.0f}")


if __name__ == "__main__":
    main()
