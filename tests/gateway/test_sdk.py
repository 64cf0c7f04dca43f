"""The official SDKs, sync and async, against the gateway: the conformance suite."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from rig import MODEL, SEVEN, Rig, endpoint

HELLO = [{"role": "user", "content": "hello there"}]
TOOL = {"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.mark.parametrize("door", [*SEVEN, "anthropic", "openai"])
def test_anthropic_through_every_door(rig: Callable[..., Rig], door: str) -> None:
    r = rig([endpoint("t", door)])
    with anthropic.Anthropic(api_key="sk-k1", base_url=r.url, max_retries=0) as client:
        whole = client.messages.create(model=MODEL, max_tokens=50, messages=HELLO)
        assert whole.content[0].text.startswith("word0 word1 ")
        assert whole.usage.output_tokens == 12
        with client.messages.stream(model=MODEL, max_tokens=50, messages=HELLO) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert text == whole.content[0].text
        assert (final.usage.output_tokens, final.stop_reason) == (12, "end_turn")
        tool = client.messages.create(model=MODEL, max_tokens=50, messages=[{"role": "user", "content": "use the tool"}], tools=[TOOL])
        assert tool.stop_reason == "tool_use"
        assert tool.content[-1].input == {"city": "Paris"}
        with client.messages.stream(model=MODEL, max_tokens=50, messages=[{"role": "user", "content": "use the tool"}], tools=[TOOL]) as stream:
            assert stream.get_final_message().content[-1].input == {"city": "Paris"}
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
        seen = client.messages.create(model=MODEL, max_tokens=50, messages=[{"role": "user", "content": [image, {"type": "text", "text": "what"}]}])
        assert seen.usage.input_tokens > 1000
    lines = r.ledger(5)
    assert [e.outcome for e in lines] == ["ok"] * 5
    assert sum(e.cost_nano_usd for e in lines) == sum(b.nano_usd for b in r.emulator["t"].seen.bill)
