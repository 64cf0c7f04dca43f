"""The repository speaks of the product alone, and its documents say what its code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polysilicon.cli.app import VERBS

ROOT = Path(__file__).resolve().parents[2]
SKIPPED_SUFFIXES = {".png", ".parquet", ".gz", ".woff2", ".svg", ".xlsx"}
# Pieces are joined here so that this file does not say what it forbids.
PIECES = [("/wor", "k/"), ("/far", "m/"), ("TO", "DO"), ("FIX", "ME"), ("NotImplemented", "Error"), ("pypi", r"\.org"), ("npmjs", r"\.(?:com|org)")]
FORBIDDEN = re.compile("|".join(a + b for a, b in PIECES))


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in done.stdout.splitlines()]


def test_no_workplace_no_leftovers():
    bad = []
    for path in tracked():
        if path.suffix in SKIPPED_SUFFIXES or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="ignore").splitlines(), 1):
            if len(line) < 2000 and FORBIDDEN.search(line):
                bad.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not bad, "\n".join(bad)


def test_no_large_files():
    assert not [p for p in tracked() if p.is_file() and p.stat().st_size > 2_000_000]


def test_command_reference_is_current():
    command = [sys.executable, "-m", "polysilicon.cli.reference"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.stdout == (ROOT / "docs/reference/cli.md").read_text(), "write it anew: python -m polysilicon.cli.reference > docs/reference/cli.md"


def test_every_command_is_told_in_the_documents():
    told = "\n".join(p.read_text() for p in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if "reference" not in p.parts)
    missing = [verb for verb in VERBS if f"polysilicon {verb}" not in told]
    assert not missing, f"no document shows how to use: {missing}"


def test_links_between_documents_lead_somewhere():
    bad = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
        bad += [f"{path.relative_to(ROOT)} -> {t}" for t in targets if "://" not in t and not (path.parent / t).exists()]
    assert not bad, bad


def test_make_offers_what_the_readme_says():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
