"""M07: efficiencies by chip family and engine, with source and date; changing one moves only what it concerns."""

from chip_entry import KNOWN

from polysilicon.exchange.fitting import as_csv
from polysilicon.model.layout import Layout
from polysilicon.performance import step_times
from polysilicon.performance.efficiency import COLUMNS, rows

FP8 = Layout("fp8", "fp8", tp=8)


def test_every_efficiency_has_source_and_date():
    assert all(r["source"] and r["as_of"] and r["basis"] for r in rows())


def test_changing_one_factor_moves_only_the_chips_it_concerns(tmp_path):
    table = [*rows(), dict(zip(COLUMNS, ("cuda-blackwell", "*", "vllm", "launch_factor", "3", "1", "me", "2026", "assumed", "0", "", ""),
                               strict=True))]  # fmt: skip
    path = tmp_path / "mine.csv"
    path.write_bytes(as_csv(table))
    model = KNOWN.model("llama-3.1-70b")

    def step(chip, engine, where=""):
        return step_times(model, KNOWN.chip(chip), FP8, engine=engine, efficiency_path=where).step_s(0, 8)

    assert step("B200", "vllm", str(path)) > step("B200", "vllm")
    assert step("B200", "trtllm", str(path)) == step("B200", "trtllm")
    assert step("H100", "vllm", str(path)) == step("H100", "vllm")
