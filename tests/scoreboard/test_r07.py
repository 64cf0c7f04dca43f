"""R07: how many racks replace 4,000 H100."""

import json

import pytest
from command import run


def measures(*arguments):
    done = run("chips", "--equivalent", *arguments, "--json")
    return {row["measure"]: row for row in json.loads(done.stdout)["rows"]}


def test_four_ratios_and_the_one_of_the_press():
    rows = measures("4000xH100", "576xGB200")
    assert rows["BF16 dense"]["ratio"] == pytest.approx(0.364, abs=0.001)
    assert rows["FP16 as the press prints it"]["ratio"] == pytest.approx(0.36)
    assert rows["HBM capacity"]["ratio"] == pytest.approx(0.335, abs=0.001)
    assert rows["HBM bandwidth"]["ratio"] == pytest.approx(0.344, abs=0.001)
    speed = rows["output tokens"]
    assert 0.2 < speed["ratio"] < 1.5
    assert "P95" in speed["note"]


def test_racks_needed_differ_by_measure():
    rows = measures("4000xH100", "gb200-nvl72")
    assert rows["BF16 dense"]["needed_systems"] == pytest.approx(4000 * 989 / 2500 / 72)
    assert rows["HBM capacity"]["needed_systems"] == pytest.approx(4000 * 80 / 186 / 72)
    assert rows["output tokens"]["needed_systems"] > 1
