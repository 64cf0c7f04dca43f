"""The operator's side of a running gateway: an API with its own key, and one page that shows what goes on. Loopback by default."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from polysilicon.errors import InputError, PolysiliconError, did_you_mean
from polysilicon.gateway.controller import Controller
from polysilicon.model.port import STAGES

_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
}
Endpoint = Callable[[Request], Awaitable[Response]]


class _Stage(msgspec.Struct, forbid_unknown_fields=True):
    stage: str
    gate: str = ""


class _Open(msgspec.Struct, forbid_unknown_fields=True):
    open: bool
    why: str = "closed by the operator"


def page() -> str:
    """Return the live page: one file, no request to anywhere but its own server."""
    return (files("polysilicon.web") / "live.html").read_text("utf-8")


def create(controller: Controller, key: str, *, reload: Callable[[], str] | None = None) -> Starlette:
    """Return the admin application of a controller; all but the empty page and `/health` need the key as a bearer token."""

    def keyed(handler: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), key.encode()):
                return _json({"error": "the admin key is needed as a bearer token"}, 401)
            try:
                return await handler(request)
            except (msgspec.MsgspecError, PolysiliconError) as error:
                return _json({"error": str(error)}, 400)

        return guarded

    async def home(_: Request) -> Response:
        return HTMLResponse(page(), headers=_HEADERS)

    async def health(_: Request) -> Response:
        return _json({"status": "ok", "directive": controller.broker.directive.number})

    async def status(_: Request) -> Response:
        return _json(controller.status())

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(controller.metrics(), headers=_HEADERS, media_type="text/plain; version=0.0.4")

    async def decisions(_: Request) -> Response:
        return _json(list(controller.decisions))

    async def recent(_: Request) -> Response:
        return _json(list(controller.recent)[-100:])

    async def shut(_: Request) -> Response:
        rows = [{**b, "breaker": v["breaker"]} for v in controller.status()["variants"] for b in v["breakers"]]
        return _json(rows)

    async def stage(request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_Stage)
        variant = _known(controller, request)
        if asked.stage not in STAGES or asked.gate not in ("", "passed", "failed"):
            return _json({"error": f"stage is one of {', '.join(STAGES)}; gate is empty, passed or failed"}, 400)
        controller.promotions.set_stage(variant, asked.stage, asked.gate)
        return _json({"directive": controller.tick().number})

    async def promote(request: Request) -> Response:
        variant = _known(controller, request)
        new = controller.promotions.promote(variant)
        return _json({"stage": new, "directive": controller.tick().number})

    async def opened(request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=_Open)
        variant = _known(controller, request)
        if asked.open:
            controller.down.pop(variant, None)
        else:
            controller.down[variant] = asked.why[:200]
        return _json({"directive": controller.tick().number})

    async def reloaded(_: Request) -> Response:
        if reload is None:
            return _json({"error": "this gateway was not started from a file"}, 400)
        return _json({"digest": reload()})

    routes = [
        Route("/", home),
        Route("/health", health),
        Route("/api/status", keyed(status)),
        Route("/api/decisions", keyed(decisions)),
        Route("/api/ledger", keyed(recent)),
        Route("/api/breakers", keyed(shut)),
        Route("/metrics", keyed(metrics)),
        Route("/api/variants/{variant:path}/stage", keyed(stage), methods=["POST"]),
        Route("/api/variants/{variant:path}/promote", keyed(promote), methods=["POST"]),
        Route("/api/variants/{variant:path}/open", keyed(opened), methods=["POST"]),
        Route("/api/reload", keyed(reloaded), methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _known(controller: Controller, request: Request) -> str:
    variant = str(request.path_params["variant"])
    if variant not in controller.promotions.stages:
        raise InputError(f'there is no variant "{variant[:120]}"', where="request", hint=did_you_mean(variant, list(controller.promotions.stages)))
    return variant


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, headers=_HEADERS, media_type="application/json")
