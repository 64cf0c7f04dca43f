"""C11: an FP4 request on a chip without FP4 math says so and uses the 16-bit rate."""

from chip_entry import KNOWN

from polysilicon.application.workload import Lengths, Slo
from polysilicon.model.layout import Layout
from polysilicon.performance import table
from polysilicon.performance.steps import ground


def test_fp4_on_h100_warns_and_multiplies_in_16_bits():
    model, chip = KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100")
    g = ground(model, chip, "fp4", "fp8")
    assert g.peak_tflop_per_s == chip.dense_tflop_per_s["bf16"]
    assert "no fp4 math" in g.note
    points = table(model, chip, Lengths(1000, 200), Slo(2, 0.1), layouts=[Layout("fp4", "fp8", tp=4)])
    assert all("no fp4 math" in p.note for p in points)


def test_fp4_on_gb200_needs_no_note():
    assert ground(KNOWN.model("llama-3.1-70b"), KNOWN.chip("GB200"), "fp4", "fp8").note == ""
