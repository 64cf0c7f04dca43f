"""C17: what-if chips, and which field of a chip a long-context decode is worth most in."""

import json
from dataclasses import replace

from chip_entry import KNOWN
from command import run

from polysilicon.application.workload import Lengths, Slo
from polysilicon.performance import best, tornado, what_if

LONG = Lengths(32000, 4000)
SLO = Slo(60.0, 0.05)


def test_memory_bandwidth_leads_the_tornado_of_a_long_context_decode():
    swings = tornado(KNOWN.model("llama-3.1-8b"), replace(KNOWN.chip("H200"), hbm_gb=512.0), LONG, SLO)
    assert swings[0].field == "hbm_gb_per_s"


def test_a_hypothetical_chip_is_a_field_away():
    model, chip = KNOWN.model("llama-3.1-8b"), KNOWN.chip("H200")
    faster = what_if(chip, "hbm_gb_per_s", 2.0)
    one, two = best(model, chip, LONG, SLO), best(model, faster, LONG, SLO)
    assert one is not None
    assert two is not None
    assert two.tok_per_s_per_chip > one.tok_per_s_per_chip


def test_the_tornado_is_printed_widest_first_also_for_a_chip_nobody_sells(tmp_path):
    """A hypothetical chip is an overlay: H200's figures with more memory, its bandwidth leads a long-context decode."""
    lines = ["source: ours", "as_of: 2026-11", "basis: assumed", "chips:", "  dream:", "    vendor: us", "    family: cuda-hopper", "    hbm_gb: 512"]
    lines += ["    hbm_gb_per_s: 4800", "    dense_tflop_per_s: {bf16: 989, fp8: 1979}", "    scale_up_chips: 8", "    scale_up_gb_per_s: 450",
              "    scale_out_gb_per_s: 50", "    tdp_w: 700"]  # fmt: skip
    (tmp_path / "dream.yaml").write_text("\n".join(lines) + "\n")
    ask = ["tornado", "llama-3.1-8b", "dream", "--isl", "32000", "--osl", "4000", "--ttft", "60", "--overlay", str(tmp_path / "dream.yaml")]
    fields = json.loads(run(*ask, "--json").stdout)["fields"]
    assert fields[0]["field"] == "hbm_gb_per_s"
    assert fields[0]["low_cost_ratio"] > 1.1 > 1.0 > fields[0]["high_cost_ratio"]
    widths = [abs(f["low_cost_ratio"] - f["high_cost_ratio"]) for f in fields]
    assert widths == sorted(widths, reverse=True)
    printed = [line for line in run(*ask).stdout.splitlines() if "#" in line]
    assert printed[0].split()[0] == "hbm_gb_per_s"
