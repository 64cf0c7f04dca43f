"""C11: an FP4 request on a chip without FP4 math says so and uses the 16-bit rate."""

import json

import pytest
from chip_entry import KNOWN
from typer.testing import CliRunner

from polysilicon.application.workload import Lengths, Slo
from polysilicon.cli.app import build
from polysilicon.model.layout import Layout
from polysilicon.performance import table
from polysilicon.performance.steps import degrees, ground, slopes


def test_fp4_on_h100_warns_and_multiplies_in_16_bits():
    model, chip = KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100")
    g = ground(model, chip, "fp4", "fp8")
    assert g.peak_tflop_per_s == chip.dense_tflop_per_s["bf16"]
    assert "no fp4 math" in g.note
    points = table(model, chip, Lengths(1000, 200), Slo(2, 0.1), layouts=[Layout("fp4", "fp8", tp=4)])
    assert all("no fp4 math" in p.note for p in points)


def test_fp4_on_gb200_needs_no_note():
    assert ground(KNOWN.model("llama-3.1-70b"), KNOWN.chip("GB200"), "fp4", "fp8").note == ""


def test_a_user_who_asks_for_fp4_on_h100_is_told():
    result = CliRunner().invoke(build("perf"), ["perf", "llama-3.1-70b", "--chip", "H100:fp4", "--json"])
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["rows"][0]
    assert row["layout"].startswith("fp4")
    assert "no fp4 math" in row["note"]


def test_weights_and_cache_have_their_own_precision():
    model, chip, eight = KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100"), degrees([Layout("fp8", "bf16", tp=8)])
    wide, narrow = (slopes(ground(model, chip, "fp8", kv), eight) for kv in ("bf16", "fp8"))
    assert float(wide.weight_gb_per_chip[0, 0]) == float(narrow.weight_gb_per_chip[0, 0])
    assert float(wide.kv_s_per_token[0, 0]) == pytest.approx(2 * float(narrow.kv_s_per_token[0, 0]))
