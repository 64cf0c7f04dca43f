"""Commands about scenario files: write a starter, check one, print their schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polysilicon.cli.output import print_json, say, write_atomically
from polysilicon.errors import InputError, InputErrors

EXAMPLES: dict[str, str] = {"minimal": "minimal", "enterprise": "enterprise", "frontier": "frontier_lab"}


def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("scenario.yaml"),
    example: Annotated[Literal["minimal", "enterprise", "frontier"], typer.Option(help="Which starter.")] = "minimal",
    force: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented starter scenario to edit.

    minimal: one model, one promise. enterprise: an API or eight GPUs of one's own. frontier: three tiers of models
    on three continents, under commitments.
    """
    from polysilicon.scenario import embedded_text

    if file.exists() and not force:
        raise InputError("is there already", where=str(file), hint="choose another name, or replace it with --force")
    write_atomically(file, embedded_text(EXAMPLES[example]).encode())
    say(f"wrote {file}; next: polysilicon check {file}, then polysilicon plan {file}")


def check(
    file: Annotated[Path, typer.Argument(help="Scenario file.")],
    json: Annotated[bool, typer.Option("--json", help="Problems or the summary as JSON.")] = False,
) -> None:
    """Validate a scenario: every error at once, as file:line:col, with a hint. Exit code 1 when there is one."""
    from polysilicon.scenario import catalogue_for, load, resolve

    try:
        scenario = load(file)
    except InputError as error:
        if not json:
            raise
        problems = error.problems if isinstance(error, InputErrors) else [error]
        rows = [{"where": p.where, "message": p.message, "hint": p.hint} for p in problems]
        print_json({"file": str(file), "ok": False, "problems": rows})
        raise typer.Exit(1) from None
    resolved = resolve(scenario, catalogue_for(scenario))
    pools = {o.pool for o in resolved.offers if o.chip}
    summary = {
        "file": str(file), "ok": True, "name": scenario.name, "periods": len(resolved.periods),
        "workloads": len(resolved.workloads),
        "offers": len(resolved.offers), "pools": len(pools), "contracts": len(resolved.contracts), "digest": resolved.digest,
        "notes": list(resolved.notes),
    }  # fmt: skip
    if json:
        print_json(summary)
        return
    print(
        f"{file}: fine. {len(resolved.workloads)} workloads over {len(resolved.periods)} periods, {len(resolved.offers)} offers "
        f"in {len(pools)} pools, {len(resolved.contracts)} contracts."
    )
    for note in resolved.notes:
        print(f"note: {note}")


def schema() -> None:
    """Print the JSON Schema of scenario files.

    Save it and point an editor's YAML language server at it; the starters carry the comment that does so.
    """
    from polysilicon.scenario import Scenario

    body = Scenario.model_json_schema()
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **body, "title": "polysilicon scenario"})
