"""F12: margin per million tokens by model, chip and application, as a table and a workbook whose formulas live."""

import csv
import io

import openpyxl
from pytest import approx

from polysilicon.application.workload import Lengths, Slo
from polysilicon.economics.tokens import UnitRow
from polysilicon.exchange.xlsx import unit_workbook
from polysilicon.portfolio import Period, Placement, Plan
from polysilicon.report import Evidence, WorkloadEvidence
from polysilicon.study.units import unit_csv, unit_rows

ROWS = [UnitRow("chat", "opus", "gb200", 10.0, 4.0, 1.0, 5.0), UnitRow("batch", "haiku", "tpu-v6e", 0.5, 0.2, 0.02, 0.25)]


def test_formulas_and_cached_values():
    data = unit_workbook(ROWS)
    formulas = openpyxl.load_workbook(io.BytesIO(data))["Unit economics"]
    values = openpyxl.load_workbook(io.BytesIO(data), data_only=True)["Unit economics"]
    assert formulas["G2"].value == "=D2-E2-F2" and values["G2"].value == approx(5.0)
    assert values["H2"].value == approx(0.5) and values["H3"].value == approx(0.28 / 0.5)
    assert values["J2"].value == approx(1 - 6 / 10)


def placed(chip, mtok, usd):
    return Placement(0, "chat", f"{chip}@azure/eastus", chip, "azure", "eastus", 0.5, 1.0, 1.0, mtok, usd, 0.0)


def test_rows_of_a_plan_by_application_model_and_chip():
    plan = Plan(
        "s", "d", "c", "optimal", 0.0, 0.0, 0.0, 900.0, 100.0, 0.0, 0.0, (Period(0, "2027-01-01", 8760.0),), (),
        (placed("h100-sxm", 100.0, 600.0), placed("tpu-v7", 100.0, 200.0)), (), (),
    )  # fmt: skip
    chat = WorkloadEvidence("chat", "m", Slo(ttft_s=1.0, tpot_s=0.1), Lengths(900.0, 100.0, 0.5), 1.0, "Copilot", 3.0, 0.3, 15.0)
    unpriced = WorkloadEvidence("batch", "m", Slo(deadline_s=9.0), Lengths(900.0, 100.0), 1.0)
    rows = unit_rows(Evidence(plan=plan, title="t", workloads=(chat, unpriced)))
    price = (450 * 3.0 + 450 * 0.3 + 100 * 15.0) / 1000
    assert [(r.application, r.model, r.chip) for r in rows] == [("Copilot", "m", "h100-sxm"), ("Copilot", "m", "tpu-v7")]
    assert [r.price_usd_per_mtok for r in rows] == approx([price, price])
    assert [r.cost_usd_per_mtok for r in rows] == approx([600 * 1000 / 800 / 100, 200 * 1000 / 800 / 100])  # of 1,000 $ in all, 800 attributed
    assert sum(r.cost_usd_per_mtok * 100 for r in rows) == approx(1000.0)
    table = list(csv.DictReader(io.StringIO(unit_csv(rows).decode())))
    assert float(table[1]["margin_usd_per_mtok"]) == approx(price - 2.5)
