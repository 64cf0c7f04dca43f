"""U07: workbooks with live formulas, named cells, an assumptions sheet and cached values; recalculated they equal the engine."""

import io
import shutil
import subprocess

import openpyxl
import pytest
from audited import example

from polysilicon.economics.cost import Rack
from polysilicon.economics.deal_report import whole
from polysilicon.exchange.xlsx import cost_workbook, deal_workbook

BOOKS = {
    "cost": lambda: cost_workbook(Rack()),
    "deal": lambda: deal_workbook(whole(example(), draws=0)),
    "deal, a year late": lambda: deal_workbook(whole(example(), scenario="a year late", draws=0)),
    "deal, bear": lambda: deal_workbook(whole(example(), scenario="bear", draws=0)),
}


def formulas(data):
    book = openpyxl.load_workbook(io.BytesIO(data))
    return {(s.title, c.coordinate): c.value for s in book for row in s.iter_rows() for c in row if str(c.value).startswith("=")}


def values(data):
    book = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
    return {(s.title, c.coordinate): c.value for s in book for row in s.iter_rows() for c in row if c.value is not None}


@pytest.mark.parametrize("name", BOOKS)
def test_formulas_live_and_every_one_has_a_cached_value(name):
    data = BOOKS[name]()
    live, cached = formulas(data), values(data)
    assert len(live) > 15 and all(isinstance(cached.get(key), (int, float)) for key in live)
    book = openpyxl.load_workbook(io.BytesIO(data))
    assert "Assumptions" in book.sheetnames and len(book.defined_names) > 10


def test_recalculated_equals_the_engine_to_the_cent(tmp_path):
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("LibreOffice is not installed: recalculation is not checked here")
    for name, make in BOOKS.items():
        (tmp_path / f"{name}.xlsx").write_bytes(make())
        book = openpyxl.load_workbook(tmp_path / f"{name}.xlsx")
        book.save(tmp_path / f"{name}.xlsx")  # openpyxl drops every cached value
    command = [office, "--headless", f"-env:UserInstallation=file://{tmp_path}/profile", "--convert-to", "xlsx:Calc MS Excel 2007 XML"]
    books = [str(p) for p in tmp_path.glob("*.xlsx")]
    subprocess.run([*command, "--outdir", str(tmp_path / "out"), *books], check=True, capture_output=True, timeout=180)
    for name, make in BOOKS.items():
        data = make()
        engine, again = values(data), values((tmp_path / "out" / f"{name}.xlsx").read_bytes())
        wrong = {
            key: (engine[key], again.get(key)) for key in formulas(data) if abs(engine[key] - float(again[key])) > max(0.005, 1e-9 * abs(engine[key]))
        }
        assert not wrong, wrong
