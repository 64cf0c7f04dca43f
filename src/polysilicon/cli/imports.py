"""`polysilicon import`: public price lists become an overlay file, contract commitments a section of a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[Path, typer.Argument(help="The file to read.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="The overlay file to write.")]
On = Annotated[str, typer.Option(help="Day of the list, ISO; the file's own date by default.")]


@app.command()
def skypilot(
    file: Source,
    cloud: Annotated[str, typer.Option(help="Whose list it is: aws, gcp, azure, oracle, ...")],
    out: Out = Path("overlay.csv"),
    on: On = "",
) -> None:
    """Turn a SkyPilot vms.csv into offers: one a region, chip, shape and kind, priced per chip-hour."""
    from polysilicon.catalogue import load
    from polysilicon.cli.output import say
    from polysilicon.exchange.skypilot import OFFER_COLUMNS, read_vms

    name = {"oci": "oracle", "google": "gcp", "amazon": "aws"}.get(cloud.casefold(), cloud.casefold())
    result = read_vms(file, name, load(), quoted_on=_day(file, on))
    _write(out, OFFER_COLUMNS, result.offers)
    say(f"{len(result.offers)} offers from {result.rows} rows -> {out}")
    for reason, rows in sorted(result.skipped.items(), key=lambda item: -item[1]):
        say(f"  left out {rows} rows: {reason}")


@app.command("token-prices")
def token_prices(file: Source, out: Out = Path("overlay.csv"), on: On = "") -> None:
    """Turn a LiteLLM or genai-prices JSON file into token prices by date."""
    from polysilicon.cli.output import say
    from polysilicon.exchange.token_prices import PRICE_COLUMNS, read_prices

    rows = read_prices(file, as_of=_day(file, on))
    _write(out, PRICE_COLUMNS, rows)
    say(f"{len(rows)} token prices -> {out}")


@app.command("price-history")
def price_history(
    folder: Annotated[Path, typer.Argument(help="A folder of SkyPilot lists, each with its day in its name.")],
    cloud: Annotated[str, typer.Option(help="Whose lists they are: aws, gcp, azure, oracle, ...")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The feed to write.")] = Path("feed.csv"),
) -> None:
    """Turn dated versions of a price list into a feed of changes that can be replayed."""
    from polysilicon.catalogue import load
    from polysilicon.cli.output import say, write_atomically
    from polysilicon.exchange.price_feed import history, write_feed

    points = history(folder, cloud, load())
    write_atomically(out, write_feed(points))
    days = len({point.at for point in points})
    say(f"{len(points)} changes on {days} days -> {out}")


@app.command("focus-commitments")
def focus_commitments(
    file: Annotated[Path, typer.Argument(help="Contract commitments under FOCUS names, CSV.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The section to write, YAML.")] = Path("contracts.yaml"),
    cloud: Annotated[str, typer.Option(help="Whose commitments they are, where the file does not say.")] = "",
) -> None:
    """Turn FOCUS contract commitments into the `contracts:` section of a scenario."""
    from polysilicon.cli.output import say, write_atomically
    from polysilicon.economics.sections import of_contracts
    from polysilicon.exchange.focus import read_commitments

    found = of_contracts(read_commitments(file, cloud=cloud))
    write_atomically(out, found.yaml(f"From {file.name}, FOCUS contract commitments.").encode())
    for words in found.left_out:
        say(f"  {words}")
    say(f"{len(found.contracts)} contracts -> {out}")


def _day(file: Path, on: str) -> str:
    """Return the day a list was quoted: as told, or the day the file was last changed."""
    from polysilicon.catalogue.schema import parse_date
    from polysilicon.cli.output import say

    if on:
        return parse_date(on, "--on").isoformat()
    if not file.is_file():
        return date.today().isoformat()  # the reader says what is wrong with the file
    day = date.fromtimestamp(file.stat().st_mtime).isoformat()
    say(f"quoted on {day}, the file's own date; --on says otherwise")
    return day


def _write(out: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    import csv
    import io

    from polysilicon.cli.output import write_atomically
    from polysilicon.errors import InputError

    if not rows:
        raise InputError("holds nothing that the catalogue knows; nothing is written", where=str(out))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(out, buffer.getvalue().encode())
