"""The stages of a port, bring-up to pilot, have dated gates in the plan; production begins with the last."""

from toy import offer, port, solve, work, world

from polysilicon.report import contents
from polysilicon.report.evidence import Evidence


def test_l04():
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=1e5, lead_months=9.0))
    (project,) = solve(world([work(rps=500.0)], [offer("h100", 2.0), offer("maia200", 1.0)], ports=ports, months=24)).ports
    gates = [project[f"gate_{stage}"] for stage in ("bring-up", "kernels", "validation", "pilot")]
    assert gates == sorted(gates) and project["start"] < gates[0] and gates[-1][:7] in ("2026-09", "2026-10")
    assert gates[-1] <= project["live"] or gates[-1][:7] == project["live"][:7]


def test_the_gates_stand_in_the_report():
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=1e5, lead_months=9.0))
    plan = solve(world([work(rps=500.0)], [offer("h100", 2.0), offer("maia200", 1.0)], ports=ports, months=24))
    (row,) = contents.tables(Evidence(plan=plan, title="t"))["projects"].records()
    assert row["port"] == "m to maia" and row["usd"] == 1e5
    assert [row[f"gate_{s}"] for s in ("bring-up", "kernels", "validation", "pilot")] == [plan.ports[0][f"gate_{s}"] for s in
                                                                                        ("bring-up", "kernels", "validation", "pilot")]  # fmt: skip
    alone = solve(world([work(rps=100.0)], [offer("h100", 2.0)]))
    assert "projects" not in contents.tables(Evidence(plan=alone, title="t"))
