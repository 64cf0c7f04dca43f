"""Should an enterprise evaluate another vendor's chips? A checklist with its own workload, benchmarks and break-even."""

from toy import offer, port, tables, work, world

from polysilicon.planner.measures import checklist
from polysilicon.planner.thresholds import port_switch


def test_q07():
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=1e6, lead_months=6.0))
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("maia200", 2.5)], ports=ports, months=24))
    factor, _ = port_switch(question, "m", "maia", steps=5)
    text = "\n".join(checklist(question, "chat", "maia", switch_factor=factor))
    assert "chat (m), 1000 tokens in, 200 out" in text and "maia200: TTFT and TPOT" in text
    assert factor is not None and f"it pays from {factor:.2f} times" in text
