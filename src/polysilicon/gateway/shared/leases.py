"""Budgets of several hosts: each host spends from a lease, and all leases together never exceed the limit.

A host reserves and settles in its own shared memory, as one host alone does; only the lease is asked of the store, in portions of
1/64 of the limit, by the controller ahead of need and by a worker where that was not enough. So a request waits for the store
seldom, and never longer than 50 ms.

Why no number of hosts overspends: the store grants only while the sum of what all hosts hold stays within the limit, in one
script. A host states what it holds with every call, numbered; the store ignores a call that comes after a later one, so what it
has written down for a host is never less than what the host holds. A host that dies keeps its lease until it is back (what it
held may have been spent). A store that lost its memory grants nothing for `SETTLE_S`, in which every host tells it what it holds.

Amounts in the store are whole micro-dollars, exact in its scripts up to $9 billion.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polysilicon.errors import InputError, PolysiliconError
from polysilicon.gateway.budgets import Budgets
from polysilicon.gateway.secrets import SecretValue
from polysilicon.gateway.shared.host import Host
from polysilicon.gateway.wiring import Budget, Shared

SETTLE_S = 3.0
_PORTIONS = 64
_MICRO = 1000  # nano-dollars
_PATIENCE_S = 0.05  # how long a request may wait for the store
_DENIED_S = 0.1  # after a refusal, so long until the store is asked again
_BROKEN_S = 1.0
_KEEP_S = 40 * 86400  # a day's or month's sums are forgotten after that

GRANT = """
local out, host, number = {}, ARGV[1], tonumber(ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local born = redis.call('GET', KEYS[1])
if not born then
  born = string.format('%.0f', now)
  redis.call('SET', KEYS[1], born)
end
local settled = now - born >= tonumber(ARGV[3])
for i = 2, #KEYS do
  local at = 6 * (i - 2) + 4
  local have, need, want, limit, recover, keep = ARGV[at] + 0, ARGV[at + 1] + 0, ARGV[at + 2] + 0, ARGV[at + 3] + 0, ARGV[at + 4], ARGV[at + 5] + 0
  local last = redis.call('HGET', KEYS[i], 'n:' .. host)
  if last and number <= tonumber(last) then return {'late'} end
  local known = redis.call('HGET', KEYS[i], 'h:' .. host)
  if recover == '1' and known and tonumber(known) > have then have = tonumber(known) end
  redis.call('HSET', KEYS[i], 'n:' .. host, ARGV[2], 'h:' .. host, string.format('%.0f', have))
  local held, all = 0, redis.call('HGETALL', KEYS[i])
  for j = 1, #all, 2 do
    if string.sub(all[j], 1, 2) == 'h:' then held = held + all[j + 1] end
  end
  local grant = 0
  if settled and limit - held >= need then grant = math.max(0, math.min(want, limit - held)) end
  if grant > 0 then redis.call('HSET', KEYS[i], 'h:' .. host, string.format('%.0f', have + grant)) end
  if keep > 0 then redis.call('EXPIRE', KEYS[i], keep) end
  out[#out + 1] = string.format('%.0f', have + grant)
  out[#out + 1] = string.format('%.0f', held + grant)
end
return out
"""


def open_budgets(state: Path, digest: str, budgets: Sequence[Budget], worker: int, shared: Shared | None) -> Budgets:
    """Return the budgets of a worker: its host's own, or leased where hosts share them."""
    path = state / f"budgets-{digest}.bin"
    if shared is None or not shared.valkey or not budgets:
        return Budgets(path, budgets, worker)
    return LeasedBudgets(path, budgets, worker, shared)


def connect(reference: str) -> Any:
    """Return a client of the store that a secret's reference names.

    Raises: InputError when the client library is not installed.
    """
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise InputError("budgets of several hosts need the extra `shared`", where="shared.valkey", hint="pip install polysilicon[shared]") from error
    url = SecretValue(reference, where="shared.valkey").get()
    try:
        return redis.Redis.from_url(url, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S, retry=Retry(NoBackoff(), 0))
    except ValueError as error:
        raise InputError("is not a redis:// or rediss:// address", where=f"shared.valkey ({reference})") from error


class LeasedBudgets(Budgets):
    """One worker's handle on budgets that several hosts share: the limit is what this host has leased."""

    def __init__(self, path: Path, budgets: Sequence[Budget], worker: int, shared: Shared) -> None:
        super().__init__(path, budgets, worker)
        self.whole = [b.limit_nano_usd for b in budgets]
        self.periods = [b.period for b in budgets]
        self.held = [0] * len(budgets)  # by all hosts, as last heard; nano-dollars
        self.problem = ""
        self.host = Host(path.parent)
        self._client = connect(shared.valkey)
        self._script = self._client.register_script(GRANT)
        self._prefix = f"polysilicon:{{{shared.name}}}"
        self._lease_file = os.open(path.with_name(path.name.replace("budgets", "leases")), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = max(1, len(budgets)) * 8
        if os.fstat(self._lease_file).st_size < size:
            os.ftruncate(self._lease_file, size)
        self._lease_map = mmap.mmap(self._lease_file, size)
        self._lease = memoryview(self._lease_map).cast("q")
        self.limits = self._lease  # read live under the lock of `reserve`: another process may have changed it
        self._asked_s = [float("-inf")] * len(budgets)
        self._last_used = [0] * len(budgets)

    # --- on the data path

    def reserve(self, which: Sequence[int], nano_usd: int) -> str:
        """Reserve from this host's lease; where it is too small, ask the store for more, at most once in a while."""
        for _ in range(len(which) + 1):
            exhausted = super().reserve(which, nano_usd)
            if not exhausted or not self._more(self.ids.index(exhausted), nano_usd):
                return exhausted
        return exhausted

    def _more(self, budget: int, nano_usd: int) -> bool:
        now_s = time.monotonic()
        if now_s < self._asked_s[budget]:
            return False
        if not self._exchange({budget: nano_usd}):
            self._asked_s[budget] = now_s + (_BROKEN_S if self.problem else _DENIED_S)
            return False
        return True

    # --- ahead of need

    def recover(self) -> bool:
        """Take up the leases that the store knows this host to hold; return whether it answered."""
        return self._exchange({}, recover=True)

    def renew(self) -> bool:
        """Tell the store what is held; get more where it runs low, give back what is not needed. Return whether it answered."""
        return self._exchange({})

    def leave(self) -> bool:
        """Give back all that is not spent or reserved, as before the end."""
        super().give_back()
        return self._exchange({}, keep_frac=0.0)

    def _exchange(self, needs: dict[int, int], *, recover: bool = False, keep_frac: float = 1.0) -> bool:
        """Say what is held, ask for more; return whether the store answered and every need was met."""
        with self.host.alone():
            keys, args = [f"{self._prefix}:born"], [self.host.name, str(self.host.next_number()), str(int(SETTLE_S * 1000))]
            asked = []
            for budget, whole in enumerate(self.whole):
                need, want = self._wanted(budget, needs.get(budget, 0), keep_frac)
                period = time.strftime({"": "", "month": ":%Y-%m", "day": ":%Y-%m-%d"}[self.periods[budget]], time.gmtime())
                keys.append(f"{self._prefix}:{self.ids[budget]}{period}")
                have = self._lease[budget] // _MICRO
                args += [str(have), str(need), str(want), str(whole // _MICRO), str(int(recover)), str(_KEEP_S if period else 0)]
                asked.append((have, need))
            try:
                answer = self._script(keys=keys, args=args)
            except Exception as error:  # whatever goes wrong between here and the store: the lease stands as it is
                self.problem = f"{type(error).__name__}: {error}"[:200]
                return False
            if answer[0] == b"late":
                self.problem = "the store has heard of this host since"
                return False
            self.problem = ""
            self._lock()
            try:
                for budget in range(len(self.whole)):
                    self._lease[budget] = int(answer[2 * budget]) * _MICRO
                    self.held[budget] = int(answer[2 * budget + 1]) * _MICRO
            finally:
                self._unlock()
            return all(int(answer[2 * b]) - have >= need for b, (have, need) in enumerate(asked))

    def _wanted(self, budget: int, need_nano: int, keep_frac: float) -> tuple[int, int]:
        """Return what must and what may be added to the lease, in micro-dollars; give back, in place, what is too much."""
        portion = max(_MICRO, self.whole[budget] // _PORTIONS)
        self._lock()
        try:
            used = self.taken(budget)
            lease = max(self._lease[budget], -(-used // _MICRO) * _MICRO)  # what is spent is held, whoever granted it
            keep = -(-(used + int(2 * portion * keep_frac)) // _MICRO) * _MICRO
            if keep_frac == 0.0 or lease - used > 4 * portion:
                lease = min(lease, keep)
            self._lease[budget] = lease
        finally:
            self._unlock()
        busy = used != self._last_used[budget]
        self._last_used[budget] = used
        left = lease - used
        if need_nano:
            missing = max(0, need_nano - left)
            return -(-missing // _MICRO), -(-(missing + portion) // _MICRO)
        return 0, -(-portion // _MICRO) if busy and keep_frac and left < portion else 0

    def close(self) -> None:
        """Let go of the files and the connection."""
        self.limits = []
        self._lease.release()
        self._lease_map.close()
        os.close(self._lease_file)
        self.host.close()
        self._client.close()
        super().close()


def check(shared: Shared) -> None:
    """Ask the store once.

    Raises: PolysiliconError when it does not answer.
    """
    client = connect(shared.valkey)
    try:
        client.ping()
    except Exception as error:
        raise PolysiliconError(f"does not answer: {type(error).__name__}", where="shared.valkey") from error
    finally:
        client.close()
