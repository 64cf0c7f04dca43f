"""The accuracy page: its drawings are there, and its generator is one command."""

import csv
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_drawing_of_the_page_is_there_and_no_other():
    named = set(re.findall(r"\]\((accuracy_\w+\.svg)\)", (DOCS / "accuracy.md").read_text()))
    assert named == {p.name for p in DOCS.glob("accuracy_*.svg")}
    assert len(named) == 4
    for name in named:
        text = (DOCS / name).read_text()
        assert text.startswith("<svg")
        assert "null" not in re.sub(r"<[^>]*>", " ", text)  # no word that a person would trip over


def test_the_page_says_what_it_is_for():
    text = (DOCS / "accuracy.md").read_text()
    for words in (
        "## All rows",
        "## Rows left out of the fit",
        "## Beside AIConfigurator",
        "## By chip",
        "## The stated band",
        "## Where it misses",
    ):
        assert words in text


def test_the_generator_is_one_command(tmp_path):
    runs = [("Llama-3.1-70B", "H100-SXM", c, m) for c in (4, 16, 64) for m in ("tpot", "ttft")]
    with (tmp_path / "points.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("source", "model", "quant", "chip", "n_chips", "parallelism", "isl", "osl", "concurrency_or_batch", "metric", "value",
                      "unit", "where_in_source", "backend"))  # fmt: skip
        out.writerows(
            ("InferenceX", m, "fp8", chip, 8, "TP8", 1024, 1024, c, metric, 10 * c**0.5, "ms", f"id=r{c}", "vllm") for m, chip, c, metric in runs
        )
        out.writerow(
            ("InferenceX", "Llama-3.1-70B", "fp8", "H100", 8, "TP8", 1024, 1024, "Offline", "output_throughput_total", 9000, "tokens/s", "", "vllm")
        )
    with (tmp_path / "peers.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("id", "silicon_ttft_ms", "silicon_tpot_ms", "aic_ttft_ms", "aic_tpot_ms"))
        out.writerows((f"r{c}", 10 * c**0.5, 10 * c**0.5, 30, 15) for c in (4, 16))
    command = [sys.executable, str(DOCS / "make_accuracy.py"), "points.csv", "--peers", "peers.csv", "--fast", "--out", str(tmp_path)]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    text = (tmp_path / "accuracy.md").read_text()
    assert "| tpot, all, one pool | 2 |" in text
    assert "the peer predicts 2 (67%)" in text
    assert "Predicted: 7 of 7 rows" in text
    assert {p.name for p in tmp_path.glob("*.svg")} == {"accuracy_band.svg", "accuracy_by_chip.svg", "accuracy_scatter.svg", "accuracy_shares.svg"}
