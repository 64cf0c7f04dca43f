"""Secrets by reference: `env:NAME` or `file:/path`. They are read where they are used, kept nowhere, and hidden in every text form."""

from __future__ import annotations

import os
import time
from pathlib import Path

from polysilicon.errors import InputError

_REREAD_S = 30.0


class SecretValue:
    """One secret; a file is read again every 30 s, so that tokens can be renewed by whoever writes it.

    >>> import os; os.environ["DOCTEST_SECRET"] = "s3cret"
    >>> secret = SecretValue("env:DOCTEST_SECRET"); secret, secret.get()
    (SecretValue('env:DOCTEST_SECRET'), 's3cret')
    """

    def __init__(self, reference: str, *, where: str = "", spaces: bool = False) -> None:
        kind, _, name = reference.partition(":")
        if kind not in ("env", "file") or not name:
            raise InputError("a secret is given by reference, not by value", where=where, hint="write env:NAME or file:/path/to/secret")
        self.reference = reference
        self._name = name
        self._from_file = kind == "file"
        self._value = ""
        self.until_s = float("-inf")  # when it is read anew
        self._where = where
        self._lowest = 32 if spaces else 33

    def get(self) -> str:
        """Return the secret.

        Raises: InputError naming the reference where there is no such variable or file.
        """
        now = time.monotonic()
        if now > self.until_s:
            self._value = self._read()
            self.until_s = now + _REREAD_S
        return self._value

    def _read(self) -> str:
        if not self._from_file:
            value = os.environ.get(self._name, "")
        else:
            try:
                value = Path(self._name).read_text().strip()
            except OSError as error:
                raise InputError(f"secret {self.reference} cannot be read: {error.strerror}", where=self._where) from error
        if not value or any(ord(c) < self._lowest or ord(c) > 126 for c in value):
            raise InputError(f"secret {self.reference} is empty or not printable ASCII", where=self._where)
        return value

    def __repr__(self) -> str:
        return f"SecretValue({self.reference!r})"
