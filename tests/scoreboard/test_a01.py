"""A01: Microsoft 365 Copilot as an application: diurnal enterprise traffic, SLO, model, cloud pin."""

from copilots import EXAMPLE, KNOWN, studied

from polysilicon.application import generate
from polysilicon.scenario import load


def test_the_example_holds_it_with_a_diurnal_enterprise_trace():
    work = next(w for w in load(EXAMPLE, KNOWN).workloads if w.id == "m365-copilot")
    assert work.clouds == ("azure",)
    assert work.traffic.profile == "enterprise"
    trace = generate.generate({"profile": "enterprise", "timezone_h": work.traffic.timezone_h}, seconds=86400.0, mean_rps=0.5, seed=1, blocks=False)
    local_hour = ((trace.arrival_s / 3600 + work.traffic.timezone_h) % 24).astype(int)
    office = ((local_hour >= 8) & (local_hour < 18)).mean()
    assert office > 0.6
    assert {p.cloud for p in studied().plan.placements if p.workload == "m365-copilot"} == {"azure"}
