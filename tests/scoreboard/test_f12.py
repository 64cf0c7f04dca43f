"""F12: margin per million tokens by model, chip and application, as a workbook whose formulas live."""

import io

import openpyxl
from pytest import approx

from polysilicon.economics.tokens import UnitRow
from polysilicon.exchange.xlsx import unit_workbook

ROWS = [UnitRow("chat", "opus", "gb200", 10.0, 4.0, 1.0, 5.0), UnitRow("batch", "haiku", "tpu-v6e", 0.5, 0.2, 0.02, 0.25)]


def test_formulas_and_cached_values():
    data = unit_workbook(ROWS)
    formulas = openpyxl.load_workbook(io.BytesIO(data))["Unit economics"]
    values = openpyxl.load_workbook(io.BytesIO(data), data_only=True)["Unit economics"]
    assert formulas["G2"].value == "=D2-E2-F2" and values["G2"].value == approx(5.0)
    assert values["H2"].value == approx(0.5) and values["H3"].value == approx(0.28 / 0.5)
    assert values["J2"].value == approx(1 - 6 / 10)
