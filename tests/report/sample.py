"""A plan of a size one meets, made by hand, for the report's tests. Its names are hostile where a user may choose them."""

from __future__ import annotations

import math

from polysilicon.application.workload import Lengths, Slo
from polysilicon.portfolio import Assumption, ContractBill, Holding, Period, Placement, Plan, ShadowPrice
from polysilicon.report import (
    Alternative,
    ContractEvidence,
    Distribution,
    EnergyUse,
    Evidence,
    Round,
    Series,
    WhatIf,
    WorkloadEvidence,
)

HOSTILE = '<script>alert("x")</script> & </script><img src=x onerror=alert(1)> | `lab`'
HOURS = 2190.0


def holdings(periods: int) -> list[Holding]:
    made = []
    for i in range(periods):
        grown = 1 + i / max(1, periods - 1) if periods > 1 else 1.0
        for offer, cloud, region, chip, kind, chips, price, contract in (
            ("azure-gb200", "azure", "eastus2", "gb200", "reserved", 7200 * grown, 3.30, "azure-30b"),
            ("azure-gb200-eu", "azure", "swedencentral", "gb200", "reserved", 2880 * grown, 3.55, "azure-30b"),
            ("aws-trn3", "aws", "us-east-2", "trainium3", "reserved", 5760 * grown, 1.95, ""),
            ("gcp-tpu7", "gcp", "us-central1", "tpu-v7", "reserved", 3072 * grown, 2.60, ""),
            ("gcp-tpu7-asia", "gcp", "asia-northeast1", "tpu-v7", "reserved", 1024 * grown, 2.85, ""),
            ("azure-maia", "azure", "centralus", "maia-200", "reserved", 512 * (i >= 2), 2.10, "azure-30b"),
            ("aws-h200", "aws", "us-east-2", "h200-sxm", "on_demand", 180 * grown, 7.91, ""),
            ("cw-gb200", "coreweave", "north-america", "gb200", "on_demand", 96, 10.50, ""),
            ("aws-b200-spot", "aws", "us-west-2", "b200-sxm", "spot", 64, 6.10, ""),
        ):
            if chips:
                made.append(
                    Holding(i, offer, cloud, region, chip, kind, chips, chips * 1.05, price, chips * price * HOURS, contract)
                )
    return made


PLACES = {
    "assistant-us": (
        ("gb200", "azure", "eastus2", 0.62),
        ("trainium3", "aws", "us-east-2", 0.30),
        ("h200-sxm", "aws", "us-east-2", 0.08),
    ),
    "assistant-eu": (("gb200", "azure", "swedencentral", 1.0),),
    "coding": (
        ("gb200", "azure", "eastus2", 0.78),
        ("tpu-v7", "gcp", "us-central1", 0.18),
        ("maia-200", "azure", "centralus", 0.04),
    ),
    "everyday-asia": (("tpu-v7", "gcp", "asia-northeast1", 1.0),),
    "quick": (("trainium3", "aws", "us-east-2", 0.91), ("", "openai", "us", 0.09)),
    "batch": (
        ("trainium3", "aws", "us-east-2", 0.55),
        ("tpu-v7", "gcp", "us-central1", 0.35),
        ("b200-sxm", "aws", "us-west-2", 0.10),
    ),
}
TOKENS = {"assistant-us": 61e6, "assistant-eu": 24e6, "coding": 240e6, "everyday-asia": 33e6, "quick": 88e6, "batch": 45e6}
COST = {"assistant-us": 0.52, "assistant-eu": 0.58, "coding": 0.19, "everyday-asia": 0.41, "quick": 0.06, "batch": 0.30}
LENGTHS = {
    "assistant-us": Lengths(1102, 211, 0.40),
    "assistant-eu": Lengths(1102, 211, 0.40),
    "coding": Lengths(122_890, 440, 0.959),
    "everyday-asia": Lengths(1102, 211, 0.40),
    "quick": Lengths(2547, 272, 0.40),
    "batch": Lengths(1241, 1540, 0.0),
}
PRICES = {
    "assistant-us": (1.25, 0.125, 10.0),
    "assistant-eu": (1.25, 0.125, 10.0),
    "coding": (3.0, 0.3, 15.0),
    "everyday-asia": (0.4, 0.04, 2.4),
    "quick": (0.05, 0.005, 0.3),
    "batch": (0.2, 0.02, 1.2),
}


def placements(periods: int) -> list[Placement]:
    made = []
    for i in range(periods):
        for workload, places in PLACES.items():
            for chip, cloud, region, share in places:
                mtok = TOKENS[workload] * share * (1 + 0.12 * i)
                usd = mtok * COST[workload]
                pool = f"{chip}@{cloud}/{region}" if chip else "openai-small-tokens"
                out = LENGTHS[workload].osl_tokens / (LENGTHS[workload].isl_tokens + LENGTHS[workload].osl_tokens)
                here, other = COST[workload], COST[workload] * 1.6
                why = f"one more token here costs {here:.3g} $/Mtok; the next best place, h200-sxm@aws/us-east-2, would cost {other:.3g}"
                made.append(
                    Placement(
                        i,
                        workload,
                        pool,
                        chip,
                        cloud,
                        region,
                        share,
                        100.0,
                        140.0,
                        mtok,
                        usd,
                        usd / (mtok * out),
                        "vllm" if chip else "",
                        "pilot" if chip == "maia-200" else "production",
                        why,
                    )
                )
    return made


def bills(periods: int, held: list[Holding], placed: list[Placement]) -> list[ContractBill]:
    made = []
    for i in range(periods):
        azure = sum(h.bill_usd for h in held if h.period == i and h.contract) * 0.95
        rest = sum(h.bill_usd for h in held if h.period == i and not h.contract) + sum(
            p.usd for p in placed if p.period == i and not p.chip
        )
        short = 8.0e6 if i < 2 else 0.0
        made.append(ContractBill("azure-30b", i, azure, azure, short, 0.0, 0.0, azure + short))
        made.append(ContractBill("pay as you go", i, rest, 0.0, 0.0, 0.0, -250_000.0, rest - 250_000.0))
    return made


def plan(periods: int = 8, *, name: str = "Frontier lab") -> Plan:
    held, placed = holdings(periods), placements(periods)
    invoices = bills(periods, held, placed)
    bill = sum(b.total_usd for b in invoices)
    starts = [f"{2027 + i // 4}-{1 + 3 * (i % 4):02d}-01" for i in range(periods)]
    return Plan(
        scenario=name,
        scenario_digest="b7e23ec29af22b0b4e41da31e868d572",
        catalogue_digest="2d711642b726b04401627ca9fbac32f5",
        status="optimal",
        gap_frac=0.0041,
        bound_usd=bill * 0.85,
        objective_usd=bill * 0.861,
        bill_usd=bill,
        energy_usd=bill * 0.062,
        port_usd=38_500_000.0,
        unserved_usd=0.0,
        periods=tuple(Period(i, s, HOURS) for i, s in enumerate(starts)),
        holdings=tuple(held),
        placements=tuple(placed),
        contracts=tuple(invoices),
        serving=(),
        shadow_prices=(
            ShadowPrice(
                "power:azure-east", "one more MW of IT power at azure-east would save 412,000 $ a month", 412_000.0, "MW-month", 0
            ),
            ShadowPrice(
                "commit:azure-30b",
                "one dollar less of azure-30b's commitment due by 2028-01-01 would save 0.31 $",
                0.31,
                "$ of commitment",
                1,
            ),
            ShadowPrice(
                "port:deepseek->trainium", "running deepseek on trainium a quarter earlier would save 5.1 M$", 5.1e6, "port", 2
            ),
        ),
        assumptions=(
            Assumption("azure-gb200 price", "3.30 $/chip-hour", "assumed", "assumed quote", "2026-11", 410e6),
            Assumption(
                "gb200 decode efficiency", "0.62 of HBM bandwidth, 0.54 to 0.70", "calibrated", "efficiency", "2026-10-02", 265e6
            ),
            Assumption("utilisation", "at most 85% of a pool is busy at peak", "assumed", "scenario limits"),
        ),
        headroom_frac={"coding": 0.12},
        notes=("Open architectures stand in for closed models.",),
    )


def latency(workload: str, measure: str, median: float, sigma: float, slo: float | None) -> Distribution:
    grid = [(i + 0.5) / 200 for i in range(200)]
    z = [math.sqrt(2) * _erfinv(2 * p - 1) for p in grid]
    value = [median * math.exp(sigma * x) for x in z]
    return Distribution(workload, measure, tuple(grid), tuple(value), slo, 0.95, value[189], 48_211)


def _erfinv(y: float) -> float:
    a = 0.147
    ln = math.log(max(1e-300, 1 - y * y))
    first = 2 / (math.pi * a) + ln / 2
    return math.copysign(math.sqrt(math.sqrt(first**2 - ln / a) - first), y)


def evidence(periods: int = 8, *, hostile: bool = False) -> Evidence:
    made = plan(periods, name=HOSTILE if hostile else "Frontier lab")
    workloads = tuple(
        WorkloadEvidence(
            w,
            "deepseek-v3",
            Slo(ttft_s=1.5, tpot_s=0.035),
            LENGTHS[w],
            1000.0,
            HOSTILE if hostile and w == "coding" else w.replace("-", ", "),
            *PRICES[w],
        )
        for w in PLACES
    )
    return Evidence(
        plan=made,
        title=made.scenario,
        workloads=workloads,
        proven=True,
        proof_words="The busiest ten minutes of each quarter were replayed, 289,266 requests in all.",
        rounds=(
            Round(1, {}, ("coding TTFT p95 4.6 s against 4.0 s",), made.objective_usd * 0.991),
            Round(2, {"coding": 0.12}, (), made.objective_usd),
        ),
        distributions=tuple(
            d
            for w, t in (("assistant-us", 0.42), ("assistant-eu", 0.47), ("coding", 1.6), ("everyday-asia", 0.5))
            for d in (latency(w, "ttft", t, 0.5, 1.5 if w != "coding" else 4.0), latency(w, "tpot", 0.019, 0.25, 0.035))
        ),
        contracts=(
            ContractEvidence(
                "azure-30b",
                "azure",
                "committed_spend",
                "2027-01-01",
                "2029-01-01",
                1.3e9,
                True,
                (("2028-01-01", 0.5e9), ("2029-01-01", 1.3e9)),
                "announcement of 2025-11-18",
            ),
        ),
        alternatives=(
            Alternative("Azure alone", made.objective_usd * 1.19, single_supplier=True),
            Alternative("AWS alone", None, "no European capacity keeps assistant-eu's promise", True),
            Alternative("Everything by the hour", made.objective_usd * 2.7),
        ),
        what_ifs=(
            WhatIf("the price of azure-gb200", "rises above $4.05 per chip-hour", "coding moves to tpu-v7 at gcp", 190e6),
            WhatIf("Trainium 3's port of deepseek", "slips by two quarters", "1,900 more h200-sxm by the hour", 61e6),
        ),
        energy=(
            EnergyUse("gb200@azure/eastus2", 14.2, 2.9e8, 1.1e8, 9.1e6),
            EnergyUse("trainium3@aws/us-east-2", 6.1, 1.2e8, 4.0e7, 2.4e7),
        ),
        series=tuple(
            Series(
                "busy",
                s,
                tuple(float(t) for t in range(0, 600, 10)),
                tuple(0.6 + 0.2 * math.sin(t / 60 + k) for t in range(0, 600, 10)),
            )
            for k, s in enumerate(("gb200 · azure", "tpu-v7 · gcp"))
        ),
        vendors={
            "gb200": "nvidia",
            "h200-sxm": "nvidia",
            "b200-sxm": "nvidia",
            "trainium3": "aws",
            "tpu-v7": "google",
            "maia-200": "microsoft",
        },
        sources={"efficiency": "calibrated on 112 measured points of InferenceX and MLPerf v5.1"},
        warnings=(
            "2 of 9 prices are older than 90 days: azure-gb200 (2026-07-01), cw-gb200 (2026-06-11).",
            "Maia 200 is quote only; its price is this scenario's assumption.",
        ),
        made_on="2026-11-22",
        command="polysilicon plan frontier_lab.yaml -o out",
    )
