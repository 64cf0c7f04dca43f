"""Versions and parameters belong to the target: what a client sends is valid where it is tried first, and again where it is tried next."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from rig import SEVEN, Rig, ask, endpoint, post

from polysilicon.gateway.emulator import Fault
from polysilicon.gateway.sse import each
from polysilicon.gateway.wiring import NEW, OLD

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {}, "temperature": {"temperature": 1.0}, "all sampling": {"temperature": 0.2, "top_p": 0.9, "top_k": 40}, "citations": {"cited": True},
}  # fmt: skip
DOCUMENT: Any = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}]},
    {"role": "user", "content": "go on"},
]


def asking(shape: dict[str, Any], stream: bool, number: int) -> dict[str, Any]:
    """A request of its own conversation: one that goes on stays where its cache is."""
    block = {"type": "text", "text": f"hello {number}"}
    if shape.get("cited"):
        return ask(stream=stream, messages=[{"role": "user", "content": [{**block, "citations": [{"type": "char_location", "cited_text": "x"}]}]}])
    return {**ask(stream=stream, text=f"hello {number}"), **shape}


@pytest.mark.parametrize("first", [OLD, NEW])
@pytest.mark.parametrize("door", SEVEN)
def test_failover_between_versions_is_always_valid(rig: Callable[..., Rig], door: str, first: str) -> None:
    """One target speaks only the one version, the other only the other; the first fails, then is well: every request is served, none is refused."""
    second = NEW if first == OLD else OLD
    number = itertools.count()
    other = "vertex" if door != "vertex" else "claude"
    bad = endpoint("bad", door, versions=(first,), faults=[Fault("503")])
    r = rig([bad, endpoint("good", other, versions=(second,))], weights=[1.0, 0.0],
            targets={"bad": {"versions": (first,)}, "good": {"versions": (second,)}})  # fmt: skip
    for shape in SHAPES.values():
        for asked in (OLD, NEW):
            for stream in (False, True):
                headers = {"anthropic-version": asked}
                for served in ("good", "bad"):
                    r.emulator["bad"].faults[:] = [Fault("503")] if served == "good" else []
                    r.call(lambda: r.worker.live.health.good(0, 0.01))
                    r.call(lambda: r.worker.live.health.good(1, 0.01))
                    status, said, body = post(r, asking(shape, stream, next(number)), headers=headers)
                    assert (status, said["x-polysilicon-target"]) == (200, served), (asked, shape, body)
                    if stream:
                        assert [name for name, _ in each(body)][-1] == b"message_stop"


def test_what_cannot_be_made_valid_is_served_where_it_is_or_refused_with_the_reason(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("new", "claude", versions=(NEW,)), endpoint("old", "vertex", versions=(OLD,))], weights=[1.0, 0.0],
            targets={"new": {"versions": (NEW,)}, "old": {"versions": (OLD,)}})  # fmt: skip
    status, said, body = post(r, ask(messages=DOCUMENT))
    assert (status, said["x-polysilicon-target"]) == (200, "old"), body
    r.call(r.emulator["old"].outage)
    status, _, body = post(r, ask(messages=DOCUMENT))
    assert status in (400, 502, 503), body
    assert r.emulator["new"].seen.requests == 0, "what the version forbids is not even sent"
