"""The ledgers of all hosts in one PostgreSQL database: every line exactly once, whatever dies in between.

A host's lines and how far it has come are written in one transaction, under a lock of the host's own; so a crash before the commit
leaves both undone, and one after it leaves both done. Segments stay on the host's disk: a database that is away delays, and loses nothing.
Rows are appended only: a trigger refuses to change or delete one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from polysilicon.errors import InputError, PolysiliconError
from polysilicon.gateway.ledger import Entry, Tail
from polysilicon.gateway.secrets import SecretValue

_TYPES = {"str": "text", "int": "bigint", "float": "double precision", "bool": "boolean"}
_FIELDS = Entry.__struct_fields__
_COLUMNS = ", ".join(f"{name} {_TYPES.get(str(Entry.__annotations__[name]), 'jsonb')} NOT NULL" for name in _FIELDS)
_NESTED = tuple(name for name in _FIELDS if str(Entry.__annotations__[name]) not in _TYPES)
_NEWER = {"reasoning_tokens": "bigint NOT NULL DEFAULT 0", "answer_id": "text NOT NULL DEFAULT ''", "answer_model": "text NOT NULL DEFAULT ''"}
_ADDED = "\n".join(f"ALTER TABLE polysilicon_ledger ADD COLUMN IF NOT EXISTS {name} {kind};" for name, kind in _NEWER.items())
_SCHEMA = f"""
SELECT pg_advisory_xact_lock(hashtext('polysilicon schema'));
CREATE TABLE IF NOT EXISTS polysilicon_ledger (host text NOT NULL, segment text NOT NULL, row_in_segment bigint NOT NULL, {_COLUMNS},
  PRIMARY KEY (host, segment, row_in_segment));
{_ADDED}
CREATE INDEX IF NOT EXISTS polysilicon_ledger_at ON polysilicon_ledger (at_s);
CREATE TABLE IF NOT EXISTS polysilicon_progress (host text NOT NULL, segment text NOT NULL, bytes bigint NOT NULL, rows bigint NOT NULL,
  PRIMARY KEY (host, segment));
CREATE TABLE IF NOT EXISTS polysilicon_host (host text PRIMARY KEY, seen_s double precision NOT NULL, demand jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS polysilicon_drawn (host text NOT NULL, contract text NOT NULL, nano_usd bigint NOT NULL, PRIMARY KEY (host, contract));
CREATE OR REPLACE FUNCTION polysilicon_append_only() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'the ledger is append-only'; END$$;
CREATE OR REPLACE TRIGGER polysilicon_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON polysilicon_ledger
  FOR EACH STATEMENT EXECUTE FUNCTION polysilicon_append_only();
"""
_STALE_S = 60.0  # a host silent for so long has no traffic to count on


def connect(reference: str, *, timeout_s: int = 5) -> Any:
    """Return a connection to the database that a secret's reference names.

    Raises: InputError when the client library is not installed; PolysiliconError when the database cannot be reached.
    """
    try:
        import psycopg
    except ImportError as error:
        hint = "pip install polysilicon[shared]"
        raise InputError("a ledger in PostgreSQL needs the extra `shared`", where="shared.postgres", hint=hint) from error
    try:
        return psycopg.connect(SecretValue(reference, where="shared.postgres", spaces=True).get(), connect_timeout=timeout_s)
    except psycopg.Error as error:
        raise PolysiliconError(f"cannot be reached: {type(error).__name__}", where=f"shared.postgres ({reference})") from error


@dataclass(slots=True)
class Elsewhere:
    """What the other hosts of the fleet have drawn on contracts and are asked for now."""

    drawn_nano_usd: dict[str, int] = field(default_factory=dict)
    demand_mtok_per_s: dict[str, float] = field(default_factory=dict)  # by route


class Shipper:
    """Copies one host's ledger into the database and reads what the others say."""

    def __init__(self, reference: str, folder: Path, host: str) -> None:
        self.reference = reference
        self.folder = folder
        self.host = host
        self.shipped = 0
        self.torn = 0
        self.problem = ""
        self.elsewhere = Elsewhere()
        self._connection: Any = None
        self._tail: Tail | None = None
        self._rows: dict[str, int] = {}

    def step(self, demand: Mapping[str, float]) -> int:
        """Ship what is new and learn about the others; return the lines shipped. Waits for the network. Never raises: `problem` says."""
        before = self.shipped
        try:
            self._ship()
            self._meet(demand)
            self.problem = ""
        except Exception as error:  # the database or the way to it: all is asked anew next time
            self.problem = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            self.close()
        return self.shipped - before

    def _ship(self) -> None:
        connection = self._open()
        assert self._tail is not None
        for segment, end_bytes, entries in self._tail.batches():
            first = self._rows.get(segment, 0)
            with connection.transaction(), connection.cursor() as cursor:
                with cursor.copy(f"COPY polysilicon_ledger (host, segment, row_in_segment, {', '.join(_FIELDS)}) FROM STDIN") as copy:
                    for i, entry in enumerate(entries):
                        copy.write_row((self.host, segment, first + i, *_values(entry)))
                cursor.execute(
                    "INSERT INTO polysilicon_progress VALUES (%s, %s, %s, %s) "
                    "ON CONFLICT (host, segment) DO UPDATE SET bytes = EXCLUDED.bytes, rows = EXCLUDED.rows",
                    (self.host, segment, end_bytes, first + len(entries)),
                )
                cursor.executemany(
                    "INSERT INTO polysilicon_drawn VALUES (%s, %s, %s) "
                    "ON CONFLICT (host, contract) DO UPDATE SET nano_usd = polysilicon_drawn.nano_usd + EXCLUDED.nano_usd",
                    [(self.host, contract, nano) for contract, nano in _drawn(entries).items()],
                )
            self._rows[segment] = first + len(entries)
            self.shipped += len(entries)
        self.torn = self._tail.torn

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = connection = connect(self.reference)
            connection.autocommit = True
            with connection.transaction():
                connection.execute(_SCHEMA)
            connection.execute("SET statement_timeout = '30s'")
            if not connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (self.host,)).fetchone()[0]:
                raise PolysiliconError("another process ships this host's ledger")
            rows = connection.execute("SELECT segment, bytes, rows FROM polysilicon_progress WHERE host = %s", (self.host,)).fetchall()
            self._tail = Tail(self.folder, {segment: done for segment, done, _ in rows})
            self._rows = {segment: count for segment, _, count in rows}
        return self._connection

    def _meet(self, demand: Mapping[str, float]) -> None:
        connection = self._open()
        connection.execute(
            "INSERT INTO polysilicon_host VALUES (%s, %s, %s) ON CONFLICT (host) DO UPDATE SET seen_s = EXCLUDED.seen_s, demand = EXCLUDED.demand",
            (self.host, time.time(), msgspec.json.encode(demand).decode()),
        )
        drawn = connection.execute(
            "SELECT contract, sum(nano_usd)::bigint FROM polysilicon_drawn WHERE host <> %s GROUP BY contract", (self.host,)
        ).fetchall()
        others: dict[str, float] = {}
        since_s = time.time() - _STALE_S
        for (routes,) in connection.execute("SELECT demand FROM polysilicon_host WHERE host <> %s AND seen_s > %s", (self.host, since_s)):
            for route, mtok in routes.items():
                others[route] = others.get(route, 0.0) + float(mtok)
        self.elsewhere = Elsewhere(dict(drawn), others)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._tail = None


def _values(entry: Entry) -> Iterable[object]:
    for name in _FIELDS:
        value = getattr(entry, name)
        if name in _NESTED:
            yield msgspec.json.encode(value).decode()
        else:
            yield value.replace("\x00", "") if isinstance(value, str) else value  # the one character PostgreSQL cannot hold


def _drawn(entries: Sequence[Entry]) -> dict[str, int]:
    out: dict[str, int] = {}
    for e in entries:
        if e.contract:
            out[e.contract] = out.get(e.contract, 0) + e.cost_nano_usd
    return out


def read(reference: str, *, since_s: float = 0.0) -> list[Entry]:
    """Return the lines of all hosts in order of arrival.

    Raises: PolysiliconError when the database cannot be reached or holds no ledger.
    """
    import psycopg

    with connect(reference) as connection:
        try:
            query = f"SELECT {', '.join(_FIELDS)} FROM polysilicon_ledger WHERE at_s >= %s ORDER BY at_s, id"
            rows = connection.execute(query, (since_s,)).fetchall()
        except psycopg.errors.UndefinedTable as error:
            raise PolysiliconError("holds no ledger", where=f"shared.postgres ({reference})") from error
    return [msgspec.convert(dict(zip(_FIELDS, row, strict=True)), Entry) for row in rows]
