"""A03: enterprise, coding and consumer classes with different token mixes and SLOs; metrics per class."""

from copilots import studied


def test_three_classes_have_their_own_lengths_promises_and_metrics():
    result = studied()
    names = ("m365-copilot", "github-copilot-agent", "consumer-chat")
    works = [result.resolved.workload(n) for n in names]
    assert len({(w.lengths.isl_tokens, w.lengths.osl_tokens) for w in works}) == 3
    assert len({(w.slo.ttft_s, w.slo.tpot_s) for w in works}) == 3
    measured = {m.workload: m for m in result.rounds[-1].measured}
    assert set(names) <= set(measured)
    assert len({measured[n].latencies["ttft_s"][20] for n in names}) == 3
