"""C10: the comparison table of the press, with the catalogue's figures and a verdict beside every cell."""

import json
from pathlib import Path

from command import run

GOLDEN = Path(__file__).with_name("golden_c10.txt")
PRESS = {  # what the table printed: H100, GB200
    "FP4 math": (None, 20), "FP8 math": (4, 10), "FP16 math": (2, 5), "memory bandwidth": (3.35, 8),
    "links, both ways": (900, 1800),
    "chip power": (350, 1000), "dense params a chip": (30, 270), "MoE params a chip": (None, 27000),
}  # fmt: skip


def test_the_printed_table_is_the_golden_one():
    assert run("chips", "--compare", "h100-sxm", "gb200").stdout.rstrip() == GOLDEN.read_text().rstrip()


def test_every_cell_of_the_press_has_our_value_or_its_absence_and_a_verdict():
    table = json.loads(run("chips", "--compare", "H100", "GB200", "--json").stdout)
    lines = {line["quantity"]: line for line in table["lines"]}
    for quantity, said in PRESS.items():
        for side, figure in zip(("left", "right"), said, strict=True):
            cell = lines[quantity][side]
            assert cell["press"] == figure
            assert cell["verdict"], (quantity, side)
    ratios = {q: lines[q]["ratio"] for q in PRESS}
    assert ratios["FP8 math"] == 5000 / 1978
    assert lines["FP8 math"]["left"]["dense"] * 2 > lines["FP8 math"]["left"]["sparse"] * 0.99  # dense and sparse side by side
