"""Reading a scenario file: every problem at once, each with its place."""

from __future__ import annotations

from pathlib import Path

from polysilicon.catalogue import Catalogue
from polysilicon.catalogue import load as load_catalogue
from polysilicon.errors import InputError, InputErrors
from polysilicon.scenario.document import Document, parse_document, read_document
from polysilicon.scenario.resolve import problems_of
from polysilicon.scenario.schema import Scenario
from polysilicon.scenario.validate import build_scenario, place_order


def load(path: Path | str, catalogue: Catalogue | None = None) -> Scenario:
    """Read and check a scenario file.

    Without `catalogue`, the embedded one is taken, under the overlay the scenario names.

    Raises: InputError for a file that cannot be read at all, InputErrors holding every problem of one that can.
    """
    path = Path(path)
    return _checked(read_document(path), path, catalogue)


def load_text(text: str, name: str = "scenario.yaml", catalogue: Catalogue | None = None) -> Scenario:
    """Check a scenario given as text; relative paths start from the current folder or from `name`'s."""
    return _checked(parse_document(text, name), Path(name), catalogue)


def load_embedded(name: str, catalogue: Catalogue | None = None) -> Scenario:
    """Read one of the scenarios that come with polysilicon: frontier_lab, enterprise or minimal."""
    return load_text(embedded_text(name), f"{name}.yaml", catalogue)


def embedded_text(name: str) -> str:
    """Return the text of an embedded scenario."""
    from importlib.resources import files

    return (files("polysilicon") / "data" / f"{name}.yaml").read_text("utf-8")


def catalogue_for(scenario: Scenario) -> Catalogue:
    """Return the embedded catalogue under the overlay the scenario names."""
    return load_catalogue(scenario.file_beside(scenario.overlay) if scenario.overlay else None)


def _checked(document: Document, path: Path, catalogue: Catalogue | None) -> Scenario:
    built, problems = build_scenario(document)
    if built is None:
        raise InputErrors(problems)
    scenario = built.place_at(path)
    if catalogue is None:
        lost = [
            InputError(f'{section}[{i}]: "{name}" is not a file beside the scenario', where=document.where((section, i)))
            for section, names in (("deals", scenario.deals), ("claims", scenario.claims))
            for i, name in enumerate(names)
            if not scenario.file_beside(name).is_file()
        ]
        if lost:
            raise InputErrors(lost)
        if scenario.overlay and not scenario.file_beside(scenario.overlay).is_file():
            message = f'overlay: "{scenario.overlay}" is not a file beside the scenario'
            raise InputErrors([InputError(message, where=document.where(("overlay",)))])
        catalogue = catalogue_for(scenario)
    found = problems_of(scenario, catalogue, document.where)
    if found:
        raise InputErrors(sorted(found, key=place_order))
    return scenario
