"""Claims: verdict rules, what must change, hostile files, and the hand-made audit of the same claims."""

import csv
import json
import os
import subprocess
import sys

import pytest

from polysilicon import catalogue
from polysilicon.economics.audit import audit
from polysilicon.economics.claims import from_document, read_claims
from polysilicon.economics.references import citer
from polysilicon.errors import InputError, InputErrors
from polysilicon.scenario.document import parse_document

HEAD = "polysilicon_claims: 1\nclaims:\n"
BASE = """  - id: c
    quote: q
    quantity: a thing
    stated: {value: 10, unit: B$}
    premises:
      a: {value: 5, unit: B$, source: own}
      n: {value: 2, unit: "1", source: own}
    formula: a * n
"""


@pytest.fixture(scope="module")
def cite():
    return citer(catalogue.load())


def check(text, cite):
    return audit(from_document(parse_document(HEAD + text, "c.yaml")), cite)


def test_the_five_verdicts(cite):
    assert check(BASE, cite)[0].verdict == "holds"
    assert check(BASE.replace("value: 10", "value: 20"), cite)[0].verdict == "contradicts_own_premises"
    assert (
        check(BASE.replace("value: 10", "value: 20").replace("source: own}\n      n", "source: a filing}\n      n"), cite)[0].verdict
        == "contradicted_by_source"
    )
    assert check(BASE.replace("formula: a * n", "readings: {twice: a * n, once: a}"), cite)[0].verdict == "ambiguous"
    assert check(BASE.replace("    formula: a * n\n", ""), cite)[0].verdict == "unsupported"
    assert check(BASE.replace("source: own}\n    formula", "source: ours, basis: assumed}\n    formula"), cite)[0].verdict == "unsupported"
    assert check(BASE.replace("value: 5", "value: 10").replace("formula: a * n", "formula: a"), cite)[0].why == "its premise only restates it"
    assert check(BASE + "    baseline: {stated: '', source: fleet}\n", cite)[0].verdict == "ambiguous"


def test_arithmetic_ratio_and_what_must_change(cite):
    (found,) = check(BASE.replace("value: 10", "value: 40"), cite)
    assert found.ratio == pytest.approx(0.25) and found.arithmetic == ("5 B$ * 2 = 10 B$",)
    assert {r.premise: r.low for r in found.to_hold} == pytest.approx({"a": 20, "n": 8})
    assert found.correction == "A thing: 10 B$, not 40 B$."


def test_each_repair_makes_the_claim_hold(cite):
    from importlib.resources import files
    from pathlib import Path

    text = (files("polysilicon") / "data" / "claims.yaml").read_text()
    findings = audit(read_claims(Path(str(files("polysilicon") / "data" / "claims.yaml"))), cite)
    claim = next(f for f in findings if f.id == "A-50")
    repair = next(r for r in claim.to_hold if r.premise == "revenue")
    mended = text.replace(
        "revenue: {value: 60, unit: B$, source: own}\n      term", f"revenue: {{value: {repair.low}, unit: B$, source: own}}\n      term"
    )
    assert mended != text
    again = audit(from_document(parse_document(mended, "m.yaml")), cite)
    assert next(f for f in again if f.id == "A-50").verdict == "holds"


@pytest.mark.parametrize(
    ("change", "words", "line"),
    [
        (("formula: a * n", "formula: a / (n - n)"), "divides by zero", 10),
        (("formula: a * n", "formula: a + n"), "mixes units", 10),
        (("formula: a * n", "formula: a * m"), '"m" is not a premise', None),
        (("formula: a * n", "formula: __import__('os')"), "no meaning", 10),
        (("formula: a * n", "formula: a * catalogue.gb9000.hbm_gb"), "not in the catalogue", None),
        (("formula: a * n", "formula: a * catalogue.gb200.hbm_bg"), 'no "hbm_bg"', None),
        (("formula: a * n", "formula: catalogue.gb200.hbm_gb"), "measures", None),
        (("value: 2, unit: \"1\", source: own", "value: n, source: own"), "circle", None),
        (("value: 2, unit: \"1\"", "value: 2, unit: furlong"), "not known", None),
        (("      n: {value: 2, unit: \"1\", source: own}", "      n: {value: 2, unit: \"1\"}"), "no source", None),
        (("quantity: a thing", "quantitty: a thing"), "not known here", 5),
        (("stated: {value: 10, unit: B$}", "stated: {low: 3, high: 1}"), "above high", 6),
        (("formula: a * n", "formula: a * n\n    correction: '{nothing}'"), "neither a premise", None),
    ],
)  # fmt: skip
def test_a_wrong_file_says_where(change, words, line, cite):
    with pytest.raises(InputErrors, match=words) as caught:
        check(BASE.replace(*change), cite)
    assert all(problem.where.startswith("c.yaml") for problem in caught.value.problems)
    if line:
        assert f"c.yaml:{line}:" in str(caught.value)


def test_a_key_given_twice_or_a_number_without_end_is_refused():
    endless = ("stated: {value: 10, unit: B$}", "stated: {value: .inf, unit: B$}")
    for change, words in ((("quantity: a thing", "quantity: a thing\n    quantity: another"), "given twice"), (endless, "not a finite number")):
        with pytest.raises(InputErrors, match=words) as caught:
            from_document(parse_document(HEAD + BASE.replace(*change), "c.yaml"))
        assert "c.yaml:" in str(caught.value)


def test_all_problems_at_once(cite):
    with pytest.raises(InputErrors) as caught:
        check(BASE.replace("a * n", "a / 0") + BASE.replace("id: c", "id: d").replace("a * n", "a + n"), cite)
    assert len(caught.value.problems) == 2


def test_ids_are_unique(cite):
    with pytest.raises(InputErrors, match="given twice"):
        check(BASE + BASE, cite)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("claim_id,quantity\nx,y\n", "are missing"),
        ("claim_id,quote_short,quantity,stated_value,unit,premises,formula\nx,q,n,abc,B$,a=1[B$|s],a\n", "is not a number"),
        ("claim_id,quote_short,quantity,stated_value,unit,premises,formula\nx,q,n,1,B$,a=[[,a\n", "is not `name=value"),
        ("claim_id,quote_short,quantity,stated_value,unit,premises,formula\nx,q,n,1,B$,a=1[B$|s];b=2[GW|s],a+b\n", "mixes units"),
        ("claim_id,quote_short,quantity,stated_value,unit,premises,formula\nx,q,n,1,B$,a=0[1|s],1/a\n", "divides by zero"),
        ("", "missing"),
    ],
)  # fmt: skip
def test_a_wrong_table_says_where(text, words, tmp_path, cite):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        audit(read_claims(tmp_path / "c.csv"), cite)
    assert "c.csv" in str(caught.value)


def test_nothing_is_written_of_a_wrong_file(tmp_path):
    (tmp_path / "c.yaml").write_text(HEAD + BASE.replace("a * n", "a / 0"))
    done = subprocess.run(
        [sys.executable, "-c", "from polysilicon.cli.app import main; main()", "audit", "c.yaml", "-o", "o.html"], cwd=tmp_path,
        capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 1 and "c.yaml:10" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "o.html").exists()


@pytest.mark.shared
def test_the_hand_made_audit_agrees_or_the_difference_is_explained(shared_dir, cite):
    from importlib.resources import files
    from pathlib import Path

    findings = {f.id: f for f in audit(read_claims(Path(str(files("polysilicon") / "data" / "claims.yaml"))), cite)}
    same = {"reproduces": {"holds"}, "contradicted": {"contradicts_own_premises", "contradicted_by_source"}, "unverifiable": {"unsupported"}}
    differing = {}
    with (shared_dir / "data" / "claims.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80
    for row in rows:
        found = findings[row["claim_id"]]
        if found.verdict not in same[row["verdict"]]:
            differing[row["claim_id"]] = found.why
        if row["recomputed_value"] and found.recomputed and row["claim_id"] not in ("A-14", "A-17", "A-15", "A-54", "E-01"):
            stated = [float(x) for x in row["recomputed_value"].split("..")]
            assert found.recomputed == pytest.approx((stated[0], stated[-1]), rel=2e-3), row["claim_id"]
    assert set(differing) == {"A-14", "A-17", "E-10"} and all(differing.values())


def test_the_documents_count_as_the_engine_does(cite):
    from collections import Counter
    from importlib.resources import files
    from pathlib import Path

    found = Counter(f.verdict for f in audit(read_claims(Path(str(files("polysilicon") / "data" / "claims.yaml"))), cite))
    own, wrong = found["contradicts_own_premises"], found["contradicts_own_premises"] + found["contradicted_by_source"]
    text = " ".join((Path(__file__).parents[2] / "docs/concepts/claims.md").read_text().split())
    told = f"{found['holds']} hold, {wrong} are contradicted ({own} by their own premises), {found['ambiguous']} are ambiguous, "
    told += f"{found['unsupported']} unsupported"
    assert told in text


@pytest.mark.shared
def test_the_embedded_audit_against_the_hand_made_one(shared_dir, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from polysilicon.cli.app import main; main()", "audit", "--against", str(shared_dir / "data" / "claims.csv")],
        capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, cwd=tmp_path,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if " says " in line]
    assert [line[:4] for line in told] == ["A-14", "A-17", "E-10"] and all("reproduces" in line for line in told)


@pytest.mark.shared
def test_the_table_itself_is_read_and_its_verdicts_checked(shared_dir, cite):
    findings = audit(read_claims(shared_dir / "data" / "claims.csv"), cite)
    assert len(findings) == 80
    assert {f.id for f in findings if f.differs} == {"A-25", "A-39", "E-03", "E-10"}


def test_json_has_the_promised_keys(cite):
    (found,) = check(BASE, cite)
    out = found.as_json()
    assert {"id", "verdict", "stated", "recomputed", "ratio"} <= set(out) and out["stated"] == out["recomputed"] == 10.0
    assert json.dumps(out)
