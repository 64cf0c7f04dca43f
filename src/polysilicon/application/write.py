"""Traces written: Parquet and CSV in our own columns, JSON lines in Mooncake's."""

from __future__ import annotations

import io
from collections.abc import Iterator

import msgspec
import numpy as np
import polars as pl

from polysilicon.application.trace import Trace
from polysilicon.errors import InputError


def table(trace: Trace) -> pl.DataFrame:
    """Return a trace as a table with the columns that `read` knows as "plain"."""
    columns: dict[str, object] = {"arrival_s": trace.arrival_s, "isl_tokens": trace.isl_tokens, "osl_tokens": trace.osl_tokens}
    frame = pl.DataFrame(columns)
    if len(trace.workload) or trace.workload_names != ("default",):
        names = np.array(trace.workload_names, dtype=object)[trace.workload_index()].tolist()
        frame = frame.with_columns(pl.Series("workload", names, dtype=pl.String))
    if len(trace.session):
        frame = frame.with_columns(pl.Series("session", trace.session))
    for name in ("think_s", "priority", "reuse_tokens"):
        column = getattr(trace, name)
        if len(column):
            frame = frame.with_columns(pl.Series(name, column))
    return frame


def encode(trace: Trace, suffix: str) -> bytes:
    """Return the bytes of a trace file: `.parquet`, `.csv` or `.jsonl`.

    A CSV has no place for prefix blocks, so they are refused there rather than lost.

    Raises: InputError on another suffix, or on prefix blocks that the form cannot hold.
    """
    if suffix == ".parquet":
        frame = table(trace)
        if trace.has_blocks:
            frame = frame.with_columns(_lists(trace), pl.lit(trace.block_tokens).alias("block_tokens"))
        sink = io.BytesIO()
        frame.write_parquet(sink, compression="zstd")
        return sink.getvalue()
    if suffix == ".csv":
        if trace.has_blocks:
            raise InputError("a CSV cannot hold prefix blocks", hint="write .parquet, or leave the blocks out (--no-blocks)")
        return table(trace).write_csv(float_precision=9).encode()
    if suffix == ".jsonl":
        return b"".join(_lines(trace))
    raise InputError(f'"{suffix}" is not a form that traces are written in', hint="use .parquet, .csv or .jsonl")


def _lists(trace: Trace) -> pl.Series:
    rows = np.repeat(np.arange(len(trace)), np.diff(trace.block_offset))
    flat = pl.DataFrame({"row": rows, "block": trace.block_hash}).group_by("row", maintain_order=True).agg(pl.col("block"))
    every = pl.DataFrame({"row": np.arange(len(trace))}).join(flat, on="row", how="left", maintain_order="left")
    return every["block"].fill_null([]).alias("block_hashes")


def _lines(trace: Trace) -> Iterator[bytes]:
    """Yield Mooncake's JSON lines; its blocks have 512 tokens, so others are refused."""
    if trace.has_blocks and trace.block_tokens != 512:
        raise InputError(
            f"Mooncake's lines hold blocks of 512 tokens; these have {trace.block_tokens}",
            hint="write .parquet, or leave the blocks out (--no-blocks)",
        )
    encoder = msgspec.json.Encoder()
    for i in range(len(trace)):
        row: dict[str, object] = {
            "timestamp": round(float(trace.arrival_s[i]) * 1000, 6),
            "input_length": int(trace.isl_tokens[i]),
            "output_length": int(trace.osl_tokens[i]),
        }
        if trace.has_blocks:
            row["hash_ids"] = trace.block_hash[trace.block_offset[i] : trace.block_offset[i + 1]].tolist()
        if len(trace.session) and trace.session[i] >= 0:
            row["session_id"] = str(int(trace.session[i]))
            if len(trace.think_s):
                row["delay"] = round(float(trace.think_s[i]) * 1000, 6)
        yield encoder.encode(row) + b"\n"
