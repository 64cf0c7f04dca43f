"""Where quotes come from: a JSON or CSV file, an HTTP address of the configuration, the engines' own metrics. Each with its age."""

from __future__ import annotations

import csv
import io
import math
import re
import time
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, build_opener

import msgspec

from polysilicon.errors import InputError
from polysilicon.gateway.config import QuotePart

_MAX_BYTES = 4_000_000


class Quote(msgspec.Struct, forbid_unknown_fields=False):
    """One target's price for one model, now. A price that is not quoted stays as it was."""

    target: str
    model: str = ""  # empty: all its models
    usd_per_mtok_in: float | None = None
    usd_per_mtok_out: float | None = None
    factor: float | None = None  # instead of prices: times the known price, as when a chip-hour became so much dearer
    available: bool = True
    why: str = ""
    at: str = ""  # ISO time of the quote


def parse(data: bytes, where: str) -> list[Quote]:
    r"""Return the quotes of a JSON list or of CSV with a header line.

    >>> parse(b"target,usd_per_mtok_in,usd_per_mtok_out,available\na,3,15,yes\n", "x")[0].usd_per_mtok_out
    15.0

    Raises: InputError when it is neither, or a price is not a price.
    """
    text = data.lstrip()
    try:
        if text.startswith((b"[", b"{")):
            quotes = msgspec.json.decode(text, type=list[Quote]) if text.startswith(b"[") else [msgspec.json.decode(text, type=Quote)]
        else:
            rows = csv.DictReader(io.StringIO(data.decode()))
            quotes = [msgspec.convert(_of_csv(row), Quote, strict=False) for row in rows]
    except (msgspec.MsgspecError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is not a list of quotes: {error}", where=where) from error
    for quote in quotes:
        for value in (quote.usd_per_mtok_in, quote.usd_per_mtok_out, quote.factor):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f'a price of "{quote.target}" is {value}; a price is 0 or more', where=where)
    return quotes


def _of_csv(row: dict[str, str]) -> dict[str, object]:
    given: dict[str, object] = {name: value for name, value in row.items() if name and value not in (None, "")}
    if "available" in given:
        given["available"] = str(given["available"]).casefold() in ("1", "yes", "true")
    return given


@dataclass(slots=True)
class Feed:
    """One source: what it said last, when, and what went wrong since."""

    settings: QuotePart
    quotes: list[Quote]
    read_s: float = float("-inf")
    tried_s: float = float("-inf")
    problem: str = ""

    def due(self, now_s: float) -> bool:
        """Return whether it is time to read."""
        return now_s - self.tried_s >= self.settings.every_s

    def read(self, now_s: float) -> None:
        """Read the source; keep the last good quotes where that fails, and say why. May wait for a network: not for an event loop."""
        self.tried_s = now_s
        where = self.settings.file or self.settings.url
        try:
            data = Path(self.settings.file).read_bytes() if self.settings.file else fetch(self.settings.url)
            self.quotes = parse(data[:_MAX_BYTES], where)
            self.read_s = now_s
            self.problem = ""
        except (InputError, OSError) as error:
            self.problem = f"{where}: {error}"

    def stale(self, now_s: float) -> bool:
        """Return whether the last good answer is too old to steer by."""
        return now_s - self.read_s > self.settings.stale_after_s


def fetch(url: str, *, timeout_s: float = 2.0) -> bytes:
    """Return what stands at an http(s) address of the configuration.

    Raises: OSError when it cannot be had.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError("a feed's address must be http(s)", where=url)
    try:
        with build_opener().open(Request(url), timeout=timeout_s) as answer:
            return bytes(answer.read(_MAX_BYTES))
    except (URLError, HTTPException, ValueError) as error:
        raise OSError(str(error) or type(error).__name__) from error


_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{[^}]*\})?\s+(\S+)", re.MULTILINE)
_WAITING = ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "trtllm_num_requests_waiting")
_RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs")
_CACHE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage", "trtllm_kv_cache_utilization")


def engine_load(metrics: bytes) -> dict[str, float]:
    r"""Return waiting, running and cache use of an engine from its Prometheus page (vLLM, SGLang, TensorRT-LLM).

    >>> engine_load(b'vllm:num_requests_waiting{model_name="m"} 3.0\nvllm:kv_cache_usage_perc 0.5\n')
    {'waiting': 3.0, 'running': 0.0, 'cache_frac': 0.5}
    """
    found = {"waiting": 0.0, "running": 0.0, "cache_frac": 0.0}
    for name, _, value in _SAMPLE.findall(metrics.decode("utf-8", "replace")):
        try:
            number = float(value)
        except ValueError:
            continue
        if name in _WAITING:
            found["waiting"] += number
        elif name in _RUNNING:
            found["running"] += number
        elif name in _CACHE:
            found["cache_frac"] = max(found["cache_frac"], number)
    return found


def wall_s() -> float:
    """Return Unix time."""
    return time.time()
