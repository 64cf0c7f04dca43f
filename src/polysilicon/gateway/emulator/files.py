"""Reading FLEET.yaml, the fleet one gets without one, and running it until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from polysilicon.errors import InputError
from polysilicon.gateway.emulator.endpoint import Emulator
from polysilicon.gateway.emulator.fleet import FAULTS, Fleet, FleetEndpoint, FleetModel
from polysilicon.gateway.wiring import DOORS
from polysilicon.gateway.worker import run as run_loop

MODEL = "claude-sonnet"


def default_fleet() -> Fleet:
    """Return the seven doors of one model and two engines, each on a free port."""
    names = {"bedrock": "us.anthropic.claude-sonnet-v1:0", "vertex": "claude-sonnet@1"}
    clouds = {"claude": "anthropic", "aws-platform": "aws", "bedrock": "aws", "bedrock-messages": "aws", "vertex": "gcp",
              "google-cloud": "gcp", "foundry": "azure"}  # fmt: skip
    endpoints = [FleetEndpoint(door, door, cloud=clouds.get(door, "own"), models={names.get(door, MODEL): FleetModel()}) for door in DOORS]
    return Fleet(tuple(endpoints))


def read_fleet(path: Path) -> Fleet:
    """Read a fleet file.

    A model with `of` and `chip` takes its latencies from the performance model.

    Raises: InputError with the place of what is wrong.
    """
    from polysilicon.scenario.document import read_document

    document = read_document(path)
    if document.problems:
        raise document.problems[0]
    try:
        fleet = msgspec.convert(document.value, Fleet)
    except msgspec.ValidationError as error:
        raise InputError(f"is not a fleet: {error}", where=document.where(())) from error
    for i, endpoint in enumerate(fleet.endpoints):
        if endpoint.door not in DOORS:
            where = document.where(("endpoints", i, "door"))
            raise InputError(f'door "{endpoint.door}" is not one of {", ".join(DOORS)}', where=where)
        for j, fault in enumerate(endpoint.faults):
            if fault.kind not in FAULTS:
                where = document.where(("endpoints", i, "faults", j, "kind"))
                raise InputError(f'fault "{fault.kind}" is not one of {", ".join(FAULTS)}', where=where)
        for model in endpoint.models.values():
            if model.of:
                _predict(model)
    return fleet


def _predict(model: FleetModel) -> None:
    """Take latencies from the performance model, for the lengths a short chat has."""
    from polysilicon import performance
    from polysilicon.application.workload import Lengths, Slo
    from polysilicon.catalogue import load

    catalogue = load()
    point = performance.best(catalogue.model(model.of), catalogue.chip(model.chip), Lengths(1000, 200), Slo())
    if point is None:
        raise InputError(f'"{model.of}" does not run on "{model.chip}"', where="fleet")
    model.ttft_s, model.tpot_s = point.ttft_s, point.tpot_s


def dump(fleet: Fleet) -> str:
    """Return a fleet as YAML."""
    import io

    from ruamel.yaml import YAML

    out = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    plain = msgspec.to_builtins(fleet)
    writer.dump(plain, out)
    return out.getvalue()


def run(fleet: Fleet, ready: Callable[[dict[str, int]], None], seconds: float) -> None:
    """Emulate until interrupted, or for so many seconds."""

    async def go() -> None:
        emulator = Emulator(fleet)
        try:
            ready(await emulator.start())
            await (asyncio.sleep(seconds) if seconds else asyncio.Event().wait())
        finally:
            await emulator.stop()

    run_loop(go())
