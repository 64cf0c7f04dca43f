"""An issuer of credentials on loopback: says whatever the test says, keeps what it was asked."""

from __future__ import annotations

import http.server
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Issuer(http.server.ThreadingHTTPServer):
    """Issues whatever the test says; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = []  # method, path, headers, form
        self.bodies: list[str] = []
        self.answer: Callable[[str, dict[str, str]], tuple[int, Any]] = lambda _path, _form: (200, {})
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                issuer.bodies.append(body)
                form = {k: v[0] for k, v in parse_qs(body or urlsplit(self.path).query).items()}
                path = urlsplit(self.path).path
                issuer.asked.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}, form))
                status, said = issuer.answer(path, form)
                data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("location", issuer.url + "/elsewhere")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
