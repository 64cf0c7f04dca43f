"""The controller's side of sharing: leases kept ahead of need, lines shipped, the others' burn-down and demand heard of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from polysilicon.gateway.budgets import Budgets
from polysilicon.gateway.shared.host import Host
from polysilicon.gateway.shared.leases import LeasedBudgets
from polysilicon.gateway.shared.postgres import Elsewhere, Shipper
from polysilicon.gateway.wiring import Wiring


class Peers:
    """What a controller does for its fleet, once a tick, beside its event loop. Alone, it does nothing."""

    def __init__(self, wiring: Wiring, budgets: Budgets) -> None:
        state = Path(wiring.state)
        self.leased = budgets if isinstance(budgets, LeasedBudgets) else None
        self.shipper: Shipper | None = None
        if wiring.shared is not None and wiring.shared.postgres:
            host = Host(state)
            self.shipper = Shipper(wiring.shared.postgres, state / "ledger", host.name)
            host.close()
        self._recovered = False

    @property
    def elsewhere(self) -> Elsewhere:
        """Return what the other hosts said last."""
        return self.shipper.elsewhere if self.shipper is not None else Elsewhere()

    def step(self, demand: Mapping[str, float]) -> list[str]:
        """Talk to the stores; return what is wrong with them. Waits for the network, so it runs beside the event loop."""
        if self.leased is not None:
            self._recovered = self.leased.renew() if self._recovered else self.leased.recover()
        if self.shipper is not None:
            self.shipper.step(demand)
        return self.problems()

    def problems(self) -> list[str]:
        """Return what is wrong, in words."""
        said = {"valkey": self.leased, "postgres": self.shipper}
        return [f"{name}: {store.problem}" for name, store in said.items() if store is not None and store.problem]

    def status(self, ids: Sequence[str]) -> dict[str, object]:
        """Return what the live page shows of the fleet."""
        held = dict(zip(ids, [n / 1e9 for n in self.leased.held], strict=True)) if self.leased is not None else {}
        shipped = self.shipper.shipped if self.shipper is not None else 0
        return {"held_usd": held, "shipped": shipped, "problems": self.problems()}

    def leave(self, demand: Mapping[str, float]) -> None:
        """Ship the last lines and give back what was not spent: the workers have ended."""
        if self.shipper is not None:
            self.shipper.step(demand)
        if self.leased is not None:
            self.leased.leave()

    def close(self) -> None:
        """Let go of the database."""
        if self.shipper is not None:
            self.shipper.close()
