"""Commands of the deal side: audit, deal, deals, tco, prices, lockin, watch, workbook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polysilicon.cli.output import number, print_json, print_table, say, write_atomically

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Overlay = Annotated[Path | None, typer.Option(help="A file of facts that override the catalogue.")]


def audit(
    claims: Annotated[Path | None, typer.Argument(help="A claims file (YAML), or a CSV table; without one, the embedded audit.")] = None,
    only: Annotated[str, typer.Option(help="One claim by its id, or all of one verdict.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write a page with every claim, HTML.")] = None,
    overlay: Overlay = None,
    json: Json = False,
) -> None:
    """Check claims: does each hold, against what, and which premise would have to change?"""
    from importlib.resources import files

    from polysilicon import catalogue
    from polysilicon.economics.audit import VERDICTS
    from polysilicon.economics.audit import audit as run
    from polysilicon.economics.claims import read_claims
    from polysilicon.economics.references import citer

    path = claims or Path(str(files("polysilicon") / "data" / "claims.yaml"))
    chosen = read_claims(path)
    findings = run(chosen, citer(catalogue.load(overlay)))
    if out is not None:
        from polysilicon.report.audit import page

        write_atomically(out, page(chosen.title or path.name, findings).encode())
        say(f"wrote {out}")
    if only:
        findings = tuple(f for f in findings if only in (f.id, f.verdict) or only in f.covers)
        if not findings:
            from polysilicon.errors import InputError

            raise InputError(f'no claim has the id or verdict "{only}"', where=str(path), hint=f"verdicts: {', '.join(VERDICTS)}")
    if json:
        print_json({"claims": [f.as_json() for f in findings], "counts": _counts(findings)})
        return
    _print_findings(findings, detailed=len(findings) <= 12)
    print("  ".join(f"{VERDICTS[name]}: {count}" for name, count in _counts(findings).items()))


def _counts(findings: Any) -> dict[str, int]:
    from polysilicon.economics.audit import VERDICTS

    return {name: count for name in VERDICTS if (count := sum(f.verdict == name for f in findings))}


def _print_findings(findings: Any, *, detailed: bool) -> None:
    from polysilicon.economics.audit import VERDICTS
    from polysilicon.economics.wording import show_range

    print_table(
        ["claim", "quantity", "stated", "recomputed", "ratio", "verdict"],
        [[f.id, f.quantity, show_range(f.stated, f.unit, above=f.bound), show_range(f.recomputed, f.unit) if f.recomputed else "-",
          "-" if f.ratio is None else number(f.ratio), VERDICTS[f.verdict]] for f in findings],
    )  # fmt: skip
    for f in findings if detailed else ():
        print(f'{f.id}  "{f.quote}"\n  {VERDICTS[f.verdict]}: {f.why}')
        for line in f.arithmetic:
            print(f"  {line}")
        for repair in f.to_hold:
            end = "" if repair.end == "both" else f" (for its {repair.end} end)"
            needed = show_range((repair.low, repair.high), repair.unit)
            print(f"  holds if {repair.premise} were {needed}, not {number(repair.value)} {repair.unit}{end}")
        for words in (f.correction, f.note):
            if words:
                print(f"  {words}")
        if f.expected:
            print(f"  the file's own verdict: {f.expected}")
        print()
