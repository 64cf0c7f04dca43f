"""M10: an SLO object with percentiles; the replay reports goodput and lists what was missed, by application."""

from copilots import studied

from polysilicon.application.workload import Slo
from polysilicon.study.proof import Measured, Promise


def test_promises_percentiles_and_goodput_are_reported_by_application():
    result = studied()
    for measured in result.rounds[-1].measured:
        slo = result.resolved.workload(measured.workload).slo
        assert isinstance(slo, Slo)
        assert {p.measure for p in measured.promises} == {"ttft_s", "tpot_s"}
        assert all(p.quantile == slo.quantile for p in measured.promises)
        assert 0.85 < measured.goodput_frac <= 1.0
        assert {"ttft_s", "tpot_s", "e2e_s"} == set(measured.latencies)


def test_a_missed_promise_is_listed_with_its_application():
    missed = Measured("m365-copilot", 0, (Promise("ttft_s", 1.0, 0.95, 2.5),), 1000, 1.0, 1.0, 1, 1, 0.4, 0.0)
    assert missed.missed == ("m365-copilot: TTFT 2.5 s at the 95th percentile, 1 s promised",)
