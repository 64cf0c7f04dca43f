"""I03: the deal machine: the 30/10/5 file reproduces the audited numbers."""

import json

from audited import EXAMPLE, findings, run
from pytest import approx


def test_deal_file_and_audit_agree():
    out = json.loads(run("deal", str(EXAMPLE), "--draws", "0", "--json").stdout)
    audited = findings()
    assert out["circularity"]["gross_usd"] / 1e9 == approx(audited["A-01"].recomputed[0])
    assert out["circularity"]["kappa_ratio"] == approx(1 / audited["C-03"].recomputed[0])
    assert [x / 1e12 for x in out["lab"]["break_even_tokens_per_month"]] == approx(list(audited["A-50"].recomputed))
    assert out["lab"]["revenue_needed_usd"] / 1e9 == approx(audited["A-48"].recomputed[0])
    assert 100 * out["lab"]["stakes"]["microsoft"][0] == approx(audited["A-05"].recomputed[0])
    assert out["provider"]["gigawatt_facilities"] == approx([40, 60])
    assert abs(out["circularity"]["conserved_usd"]) < 1e-3
