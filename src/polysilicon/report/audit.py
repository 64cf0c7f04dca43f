"""The page of a claim audit."""

from __future__ import annotations

from collections.abc import Sequence

from polysilicon.economics.audit import VERDICTS, Finding
from polysilicon.economics.wording import show_range
from polysilicon.report import money_charts as charts
from polysilicon.report.evidence import Section
from polysilicon.report.sheet import drawing, sheet


def page(title: str, findings: Sequence[Finding]) -> str:
    """Return findings as one HTML page: an overview, then every claim with its arithmetic."""
    counts = [(words, str(sum(f.verdict == name for f in findings)), "") for name, words in VERDICTS.items()]
    each = [Section(f"{f.id}: {VERDICTS[f.verdict]}", tuple(_words(f)), tables=_premises(f), short=f.id) for f in findings]
    return sheet(title, over="Claim audit", facts=counts, sections=[overview(findings), *each])


def overview(findings: Sequence[Finding]) -> Section:
    """Return all findings in one table under a chart of recomputed over stated."""
    heads = ("claim", "quote", "stated", "recomputed", "ratio", "verdict")
    rows = [
        (f.id, f.quote, show_range(f.stated, f.unit, above=f.bound), show_range(f.recomputed, f.unit), f.ratio, VERDICTS[f.verdict]) for f in findings
    ]
    wrong = [f for f in findings if f.verdict not in ("holds", "unsupported")]
    figures = (("Recomputed over stated, where they differ", drawing(charts.claimed(wrong))),) if any(f.ratio and f.ratio > 0 for f in wrong) else ()
    counts = ", ".join(f"{sum(f.verdict == name for f in findings)} {words}" for name, words in VERDICTS.items())
    return Section("Overview", (f"{len(findings)} claims: {counts}.",), figures, ((heads, rows),))


def _words(finding: Finding) -> list[str]:
    words = [f"“{finding.quote}” {finding.source} {finding.as_of}".strip(), finding.why, *finding.arithmetic]
    words += [
        f"It would hold if {r.premise} were {show_range((r.low, r.high), r.unit)}{'' if r.end == 'both' else f' (its {r.end} end)'}."
        for r in finding.to_hold
    ]
    return [*words, *(text for text in (finding.correction, finding.note) if text)]


def _premises(finding: Finding) -> tuple[tuple[Sequence[str], Sequence[Sequence[object]]], ...]:
    if not finding.premises:
        return ()
    rows = [(p.name, p.value, p.unit, p.kind, p.source, p.as_of) for p in finding.premises]
    return ((("premise", "value", "unit", "kind", "source", "as of"), rows),)
