"""R10: a build-out by quarter, in power and capacity: 500-1,000 racks are 60-120 MW; drawn by quarter in a deal."""

from audited import EXAMPLE, run
from pytest import approx

from polysilicon.economics.deal import deal_from
from polysilicon.economics.deal_report import whole
from polysilicon.economics.energy import ramp_mw
from polysilicon.report.deal import page
from polysilicon.scenario.document import parse_document

CAPACITY = """
  - buyer: anthropic
    seller: microsoft
    status: signed
    source: assumed
    contract: {id: hall, cloud: azure, kind: capacity_mw, start: 2026-07-01, end: 2031-01-01, it_mw: 120, chip: gb200, usd_per_chip_hour: 3.0,
               ramp_mw: [[2026-07-01, 15], [2026-10-01, 30], [2027-01-01, 60], [2027-07-01, 90], [2027-10-01, 120]]}
options:"""


def built():
    return deal_from(parse_document(EXAMPLE.read_text().replace("\noptions:", CAPACITY, 1), "deal.yaml"))


def test_racks_to_megawatts():
    assert [ramp_mw([r], rack_kw=120)[0] for r in (500, 1000)] == approx([60, 120])


def test_the_schedule_by_quarter():
    steps = {s.day: s for s in whole(built(), draws=0).ramp}
    assert [steps[d].it_mw for d in ("2026-04-01", "2026-07-01", "2026-10-01", "2027-01-01", "2027-10-01", "2031-01-01")] == [0, 15, 30, 60, 120, 0]
    assert (steps["2027-01-01"].racks, steps["2027-10-01"].racks) == approx((500, 1000))
    assert steps["2027-10-01"].chips == approx(72_000) and steps["2027-10-01"].facility_mw == approx(144)


def test_printed_and_drawn(tmp_path):
    (tmp_path / "d.yaml").write_text(EXAMPLE.read_text().replace("\noptions:", CAPACITY, 1))
    out = " ".join(run("deal", "d.yaml", "--draws", "0", cwd=tmp_path).stdout.split())
    assert "2027-01-01 60 72 500 36,000" in out and "2027-10-01 120 144 1,000 72,000" in out
    assert "Megawatts by quarter" in page(whole(built(), draws=0))
    assert not whole(deal_from(parse_document(EXAMPLE.read_text(), "d.yaml")), draws=0).ramp
