"""The models a scenario names: the catalogue's, or the user's own by config.json."""

from __future__ import annotations

import json

from polysilicon.catalogue import Catalogue
from polysilicon.errors import InputError
from polysilicon.model.architecture import Model, from_config
from polysilicon.scenario.schema import Scenario, WorkloadPart


def is_config_path(name: str) -> bool:
    """Return whether a model's name is the path of a config.json."""
    return name.endswith(".json") or name.startswith(("./", "../", "/"))


def model_of(workload: WorkloadPart, scenario: Scenario, catalogue: Catalogue) -> Model:
    """Return the model of a workload: the catalogue's, or the user's own by its config.json.

    Raises: InputError when the name is not known, or the file cannot be read as an architecture.
    """
    if not is_config_path(workload.model):
        return catalogue.model(workload.model)
    path = scenario.file_beside(workload.model)
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise InputError(f"is not JSON: {error}", where=str(path)) from error
    return from_config(workload.model, config, where=str(path))
