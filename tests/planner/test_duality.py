"""Prices are prices: the pricing run's dual is as good as its primal, and nothing slack has a price."""

from __future__ import annotations

import highspy
import numpy as np
import pytest
from world import offer, port, table, work, world

from polysilicon import highs, planner
from polysilicon.cloud.contract import Contract
from polysilicon.cloud.site import Site
from polysilicon.errors import PolysiliconError
from polysilicon.highs import Solver
from polysilicon.planner.engine import Engine
from polysilicon.planner.solution import price
from polysilicon.scenario.schema import LimitsPart


def ports_and_terms():
    ports = (port("cuda-hopper"), port("cuda-blackwell"), port("maia", "none", cost_usd=1e6, lead_months=6.0, upkeep_usd_per_year=0.0))
    offers = [offer("h100", 2.0, max_chips=300.0), offer("gb200", 3.0, kind="reserved", min_term_months=12, block_chips=72), offer("maia200", 1.0)]
    return world([work(rps=500.0), work("batch", rps=100.0, batch=True)], offers, ports=ports, months=24, discount=0.1,
                 blocks=(("peak", 12.0, 1.5), ("night", 12.0, 0.5)))  # fmt: skip


def commitment_and_caps():
    macc = Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=5e6)
    limits = LimitsPart(utilisation_max_frac=0.9, cloud_share_max_frac=0.7)
    offers = [offer("h100", 2.0, max_chips=120.0), offer("h100", 2.4, cloud="aws")]
    return world([work(rps=150.0)], offers, months=12, contracts=(macc,), limits=limits)


def power():
    site = Site("east", "azure", "eastus", it_mw=0.07)
    return world([work(rps=100.0)], [offer("h100", 1.0), offer("h100", 2.0, cloud="aws")], sites=(site,))


def drawn(seed):
    rng = np.random.default_rng(seed)
    offers = [offer(chip, round(float(rng.uniform(1, 5)), 3), cloud=cloud, kind=kind, max_chips=float(rng.integers(20, 90)),
                    **({"min_term_months": 6, "block_chips": 8} if kind == "reserved" else {}))
              for chip in ("h100", "gb200", "trn3") for cloud in ("azure", "aws") for kind in ("on_demand", "reserved")]  # fmt: skip
    works = [work(f"w{i}", rps=float(rng.uniform(20, 90)), batch=i == 2, peak=1.4) for i in range(3)]
    return world(works, offers, months=12, discount=0.1, blocks=(("peak", 10.0, 1.4), ("night", 14.0, 0.7)))


@pytest.mark.parametrize("resolved", [ports_and_terms(), commitment_and_caps(), power(), *(drawn(s) for s in range(4))])
def test_strong_duality_and_complementary_slackness(resolved):
    tables = planner.problem(resolved, table(resolved.workloads))
    program = planner.build(tables)
    found = planner.solve(program, seconds=20.0, gap_frac=1e-4)
    assert found.is_priced and found.objective_usd > 0
    matrices, unit = program.model.matrices, program.usd_unit
    value, reduced = found.values[matrices.vlabels], found.reduced[matrices.vlabels] / unit
    dual = found.duals[matrices.clabels] / unit
    whole = np.isin(matrices.vtypes, ["B", "I"])
    lower, upper = np.where(whole, np.round(value), matrices.lb), np.where(whole, np.round(value), matrices.ub)
    low, high = np.where(matrices.sense != "<", matrices.b, -np.inf), np.where(matrices.sense != ">", matrices.b, np.inf)
    primal = (found.objective_usd - program.constant_usd) / unit
    scale = max(abs(primal), 1.0)
    # signs: what has a price may only push against a bound that is there
    assert np.isfinite(binding(dual, low, high)).all() and np.isfinite(binding(reduced, lower, upper)).all()
    assert float(dual @ binding(dual, low, high) + reduced @ binding(reduced, lower, upper)) == pytest.approx(primal, rel=1e-6)
    # dual feasibility: every reduced cost is what the column costs less what its rows pay for it
    assert matrices.c - matrices.A.T @ dual == pytest.approx(reduced, abs=1e-6 * scale)
    # complementary slackness, term by term: a limit that is not reached is worth nothing
    assert np.abs(dual * (matrices.A @ value - binding(dual, low, high))).max() <= 1e-6 * scale
    assert np.abs(reduced * (value - binding(reduced, lower, upper))).max() <= 1e-6 * scale
    assert np.abs(dual).max() > 0  # or nothing was tested


def binding(price, low, high):
    """The bound that a price pushes against; nil where the price is."""
    return np.where(price > 1e-12, low, np.where(price < -1e-12, high, 0.0))


def other_pool_size():
    """Leave the process's pool of solver threads at another size than the planner's."""
    highspy.Highs.resetGlobalScheduler(True)
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    other.setOptionValue("threads", 1)
    other.addVars(1, np.zeros(1), np.ones(1))
    other.run()


def one_column(cost=-1.0, upper=1.0):
    solver = highs.new_solver()
    solver.addVars(1, np.zeros(1), np.array([upper]))
    solver.changeColsCost(1, np.zeros(1, np.int32), np.array([cost]))
    return solver


def test_a_refused_run_is_run_again_and_never_read_as_nil():
    other_pool_size()
    solver = one_column()
    assert solver.run() == highspy.HighsStatus.kError  # the refusal is real
    highs.run_to_optimum(solver, "it")
    assert solver.getInfo().objective_function_value == pytest.approx(-1.0)


class Broken:
    """A solver whose runs fail, or end without saying anything."""

    def __init__(self, outcome, status):
        self.outcome, self.status, self.runs = outcome, status, 0

    def run(self):
        self.runs += 1
        return self.outcome

    def getModelStatus(self):
        return self.status

    def modelStatusToString(self, status):
        return str(status)

    def clearSolver(self):
        pass

    def setOptionValue(self, name, value):
        pass


@pytest.mark.parametrize(
    "broken",
    [
        Broken(highspy.HighsStatus.kError, highspy.HighsModelStatus.kOptimal),
        Broken(highspy.HighsStatus.kError, highspy.HighsModelStatus.kNotset),
        Broken(highspy.HighsStatus.kOk, highspy.HighsModelStatus.kSolveError),
        Broken(highspy.HighsStatus.kWarning, highspy.HighsModelStatus.kUnknown),
    ],
)
def test_a_run_that_fails_twice_is_an_error(broken):
    with pytest.raises(PolysiliconError, match="the solver"):
        highs.run(broken)
    assert broken.runs == 2


def test_only_an_optimum_is_an_optimum():
    with pytest.raises(PolysiliconError, match="the question has no optimum"):
        highs.run_to_optimum(one_column(upper=np.inf), "the question")


def test_a_bound_is_one_only_where_it_was_proven():
    linear = one_column()
    highs.run(linear)
    assert highs.proven_bound(linear) == pytest.approx(-1.0)
    linear.changeColsIntegrality(1, np.zeros(1, np.int32), np.array([highspy.HighsVarType.kInteger]))
    highs.run(linear)
    assert highs.proven_bound(linear) == pytest.approx(-1.0)
    linear.addRow(2.0, 3.0, 1, np.zeros(1, np.int32), np.ones(1))
    highs.run(linear)
    assert highs.proven_bound(linear) == -np.inf and not highs.has_point(linear)


def test_a_pricing_run_without_an_optimum_says_so(monkeypatch):
    resolved = world([work(rps=100.0)], [offer("h100", 2.0, kind="reserved", min_term_months=3, block_chips=8)])
    program = planner.build(planner.problem(resolved, table(resolved.workloads)))
    engine = Engine(program)
    point = planner.solve(program, seconds=10.0, gap_frac=1e-6).values[engine.columns]
    monkeypatch.setattr(Solver, "run", lambda _self, _seconds: highspy.HighsModelStatus.kTimeLimit)
    priced = price(engine, point, 1.0)
    assert not priced.is_priced and not priced.duals.any() and priced.objective_usd > 0
