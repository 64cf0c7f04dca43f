"""`polysilicon trace`: describe, generate and convert traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polysilicon.cli.output import Progress, print_json, print_table, progress, say, write_atomically
from polysilicon.errors import UsageError

if TYPE_CHECKING:
    from polysilicon.application.trace import Trace

trace = typer.Typer(no_args_is_help=True, add_completion=False, help="Describe, generate or convert traffic.")

STREAM_BYTES = 1 << 30  # files above it are described piece by piece, without prefix reuse

FileArgument = Annotated[Path, typer.Argument(help="A trace file, zipped or not, or a folder of session files.")]
FormatOption = Annotated[str, typer.Option("--format", help="The file's format; found out from its header by default.")]
LimitOption = Annotated[int | None, typer.Option(help="Read so many requests and stop.")]
SortOption = Annotated[bool, typer.Option("--sort", help="Put requests in order where the clock goes back, instead of refusing.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same bytes.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Where to write: .parquet, .csv or .jsonl.")]
ScaleOption = Annotated[float | None, typer.Option(help="Press the arrivals together, or draw them apart, to this mean rate.")]
RpsOption = Annotated[float | None, typer.Option("--rps", help="Mean requests a second, where the file has no clock.")]


@trace.command()
def describe(
    file: FileArgument,
    format: FormatOption = "auto",  # noqa: A002
    limit: LimitOption = None,
    sort: SortOption = False,
    seed: SeedOption = 7,
    rps: RpsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how many requests a trace holds, how bursty they are, how long, how much of their prompts repeats."""
    from polysilicon.application.describe import describe as told
    from polysilicon.application.describe import describe_pieces
    from polysilicon.application.read import pieces, read

    large = file.is_file() and file.stat().st_size > STREAM_BYTES and limit is None and not sort
    if large:
        with progress(f"reading {file.name}") as bar:
            record = describe_pieces(_counted(pieces(file, format, seed=seed, mean_rps=rps), bar))
    else:
        record = told(read(file, format, limit=limit, sort=sort, seed=seed, mean_rps=rps))
    if as_json:
        print_json({"file": str(file), **record})
        return
    print_table(("statistic", "value"), _rows(record), title=str(file))


@trace.command()
def generate(
    profile: Annotated[str, typer.Argument(help="chat, coding-agent, batch, long-context or enterprise.")],
    out: OutOption,
    rps: Annotated[float, typer.Option("--rps", help="Requests a second, mean of a day.")] = 1.0,
    hours: Annotated[float, typer.Option(help="How long.")] = 1.0,
    start_hour: Annotated[float, typer.Option(help="Hour of the day it starts at, UTC.")] = 0.0,
    timezone: Annotated[float, typer.Option(help="Hours the users' clock is ahead of UTC.")] = 0.0,
    flat: Annotated[bool, typer.Option("--flat", help="No shape of a day: the rate is the same all the time.")] = False,
    blocks: Annotated[bool, typer.Option(help="Name the prefix blocks of each prompt.")] = True,
    seed: SeedOption = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Write traffic made to published statistics."""
    from polysilicon.application.describe import describe_pieces
    from polysilicon.application.generate import Traffic, traffic
    from polysilicon.application.generate import generate as make

    shape = Traffic(traffic(profile).profile, timezone_h=timezone, peak_to_mean_ratio=1.0 if flat else None)
    wanted = blocks and out.suffix != ".csv"
    made = make(shape, seconds=hours * 3600, mean_rps=rps, seed=seed, start_hour=start_hour, blocks=wanted)
    _write(made, out)
    record = describe_pieces([made])
    if as_json:
        print_json({"file": str(out), "source": made.source, **record})
        return
    print_table(("statistic", "value"), _rows(record), title=str(out))


@trace.command()
def convert(
    file: FileArgument,
    out: OutOption,
    format: FormatOption = "auto",  # noqa: A002
    limit: LimitOption = None,
    sort: SortOption = False,
    seed: SeedOption = 7,
    rps: RpsOption = None,
    scale: ScaleOption = None,
) -> None:
    """Write a trace in another form."""
    from polysilicon.application.generate import scale as pressed
    from polysilicon.application.read import read

    held = read(file, format, limit=limit, sort=sort, seed=seed, mean_rps=rps)
    if scale is not None:
        held = pressed(held, mean_rps=scale)
    _write(held, out)
    say(f"{len(held):,} requests in {out}")


def _write(made: Trace, out: Path) -> None:
    from polysilicon.application.write import encode

    if out.suffix not in (".parquet", ".csv", ".jsonl"):
        raise UsageError(f'"{out.suffix}" is no form of a trace', where=str(out), hint="use .parquet, .csv or .jsonl")
    blocks = made.has_blocks and (out.suffix == ".parquet" or made.block_tokens == 512)
    if made.has_blocks and not blocks:
        say(f"{out}: prefix blocks are left out; .parquet keeps them")
        made = replace(made, block_offset=made.block_offset[:0], block_hash=made.block_hash[:0], block_tokens=0)
    write_atomically(out, encode(made, out.suffix))


def _counted(traces: Iterator[Trace], bar: Progress) -> Iterator[Trace]:
    done = 0
    for piece in traces:
        done += len(piece)
        bar(0.0, f"{done:,} requests")
        yield piece


def _rows(record: dict[str, object]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            rows.extend((f"{key}: {name}", number) for name, number in value.items())
        else:
            rows.append((key, value))
    return rows
