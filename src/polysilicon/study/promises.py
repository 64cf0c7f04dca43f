"""Which engine would serve a workload on a chip, and promises with latencies cut."""

from __future__ import annotations

from dataclasses import replace

from polysilicon.application.workload import Slo, Workload
from polysilicon.model.port import Port
from polysilicon.scenario import Resolved


def engine_of(resolved: Resolved, workload: Workload, chip: str) -> Port | None:
    """Return the port of a workload's model family to a chip's family, or None."""
    family, target = resolved.models[workload.model].family, resolved.chips[chip].family
    return next((p for p in resolved.ports if p.model_family == family and p.chip_family == target), None)


def stricter(slo: Slo, share: float) -> Slo:
    """Return promises with latencies cut to a share.

    >>> stricter(Slo(ttft_s=1.0, tpot_s=0.04), 0.5).tpot_s
    0.02
    """
    cut = {k: v * share for k in ("ttft_s", "tpot_s", "e2e_s") if (v := getattr(slo, k)) is not None}
    return replace(slo, **cut)
