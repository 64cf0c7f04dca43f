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
TOOL = {
    "name": "weather",
    "description": "d",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
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


@pytest.mark.parametrize("door", ["claude", "bedrock", "vertex", "openai"])
def test_openai_chat(rig: Callable[..., Rig], door: str) -> None:
    r = rig([endpoint("t", door)])
    with openai.OpenAI(api_key="sk-k1", base_url=r.url + "/v1", max_retries=0) as client:
        whole = client.chat.completions.create(model=MODEL, messages=HELLO)
        assert whole.choices[0].message.content.startswith("word0 word1 ")
        assert whole.usage.completion_tokens == 12
        chunks = list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
        assert all(c.choices for c in chunks)  # no usage chunk that was not asked for
        assert chunks[-1].choices[0].finish_reason == "stop"
        with_usage = list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}))
        assert with_usage[-1].usage.completion_tokens == 12
        tools = [{"type": "function", "function": {"name": "weather", "parameters": TOOL["input_schema"]}}]
        call = client.chat.completions.create(model=MODEL, messages=HELLO, tools=tools, tool_choice="required")
        assert call.choices[0].message.tool_calls[0].function.arguments == '{"city":"Paris"}'
        back = [
            *HELLO, call.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.choices[0].message.tool_calls[0].id, "content": "sunny"},
        ]  # fmt: skip
        assert client.chat.completions.create(model=MODEL, messages=back, tools=tools).choices[0].finish_reason == "stop"
        parts = [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PIXEL}}]
        assert client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}]).usage.prompt_tokens > 1000
    assert all(e.outcome == "ok" and not e.estimated for e in r.ledger(6))


@pytest.mark.parametrize("door", ["claude", "bedrock", "openai"])
def test_openai_responses(rig: Callable[..., Rig], door: str) -> None:
    r = rig([endpoint("t", door)])
    with openai.OpenAI(api_key="sk-k1", base_url=r.url + "/v1", max_retries=0) as client:
        whole = client.responses.create(model=MODEL, input="hello", instructions="Be brief.")
        assert whole.output_text.startswith("word0 word1 ")
        assert (whole.status, whole.usage.output_tokens) == ("completed", 12)
        events = list(client.responses.create(model=MODEL, input="hello", stream=True))
        assert events[0].type == "response.created"
        assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == whole.output_text
        assert [e.sequence_number for e in events] == list(range(len(events)))
        tools: Any = [{"type": "function", "name": "weather", "parameters": TOOL["input_schema"], "strict": False}]
        call = client.responses.create(model=MODEL, input="use the tool", tools=tools).output[-1]
        assert (call.type, call.arguments) == ("function_call", '{"city":"Paris"}')
        streamed = list(client.responses.create(model=MODEL, input="use the tool", tools=tools, stream=True))
        assert streamed[-1].response.output[-1].arguments == '{"city":"Paris"}'
        with pytest.raises(openai.BadRequestError, match="previous_response_id"):
            client.responses.create(model=MODEL, input="hello", previous_response_id="resp_1")


def test_async_clients_and_many_at_once(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("a", "claude"), endpoint("b", "bedrock"), endpoint("c", "vertex")])

    async def go() -> None:
        async with (
            anthropic.AsyncAnthropic(api_key="sk-k1", base_url=r.url, max_retries=0) as messages,
            openai.AsyncOpenAI(api_key="sk-k1", base_url=r.url + "/v1", max_retries=0) as chat,
        ):

            async def one() -> str:
                async with messages.messages.stream(model=MODEL, max_tokens=50, messages=HELLO) as stream:
                    return "".join([piece async for piece in stream.text_stream])

            async def two() -> str:
                stream = await chat.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            texts = await asyncio.gather(*[one() for _ in range(12)], *[two() for _ in range(12)])
            assert len(set(texts)) == 1

    asyncio.run(go())
    by_target = [sum(e.target == t for e in r.ledger(24)) for t in "abc"]
    assert sum(by_target) == 24 and min(by_target) >= 6, by_target  # equal shares, whole requests; one that had to wait may have moved


def test_count_tokens_and_models(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("b", "bedrock"), endpoint("v", "vertex")])
    with anthropic.Anthropic(api_key="sk-k1", base_url=r.url, max_retries=0) as client:
        counts = {client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens for _ in range(4)}
        assert len(counts) == 1  # Bedrock's InvokeModel counts none: all go to Vertex
        assert [m.id for m in client.models.list()] == [MODEL]
        assert client.models.retrieve(MODEL).id == MODEL
    with openai.OpenAI(api_key="sk-k1", base_url=r.url + "/v1", max_retries=0) as client:
        assert [m.id for m in client.models.list()] == [MODEL]
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nothing")


def test_a_count_that_no_target_offers_is_refused_by_name(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("o", "openai")])
    with (
        anthropic.Anthropic(api_key="sk-k1", base_url=r.url, max_retries=0) as client,
        pytest.raises(anthropic.BadRequestError, match="count is not offered by an openai target"),
    ):
        client.messages.count_tokens(model=MODEL, messages=HELLO)


def test_errors_as_the_sdks_know_them(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude")])
    with (
        anthropic.Anthropic(api_key="wrong", base_url=r.url, max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(model=MODEL, max_tokens=5, messages=HELLO)
    with anthropic.Anthropic(api_key="sk-k1", base_url=r.url, max_retries=0) as client:
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(model="other", max_tokens=5, messages=HELLO)
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            client.post("/v1/messages", body={"model": MODEL, "messages": HELLO}, cast_to=object)
    with (
        openai.OpenAI(api_key="sk-k1", base_url=r.url + "/v1", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match='"n"'),
    ):
        client.chat.completions.create(model=MODEL, messages=HELLO, n=2)


def test_sdk_retries_an_overload(rig: Callable[..., Rig]) -> None:
    from polysilicon.gateway.emulator import Fault

    r = rig([endpoint("t", "claude", faults=[Fault("529", to_s=0.8)])])
    with anthropic.Anthropic(api_key="sk-k1", base_url=r.url, max_retries=4) as client:
        assert client.messages.create(model=MODEL, max_tokens=50, messages=HELLO).stop_reason == "end_turn"
