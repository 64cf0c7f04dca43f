"""The embedded audit, run once, and the example deal, projected once."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from polysilicon import catalogue
from polysilicon.economics.audit import Finding, audit
from polysilicon.economics.claims import read_claims
from polysilicon.economics.deal import Deal, read_deal
from polysilicon.economics.projection import Projection, project
from polysilicon.economics.references import citer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "deal-compute-alliance.yaml"


@lru_cache(maxsize=1)
def findings() -> dict[str, Finding]:
    path = Path(str(files("polysilicon") / "data" / "claims.yaml"))
    return {f.id: f for f in audit(read_claims(path), citer(catalogue.load()))}


def covering(row: str) -> list[Finding]:
    found = [f for f in findings().values() if row in f.covers]
    assert found, f"no claim covers {row}"
    return found


def said(row: str) -> str:
    """All words the audit says on a row."""
    return " ".join(" ".join([f.verdict, f.why, *f.arithmetic, f.correction, f.note]) for f in covering(row))


@lru_cache(maxsize=1)
def example() -> Deal:
    return read_deal(EXAMPLE)


@lru_cache(maxsize=1)
def projected() -> Projection:
    return project(example())


def planner_world():
    """The planner's small worlds, shared with its own tests."""
    import sys

    folder = str(ROOT / "tests" / "planner")
    if folder not in sys.path:
        sys.path.append(folder)
    import world

    return world


def run(*arguments: str, cwd: Path | None = None):
    """Run the command line in this process, which saves starting one; it must succeed."""
    import contextlib
    import io
    import os
    import sys
    from types import SimpleNamespace
    from unittest import mock

    from polysilicon.cli.app import main

    out, told = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    place = contextlib.chdir(cwd) if cwd else contextlib.nullcontext()
    with (
        mock.patch.object(sys, "argv", ["polysilicon", *arguments]),
        mock.patch.dict(os.environ, {"NO_COLOR": "1", "COLUMNS": "240"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(told),
        place,
    ):
        try:
            main()
        except SystemExit as left:
            assert not left.code, told.buffer.getvalue().decode()
    return SimpleNamespace(stdout=out.buffer.getvalue().decode(), stderr=told.buffer.getvalue().decode())
