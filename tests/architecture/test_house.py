"""The house: what may import what, how large a room may grow, what a name may be called."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import grimp
import pytest
from typer import Typer
from typer.main import get_command

from polysilicon.cli.app import VERBS

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "polysilicon"
FILES = sorted(SOURCE.rglob("*.py"))
HEAVY = {
    "numpy", "scipy", "polars", "pandas", "numba", "linopy", "highspy", "altair", "vl_convert", "xarray", "pydantic",
    "ruamel", "starlette", "uvicorn", "httptools", "uvloop", "xlsxwriter",
}  # fmt: skip
LONG_ON_PURPOSE = {"simulator/kernel.py", "exchange/closed_loop.py"}  # the compiled loops: the simulator, the benchmark protocol


def test_import_ladder_holds():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


def test_no_import_goes_round_in_a_circle():
    """Not even one that hides inside a function: modules that need each other are one module, or lack a third."""
    graph = grimp.build_graph("polysilicon", exclude_type_checking_imports=True, cache_dir=None)
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()


def test_command_line_starts_without_heavy_libraries():
    code = "import sys, polysilicon, polysilicon.cli.app; print(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_help_needs_no_heavy_library():
    code = "import sys; sys.argv = ['polysilicon', '--help']\nfrom polysilicon.cli.app import main\ntry:\n    main()\nexcept SystemExit:\n    pass\nprint(' '.join(sorted({m.split('.')[0] for m in sys.modules})))"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_rooms_stay_small(path):
    text = path.read_text()
    name = str(path.relative_to(SOURCE))
    assert path.stem not in {"utils", "helpers", "common", "core", "base", "manager"}
    assert text.count("\n") <= 600 or name in LONG_ON_PURPOSE, f"{name} wants to be a folder"
    if name in LONG_ON_PURPOSE:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            size = (node.end_lineno or 0) - node.lineno + 1
            assert size <= 80, f"{name}:{node.lineno} {node.name} has {size} lines"
            names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            is_command = name.startswith("cli/")  # a command's options are its parameters: ten at most
            assert len([a for a in names if a.arg not in ("self", "cls")]) <= (12 if is_command else 9), f"{name}:{node.lineno} {node.name}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_has_at_most_ten_options_beside_json(verb):
    entry = VERBS[verb]
    command = getattr(import_module(entry.module), entry.function)
    app = command if isinstance(command, Typer) else Typer()
    if app is not command:
        app.command()(command)
    for one in getattr(found := get_command(app), "commands", {"": found}).values():
        options = {p.name for p in one.params if p.param_type_name == "option"} - {"json", "as_json", "help", "install_completion", "show_completion"}
        assert len(options) <= 10, f"{verb}: {sorted(options)}"


def test_the_solver_prints_nothing_where_json_goes():
    code = "from polysilicon.highs import new_solver, run; s = new_solver(); s.addCol(1.0, 0.0, 1.0, 0, [], []); run(s)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
