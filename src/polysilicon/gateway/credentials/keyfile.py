"""A key file as its vendor writes it: JSON whose fields are asked for by name, so that what is missing is told with file and field."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from polysilicon.errors import PolysiliconError


class KeyFile:
    """The fields of one file, or of one part of it."""

    def __init__(self, path: str, fields: Mapping[str, Any], inside: str = "") -> None:
        self.path = path
        self._fields = fields
        self._inside = inside

    @classmethod
    def read(cls, path: str) -> KeyFile:
        """Read a file of JSON.

        Raises: PolysiliconError naming the file.
        """
        try:
            return cls(path, msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any]))
        except msgspec.MsgspecError:
            raise PolysiliconError(f"{path} is not a key file: no JSON object") from None
        except OSError as error:
            raise PolysiliconError(f"{path} cannot be read: {error.strerror}") from error

    def wrong(self, name: str, words: str) -> PolysiliconError:
        """Return an error about a field; never with its value."""
        return PolysiliconError(f"{self.path}: {self._inside}{name} {words}")

    def has(self, name: str) -> bool:
        """Return whether a field is there and holds something."""
        return bool(self._fields.get(name))

    def text(self, name: str, otherwise: str | None = None) -> str:
        """Return a field's text.

        Raises: PolysiliconError naming file and field when it is missing and there is no other, or is no text.
        """
        value = self._fields.get(name)
        if value in (None, "") and otherwise is not None:
            return otherwise
        if not isinstance(value, str) or not value:
            raise self.wrong(name, "is missing" if value in (None, "") else "is not text")
        return value

    def url(self, name: str, otherwise: str | None = None) -> str:
        """Return an address: https, or http of this machine and its metadata server. A proof goes nowhere else."""
        value = self.text(name, otherwise)
        try:
            parts = urlsplit(value)
            fine = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_near(parts.hostname or "")))
        except ValueError:
            fine = False
        if not fine or parts.username:
            raise self.wrong(name, "must be https://, or http:// of this machine or its metadata server")
        return value

    def part(self, name: str) -> KeyFile:
        """Return a field that is an object."""
        value = self._fields.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "is missing" if value is None else "is not an object")
        return KeyFile(self.path, value, f"{self._inside}{name}.")

    def mapping(self, name: str) -> dict[str, str]:
        """Return a field that maps text to text; nothing where it is not there."""
        value = self._fields.get(name) or {}
        if not isinstance(value, dict) or not all(isinstance(x, str) for pair in value.items() for x in pair):
            raise self.wrong(name, "is not a list of names and texts")
        return dict(value)


def is_near(host: str) -> bool:
    """Return whether a host is this machine, or answers for it on its own link.

    >>> is_near("127.0.0.1"), is_near("169.254.169.254"), is_near("127.evil.example")
    (True, True, False)
    """
    if host in ("localhost", "metadata.google.internal"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or address == ip_address("fd00:ec2::254")


def read_text(path: str) -> str:
    """Return what stands in a file, without the white space around it.

    Raises: PolysiliconError naming the file.
    """
    try:
        text = Path(path).read_text().strip()
    except OSError as error:
        raise PolysiliconError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise PolysiliconError(f"{path} holds no text") from None
    if not text:
        raise PolysiliconError(f"{path} is empty")
    return text
