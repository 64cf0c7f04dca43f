"""`polysilicon serve`: one controller with the admin side, and the workers it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polysilicon.errors import InputError, InputErrors, PolysiliconError
from polysilicon.gateway.compile import on_trial
from polysilicon.gateway.config import GatewayConfig
from polysilicon.gateway.controller import Controller, Supervisor, contract_of, engines_of, new_key
from polysilicon.gateway.journal import log
from polysilicon.gateway.secrets import SecretValue
from polysilicon.gateway.standing import Standing, check_free, listening
from polysilicon.gateway.wiring import Wiring
from polysilicon.gateway.worker import run as run_loop

CreateAdmin = Callable[..., Any]
_MOMENT_S = 0.15
_OWN_SILICON = ("aws", "amazon", "google", "microsoft", "meta")  # vendors that sell cloud, not chips


def custom_chips() -> tuple[str, ...]:
    """Return the chips that clouds make for themselves, by id and alias-free name."""
    from polysilicon.catalogue import load

    return tuple(c.id for c in load().chips.values() if c.vendor.casefold() in _OWN_SILICON)


def make_controller(settings: GatewayConfig, wiring: Wiring) -> Controller:
    """Return the controller of a gateway's file."""
    return Controller(
        wiring,
        broker=settings.broker,
        contracts=[contract_of(c) for c in settings.contracts],
        promotion=settings.promotion,
        engines=engines_of(settings),
        custom_chips=custom_chips() if any(v.chip for v in wiring.variants) else (),
        telemetry=settings.telemetry,
    )


def check_reload(old: tuple[GatewayConfig, Wiring], new: tuple[GatewayConfig, Wiring]) -> None:
    """Refuse a file that changes what is settled when the gateway starts; anything else may change while it serves.

    Raises: InputErrors naming each such setting.
    """
    (was, before), (now, after) = old, new
    settled = {
        "listen.host": (was.listen.host, now.listen.host), "listen.port": (was.listen.port, now.listen.port),
        "listen.workers": (was.listen.workers, now.listen.workers), "admin.host": (was.admin.host, now.admin.host),
        "admin.port": (was.admin.port, now.admin.port), "admin.key": (was.admin.key, now.admin.key), "state": (before.state, after.state),
    }  # fmt: skip
    changed = {where: pair for where, pair in settled.items() if pair[0] != pair[1]}
    if changed:
        raise InputErrors([
            InputError(f"was {pair[0]} at the start, and cannot become {pair[1]} while the gateway serves", where=where,
                       hint="stop it, which drains it, and start it anew") for where, pair in changed.items()
        ])  # fmt: skip


def admin_server(app: Any, host: str, port: int) -> Any:
    """Return a uvicorn server that leaves signals alone."""
    import uvicorn

    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
    return server


def run(settings: GatewayConfig, wiring: Wiring, create: CreateAdmin, read: Callable[[], tuple[GatewayConfig, Wiring]]) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reads the file anew."""
    run_loop(serve(settings, wiring, create, read))


async def serve(settings: GatewayConfig, wiring: Wiring, create: CreateAdmin, read: Callable[[], tuple[GatewayConfig, Wiring]]) -> None:
    """Keep the workers, tick the broker, answer the operator."""
    key = SecretValue(settings.admin.key, where="admin.key").get() if settings.admin.key else new_key()[0]
    standing = Standing(Path(wiring.state))
    orphans = standing.end_orphans(wiring.drain_s + 5.0)
    if orphans:
        log("warning", "ended workers whose controller had died", processes=orphans)
    check_free(wiring.host, wiring.port, "listen.port")
    door = listening(settings.admin.host, settings.admin.port, "admin.port")
    state = {"controller": make_controller(settings, wiring)}
    supervisor = Supervisor(state["controller"], standing.state / "wiring.bin")
    stop = asyncio.Event()

    def reload() -> str:
        try:
            new_settings, new_wiring = read()
            check_reload((settings, wiring), (new_settings, new_wiring))
            controller = make_controller(new_settings, new_wiring)
        except PolysiliconError as error:
            log("error", "reload refused", why=str(error))
            raise
        old = state["controller"]
        controller.down = {name: why for name, why in old.down.items() if name in controller.promotions.stages}
        state["controller"] = supervisor.controller = controller
        supervisor.reload(new_wiring)
        old.close()
        log("info", "reloaded", digest=new_wiring.digest)
        return new_wiring.digest

    def reload_quietly() -> None:
        with contextlib.suppress(PolysiliconError):
            reload()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload_quietly)
    admin = admin_server(create(_Current(state), key, reload=reload), settings.admin.host, settings.admin.port)
    await supervisor.start()
    tasks = [
        asyncio.create_task(admin.serve(sockets=[door])), asyncio.create_task(tick_forever(lambda: state["controller"])),
        asyncio.create_task(share_forever(lambda: state["controller"])),
    ]  # fmt: skip
    for problem in on_trial(wiring):
        log("warning", problem.message, hint=problem.hint)
    log("info", "serving", url=f"http://{wiring.host}:{wiring.port}", admin=f"http://{settings.admin.host}:{settings.admin.port}")
    if settings.admin.key is None:
        print(f"admin page: http://{settings.admin.host}:{settings.admin.port}/#key={key}", flush=True)
    await stop.wait()
    log("info", "draining")
    await supervisor.stop()
    admin.should_exit = True
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    controller = state["controller"]
    controller.tick()
    controller.peers.leave(controller.demand())
    controller.close()
    standing.leave()


class _Current:
    """Stands for the controller of the moment, which a reload replaces."""

    def __init__(self, state: dict[str, Controller]) -> None:
        self._state = state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state["controller"], name)


async def tick_forever(current: Callable[[], Controller]) -> None:
    """Read feeds beside the loop and tick, once every `tick_s`; a tick that fails is logged and the last directive stands.

    A tick waits a moment for what has just been asked for, as a file or a near server answers at once, and never for a feed that hangs.
    """
    reading: dict[tuple[int, str], asyncio.Task[None]] = {}
    while True:
        controller = current()
        reading = {key: task for key, task in reading.items() if not task.done()}
        begun = {}
        for name, read in controller.reads(time.time()).items():
            if (id(controller), name) not in reading:
                begun[id(controller), name] = asyncio.create_task(asyncio.to_thread(read))
        reading |= begun
        if begun:
            await asyncio.wait(begun.values(), timeout=min(_MOMENT_S, controller.settings.tick_s))
        if controller is not current():  # replaced by a reload while it waited for feeds
            continue
        try:
            controller.tick()
        except Exception as error:  # whatever it is, the next tick may do better, and nothing else would steer
            log("error", "tick failed; the last directive stands", why=str(error) or type(error).__name__)
        await asyncio.sleep(controller.settings.tick_s)


async def share_forever(current: Callable[[], Controller]) -> None:
    """Talk to the stores that hosts share, once every `tick_s`; say when that stops and when it goes on."""
    said: list[str] = []
    while True:
        controller = current()
        with contextlib.suppress(ValueError):  # closed by a reload in the meantime
            found = await asyncio.to_thread(controller.peers.step, controller.demand())
            if [p.partition(":")[0] for p in found] != [p.partition(":")[0] for p in said]:
                log("warning" if found else "info", "shared stores", problems=found)
            said = found
        await asyncio.sleep(controller.settings.tick_s)
