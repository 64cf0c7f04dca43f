"""The main job as commands: plan a scenario, prove the plan, write a report; and the same for the embedded lab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polysilicon.cli.output import print_json, print_table, progress, say, write_atomically
from polysilicon.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polysilicon.catalogue import Catalogue
    from polysilicon.portfolio import Plan
    from polysilicon.report import Evidence
    from polysilicon.scenario import Scenario
    from polysilicon.study import StudyResult

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for plan.json, report.html, .md, .json and tables.")]
Json = Annotated[bool, typer.Option("--json", help="The report as one JSON document on stdout.")]
Seed = Annotated[int | None, typer.Option(help="Seed of generated traffic; the scenario's own where left out.", min=0)]
Margin = Annotated[
    float | None,
    typer.Option(help="Quantile of the prediction error to size for: 0.5 trusts the model, 0.9 is careful.", min=0.01, max=0.99),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
SECONDS_FOR_ALTERNATIVES = 8.0
MOST_ROWS = 12


def plan(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")],
    out: Out = Path("out"),
    json: Json = False,
    seed: Seed = None,
    margin: Margin = None,
    proof: Annotated[bool, typer.Option("--proof/--no-proof", help="Replay the traffic on the planned fleet.")] = True,
    alternatives: Annotated[bool, typer.Option(help="Also price one cloud alone and hourly chips alone.")] = True,
    also: Annotated[list[str] | None, typer.Option("--with", help="Sections by re-solving: negotiate, port, stress, frontier, slo, all.")] = None,
    compare: Annotated[list[str] | None, typer.Option(help="A section on two offers, contracts or patterns: A,B.")] = None,
    quiet: Quiet = False,
) -> None:
    """Plan a scenario, prove the plan by replaying its traffic, and write a report.

    Exit codes: 0 a plan that keeps its promises, 1 wrong input, 3 no feasible plan, 4 a promise that cannot be kept.
    """
    from polysilicon.scenario import catalogue_for, load

    asked = load(scenario)
    _study(
        asked, catalogue_for(asked), out, json=json, seed=seed, margin=margin, proof=proof, alternatives=alternatives,
        wanted=_wanted(also or []), pairs=_pairs(compare or []), quiet=quiet, command=f"polysilicon plan {scenario}",
    )  # fmt: skip


def demo(out: Out = Path("out"), json: Json = False, seed: Seed = None, quiet: Quiet = False) -> None:
    """Plan the embedded frontier lab: three model tiers, three continents, a $30 billion commitment; prove it; report."""
    from polysilicon import catalogue
    from polysilicon.scenario import load_embedded

    known = catalogue.load()
    lab = load_embedded("frontier_lab", known)
    _study(lab, known, out, json=json, seed=seed, margin=None, proof=True, alternatives=True, quiet=quiet, command="polysilicon demo")


def _study(
    scenario: Scenario, catalogue: Catalogue, out: Path, *, json: bool, seed: int | None, margin: float | None, proof: bool,
    alternatives: bool, quiet: bool, command: str, wanted: Sequence[str] = (), pairs: Sequence[tuple[str, str]] = (),
) -> None:  # fmt: skip
    from polysilicon import report, study
    from polysilicon.catalogue.freshness import warning
    from polysilicon.study.alternatives import alternatives_of, what_ifs_of
    from polysilicon.study.answers import answers_of
    from polysilicon.study.deals import papers_of, sections_of
    from polysilicon.study.evidence import evidence_of

    _check_pairs(scenario, catalogue, pairs)
    papers = papers_of(scenario, catalogue)
    kept: list[Path] = []

    def keep(found: Plan) -> None:
        write_atomically(out / "plan.json", found.to_json())
        kept.append(out / "plan.json")

    try:
        with progress("study", quiet=quiet) as bar:
            result = study.explore(
                scenario, catalogue, progress=lambda done, words: bar(0.85 * done, words), seed=seed, margin_quantile=margin,
                proof=proof, on_plan=keep,
            )  # fmt: skip
            others = alternatives_of(result, seconds=SECONDS_FOR_ALTERNATIVES) if alternatives else ()
            asked = answers_of(result, wanted, pairs=pairs, progress=lambda done, words: bar(0.9 + 0.05 * done, words))
            evidence = evidence_of(
                result, catalogue, alternatives=others, what_ifs=what_ifs_of(result), asked=asked,
                sections=sections_of(papers, result.plan), command=command,
            )  # fmt: skip
            bar(0.95, "report")
            paths = report.write(evidence, out)
            _write_units(evidence, out)
    except KeyboardInterrupt:
        say(f"interrupted; {kept[-1]} holds the last plan, not proven" if kept else "interrupted before there was a plan")
        raise typer.Exit(130) from None
    if stale := warning(catalogue, among={offer.id for offer in result.resolved.offers}):
        say(stale)
    if json:
        from polysilicon.report.files import record

        print_json(record(evidence))
    else:
        _first_screen(result, evidence, paths)
    if result.failure is not None:
        raise result.failure


def _write_units(evidence: Evidence, out: Path) -> None:
    """Write unit economics beside the report where workloads state prices: a workbook whose formulas live, and a table."""
    from polysilicon.exchange.xlsx import unit_workbook
    from polysilicon.study.units import unit_csv, unit_rows

    rows = unit_rows(evidence)
    if rows:
        write_atomically(out / "unit-economics.xlsx", unit_workbook(rows))
        write_atomically(out / "unit-economics.csv", unit_csv(rows))


def _wanted(also: Sequence[str]) -> tuple[str, ...]:
    """Return the questions asked for; several may stand in one option, comma between."""
    from polysilicon.study.answers import QUESTIONS

    names = [name.strip() for text in also for name in text.split(",") if name.strip()]
    for name in names:
        if name not in (*QUESTIONS, "all"):
            raise unknown_name(name, [*QUESTIONS, "all"], where="--with", what="section", plural="sections")
    return QUESTIONS if "all" in names else tuple(dict.fromkeys(names))


def _pairs(compare: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found = []
    for text in compare:
        a, _, b = text.partition(",")
        if not a.strip() or not b.strip():
            raise UsageError(f'--compare "{text}" is not two names', hint="write two offers, contracts or patterns: A,B")
        found.append((a.strip(), b.strip()))
    return tuple(found)


def _check_pairs(scenario: Scenario, catalogue: Catalogue, pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse offers that do not exist before the study begins, not after it."""
    if pairs:
        from polysilicon.planner.thresholds import check_known
        from polysilicon.scenario import resolve

        resolved = resolve(scenario, catalogue)
        names = [o.id for o in resolved.offers] + [c.id for c in resolved.contracts]
        for pair in pairs:
            for name in pair:
                check_known(name, names)


def _first_screen(result: StudyResult, evidence: Evidence, paths: dict[str, Path]) -> None:
    """Print one recommendation, one table, one path."""
    from polysilicon.report import figures, words

    print(words.recommendation(evidence))
    gap = words.gap(evidence)
    print(f"{words.proof(evidence)[1]} {gap[:1].upper()}{gap[1:]}.")
    print()
    count = len(figures.held(evidence).rows)
    table = figures.at_a_glance(evidence, MOST_ROWS) if result.plan.holdings else figures.placements(evidence)
    shown = table.records()[:MOST_ROWS]
    print_table(
        [column.label for column in table.columns],
        [[words.cell(row[column.key], column.form) for column in table.columns] for row in shown],
    )
    if (rest := (count or len(table.rows)) - len(shown)) > 0:
        print(f"and {rest} smaller position{'s' if rest > 1 else ''}, in the report")
    print(f"report: {paths['report.html']}")
