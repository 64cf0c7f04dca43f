"""One keeper a proof: targets that ask alike share it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from polysilicon.gateway.credentials.renewed import Fetched, Renewed
from polysilicon.gateway.wiring import Renew

_ALL: dict[bytes, Renewed] = {}
_GUARD = threading.Lock()


def renewed(settings: Renew, where: str) -> Renewed:
    """Return this process's one keeper of a proof: targets that ask alike share it, and it outlives a reload."""
    from polysilicon.gateway.credentials import aws, entra, google  # only a worker that needs them pays for them

    makers: dict[str, Callable[[Renew], Fetched]] = {**google.FETCH, **entra.FETCH, **aws.FETCH}
    key = msgspec.msgpack.encode(settings)
    with _GUARD:
        if key not in _ALL:
            fetch = makers[settings.kind]
            _ALL[key] = Renewed(lambda: fetch(settings), where)
        return _ALL[key]
