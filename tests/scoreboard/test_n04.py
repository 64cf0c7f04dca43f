"""N04: a buyer's weight in a chip programme."""

import json

from audited import EXAMPLE, run
from pytest import approx


def test_share_of_the_programme(tmp_path):
    text = EXAMPLE.read_text().replace("  supplier_gross_margin_frac: 0.73", "  supplier_gross_margin_frac: 0.73\n  programme_chips: 1000000")
    (tmp_path / "d.yaml").write_text(text)
    supplier = json.loads(run("deal", "d.yaml", "--draws", "0", "--json", cwd=tmp_path).stdout)["supplier"]
    assert supplier["programme_frac"] == approx(30e9 / (3 * 8760 * 5) / 1e6)
