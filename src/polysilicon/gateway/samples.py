"""Samples: a variant's answers beside its reference's, appended by workers, read by the controller."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

_ENCODE = msgspec.json.Encoder().encode


class Sample(msgspec.Struct):
    """One answer of a variant beside the reference's, or alone where the reference's is an average."""

    variant: str
    good: bool  # well-formed, same way of ending, same tools called
    reference_good: bool
    output_tokens: int
    reference_tokens: float
    error: bool = False
    ttft_s: float = 0.0
    reference_ttft_s: float = 0.0


class Samples:
    """Append samples to a worker's file; the controller reads them."""

    def __init__(self, folder: Path, worker: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / f"w{worker:02d}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, sample: Sample) -> None:
        """Write one sample."""
        os.write(self._file, _ENCODE(sample) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class SampleTail:
    """Read samples as they are appended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offsets: dict[str, int] = {}
        self._decode = msgspec.json.Decoder(Sample).decode

    def read(self) -> list[Sample]:
        """Return samples not seen before."""
        out: list[Sample] = []
        for path in sorted(self.folder.glob("w*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path.name, 0))
                data = file.read()
            whole = data.rfind(b"\n") + 1
            self._offsets[path.name] = self._offsets.get(path.name, 0) + whole
            out += [self._decode(row) for row in data[:whole].splitlines() if row]
        return out
