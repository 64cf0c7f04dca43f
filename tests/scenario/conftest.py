"""One catalogue for all tests of scenarios."""

from __future__ import annotations

import pytest

from polysilicon import catalogue as catalogues
from polysilicon.catalogue import Catalogue


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return catalogues.load()
