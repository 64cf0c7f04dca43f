"""What several tests share: the folder of third-party files, which may be absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of third-party facts and traces beside the repository; a test that needs it is skipped without it."""
    folder = Path(os.environ.get("POLYSILICON_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "README.md").exists():
        pytest.skip("third-party files are not here (set POLYSILICON_SHARED to their folder)")
    return folder
