"""G04: a diligence pack: concentration, related parties, commitments, as a page and a workbook."""

import openpyxl
from audited import EXAMPLE, run
from pytest import approx


def test_pack_opens_and_sums(tmp_path):
    run("diligence", str(EXAMPLE), "-o", str(tmp_path))
    page = (tmp_path / "diligence.html").read_text()
    assert "Related parties" in page and "Commitments schedule" in page and "<script" not in page
    book = openpyxl.load_workbook(tmp_path / "diligence.xlsx", data_only=True)
    assert book.sheetnames[:3] == ["Concentration of spend", "Related parties", "Commitments schedule"]
    due = [row[7].value for row in book["Commitments schedule"].iter_rows(min_row=2)]
    assert sum(due) == approx(30e9)
    formulas = openpyxl.load_workbook(tmp_path / "diligence.xlsx")["Commitments schedule"]
    assert str(formulas["I2"].value).startswith("=IF(SUM(")
