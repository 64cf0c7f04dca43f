"""An old fleet that costs nothing more serves the mid tier, and makes its tokens cheaper."""

from toy import offer, solve, work, world

from polysilicon.cloud.contract import Contract


def plan(book_usd_per_chip_hour):
    fleet = Contract(
        "old-h100", "azure", "lease", "2025-01-01", "2027-01-01", chip="h100", chips=60.0,
        usd_per_chip_hour=book_usd_per_chip_hour, take_or_pay_frac=0.0,
    )
    works = [work("frontier", rps=60.0, chips=("gb200",)), work("mid", rps=60.0)]
    return solve(world(works, [offer("gb200", 4.5)], contracts=(fleet,)))


def cost(found):
    return sum(p.usd for p in found.placements if p.workload == "mid")


def test_m06():
    dear, written_off = plan(3.0), plan(0.0)
    assert {p.chip for p in dear.placements if p.workload == "mid"} == {"gb200"}
    assert {p.chip for p in written_off.placements if p.workload == "mid"} == {"h100"}
    assert cost(written_off) < cost(dear) and written_off.objective_usd < dear.objective_usd
