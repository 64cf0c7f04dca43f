"""ServeGen: arrival statistics of each client of a service, by ten-minute windows, made into requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from polysilicon.application.pieces import Piece, Problems, opened
from polysilicon.application.trace import F8, I8
from polysilicon.errors import InputError

WINDOW_REQUESTS = 2e7  # at most, of all clients: more is no service's
RATE_COLUMNS = ("client", "timestamp", "rate", "cv", "pattern", "param1", "param2")
INPUT_FIELDS = ("input_tokens", "text_tokens", "image_tokens", "audio_tokens", "video_tokens")


@dataclass(frozen=True, slots=True)
class LengthBook:
    """Quantiles of lengths by client and window of six hours."""

    probability: F8  # [q]
    isl: F8  # [rows, q]
    osl: F8  # [rows, q]
    client: I8  # [rows]
    window_s: I8  # [rows]
    weight: F8  # [rows]: mean rate, so that clients without lengths draw from the service's mixture; nothing where no client has both
    where: str  # its file


def lengths_beside(path: Path) -> Path | None:
    """Return the file of lengths that stands beside a file of rates: `x_trace.csv.gz` and `x_lengths.csv.gz`."""
    candidate = path.with_name(path.name.replace("_trace.", "_lengths."))
    return candidate if candidate != path and candidate.exists() else None


def pieces(path: Path, problems: Problems, *, seed: int, lengths: Path | None = None) -> Iterator[Piece]:
    """Yield the requests of each window in turn.

    In a window a client's requests stand at normalised gaps of its fitted Gamma or Weibull shape; their count is
    rate x window, rounded up or down at random. Lengths are drawn from the client's quantiles of that time, or, where a
    client has none, from the service's rate-weighted mixture.

    Raises: InputError when no file of lengths is there, or it has none for any client of these rates; when a window has too many requests.
    """
    rates = _table(path, problems)
    problems.check()
    found = lengths or lengths_beside(path)
    if found is None:
        raise InputError("rates alone have no lengths", where=str(path), hint="put the file NAME_lengths.csv beside NAME_trace.csv")
    stamps = np.sort(rates["timestamp"].unique().to_numpy())
    step = float(np.diff(stamps).min()) if len(stamps) > 1 else 600.0
    book = _book(found, rates)
    rng = np.random.default_rng([seed, 0x5E47])
    columns = {name: rates[name].to_numpy() for name in ("client", "timestamp", "rate", "cv", "param1")}
    weibull = (rates["pattern"] == "Weibull").fill_null(False).to_numpy()
    order = np.argsort(columns["timestamp"], kind="stable")
    edges = np.r_[np.searchsorted(columns["timestamp"][order], stamps), len(order)]
    for i, stamp in enumerate(stamps):
        rows = order[edges[i] : edges[i + 1]]
        rate = columns["rate"][rows]
        if not rate.sum() * step <= WINDOW_REQUESTS:
            words = f"column rate: {rate.max():g} requests/s, so that a window of {step:g} s has over {WINDOW_REQUESTS:g} requests"
            raise InputError(words, where=f"{path}:{rows[rate.argmax()] + 2}", hint="rates are requests per second")
        piece = _window(rows, columns, weibull, book, float(stamp), step, rng)
        if len(piece.arrival_s):
            yield piece


def _table(path: Path, problems: Problems) -> pl.DataFrame:
    with opened(path) as stream:
        content = stream.read()
    try:
        words = pl.read_csv(io.BytesIO(content), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"the table cannot be read: {str(error).splitlines()[0][:160]}", where=str(path)) from error
    if not words.height:
        raise InputError("has a header and no rows", where=str(path))
    numeric = ("client", "timestamp", "rate", "cv", "param1", "param2")
    read = words.with_columns(pl.col(c).cast(pl.Float64, strict=False) for c in numeric)
    for name in numeric:
        value = read[name].to_numpy()
        wrong = ~np.isfinite(value) | (value < 0)
        for row in np.flatnonzero(wrong)[:21]:
            problems.add(int(row) + 2, f'column {name}: "{words[name][int(row)]}" is not a finite number of 0 or more')
    return read


def _book(path: Path, rates: pl.DataFrame) -> LengthBook:
    with opened(path) as stream:
        content = stream.read()
    try:
        frame = pl.read_csv(io.BytesIO(content), infer_schema_length=None)
        names = [c for c in frame.columns if c.startswith("p") and c[1:].replace(".", "", 1).isdigit()]
        probability = np.array([float(c[1:]) / 100 for c in names])
        inputs = [f for f in INPUT_FIELDS if f in frame["field"].unique().to_list()]
        keys = frame.select("client", "window").unique(maintain_order=True)
        window = (pl.col("timestamp") // 21600 * 21600).cast(pl.Int64).alias("window")
        weight = (
            rates.with_columns(window, pl.col("client").cast(pl.Int64))
            .group_by("client", "window").agg(pl.col("rate").mean())
        )  # fmt: skip
        keys = keys.join(weight, on=["client", "window"], how="left", maintain_order="left").with_columns(pl.col("rate").fill_null(0.0))
        isl = sum((_quantiles(frame, keys, field, names) for field in inputs), np.zeros((keys.height, len(names))))
        osl = _quantiles(frame, keys, "output_tokens", names)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise InputError(f"is not a table of length quantiles: {str(error).splitlines()[0][:160]}", where=str(path)) from error
    total = keys["rate"].to_numpy()
    if total.any():
        total = total / total.sum()
    return LengthBook(probability, isl, osl, keys["client"].to_numpy(), keys["window"].to_numpy(), total, str(path))


def _quantiles(frame: pl.DataFrame, keys: pl.DataFrame, field: str, names: list[str]) -> F8:
    own = frame.filter(pl.col("field") == field)
    joined = keys.select("client", "window").join(own, on=["client", "window"], how="left", maintain_order="left")
    return joined.select(pl.col(n).cast(pl.Float64).fill_null(0.0) for n in names).to_numpy()


def _window(
    rows: I8, columns: dict[str, F8], weibull: np.ndarray, book: LengthBook, stamp: float, step: float, rng: np.random.Generator
) -> Piece:  # fmt: skip
    expected = columns["rate"][rows] * step
    count = np.floor(expected + rng.random(len(rows))).astype(np.int64)
    kept = count > 0
    rows, count = rows[kept], count[kept]
    if not len(rows):
        empty = np.empty(0)
        return Piece(np.empty(0, np.int64), empty, empty, empty)
    shape = np.maximum(columns["param1"][rows], 1e-3)
    repeated = np.repeat(np.arange(len(rows)), count + 1)
    gap = np.where(weibull[rows][repeated], rng.weibull(shape[repeated]), rng.standard_gamma(shape[repeated]))
    total = np.cumsum(gap)
    last = np.cumsum(count + 1) - 1
    base = np.r_[0.0, total[last[:-1]]]
    span = np.maximum(total[last] - base, 1e-300)
    share = (total - base[repeated]) / span[repeated]
    inner = np.ones(len(gap), bool)
    inner[last] = False
    arrival = stamp + step * np.minimum(share[inner], 1 - 1e-12)
    client = columns["client"][rows][repeated[inner]]
    place = _places(book, client, stamp, rng)
    isl, osl = _drawn(book.isl, book, place, rng), _drawn(book.osl, book, place, rng)
    order = np.argsort(arrival, kind="stable")
    return Piece(
        np.zeros(len(order), np.int64), arrival[order], np.maximum(1, np.rint(isl[order])), np.maximum(1, np.rint(osl[order])),
        session=None, workload=None,
    )  # fmt: skip


def _places(book: LengthBook, client: F8, stamp: float, rng: np.random.Generator) -> I8:
    """Return the row of lengths for each request: its client's newest window up to now, else a row of the mixture."""
    place = np.full(len(client), -1, np.int64)
    for one in np.unique(client):
        own = np.flatnonzero((book.client == one) & (book.window_s <= stamp))
        if len(own):
            place[client == one] = own[np.argmax(book.window_s[own])]
    missing = place < 0
    if missing.any() and not book.weight.any():
        words = f"has no lengths for client {client[missing][0]:g} at {stamp:g} s, and none of a client with a rate to take instead"
        raise InputError(words, where=book.where, hint="the two files must be of one service and time")
    place[missing] = rng.choice(len(book.weight), int(missing.sum()), p=book.weight)
    return place


def _drawn(table: F8, book: LengthBook, place: I8, rng: np.random.Generator) -> F8:
    u = rng.random(len(place))
    right = np.clip(np.searchsorted(book.probability, u), 1, len(book.probability) - 1)
    low, high = book.probability[right - 1], book.probability[right]
    part = (u - low) / (high - low)
    drawn: F8 = table[place, right - 1] * (1 - part) + table[place, right] * part
    return drawn
