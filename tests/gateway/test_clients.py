"""Every client class of the official SDKs, sync and async, against the emulator and against the gateway: whole and streamed, tools, images,
long contexts, errors, retries. The AWS classes also sign with the vendor's own library, which is the judge of our signatures and streams."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from rig import MODEL, SEVEN, Rig, endpoint

from polysilicon.gateway.emulator import Fault, FleetModel

HELLO: Any = [{"role": "user", "content": "hello there"}]
TOOL: Any = {
    "name": "weather",
    "description": "d",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
VENDOR_NAME = {"bedrock": "us.anthropic.opus-v1:0", "vertex": "opus@20251001"}
CLASSES = {
    "claude": ("Anthropic",), "aws-platform": ("AnthropicAWS",), "bedrock": ("AnthropicBedrock",), "bedrock-messages": ("AnthropicBedrockMantle",),
    "vertex": ("AnthropicVertex",), "google-cloud": ("AnthropicGoogleCloud",), "foundry": ("AnthropicFoundry",),
}  # fmt: skip
SIGNED = ("bedrock", "bedrock-messages", "aws-platform")
CASES = [(door, proof) for door in SEVEN for proof in (("bearer", "signed") if door in SIGNED else ("bearer",))]


def client_of(door: str, base: str, *, proof: str = "bearer", asynchronous: bool = False, retries: int = 0, key: str = "") -> Any:
    """The vendor's own class for a door, pointed at an address."""
    token = key or os.environ["RIG_TOKEN"]
    pair = {"aws_access_key": os.environ["RIG_ACCESS"], "aws_secret_key": os.environ["RIG_SECRET"]}
    aws: dict[str, Any] = {"aws_region": "us-east-1", **(pair if proof == "signed" else {"api_key": token})}
    if proof == "signed":
        pytest.importorskip("botocore", reason="the vendor's signing library is not installed")

    async def provide() -> str:
        return token

    settings: dict[str, tuple[str, dict[str, Any]]] = {
        "claude": ("", {"api_key": token}),
        "aws-platform": ("", {**aws, "workspace_id": "w"}),
        "bedrock": ("", aws),
        "bedrock-messages": ("/anthropic", aws),
        "vertex": ("/v1", {"region": "us-east5", "project_id": "p", "access_token": token}),
        "google-cloud": ("/v1/projects/p/locations/us/workspaces/w/invoke", {"token_provider": provide if asynchronous else lambda: token}),
        "foundry": ("/anthropic", {"api_key": token}),
    }
    path, more = settings[door]
    made = getattr(anthropic, ("Async" if asynchronous else "") + CLASSES[door][0])
    return made(base_url=base + path, max_retries=retries, timeout=10.0, **more)


@pytest.fixture
def door_of(rig: Callable[..., Rig]) -> Iterator[Callable[..., tuple[Rig, str]]]:
    def make(door: str, **changes: Any) -> tuple[Rig, str]:
        r = rig([endpoint("t", door, **changes)])
        if door in SIGNED:
            r.emulator["t"].spec.keys = (f"{os.environ['RIG_ACCESS']}:{os.environ['RIG_SECRET']}", os.environ["RIG_TOKEN"])
        return r, f"http://127.0.0.1:{r.emulator['t'].port}"

    yield make


def needs_vendor_stream(door: str) -> None:
    if door == "bedrock":
        pytest.importorskip("botocore", reason="the vendor's event-stream decoder is not installed")


@pytest.mark.parametrize(("door", "proof"), CASES)
def test_every_class_against_the_emulator(door_of: Callable[..., tuple[Rig, str]], door: str, proof: str) -> None:
    _, base = door_of(door)
    needs_vendor_stream(door)
    model = VENDOR_NAME.get(door, MODEL)
    with client_of(door, base, proof=proof) as client:
        whole = client.messages.create(model=model, max_tokens=50, messages=HELLO)
        assert whole.content[0].text.startswith("word0 word1 ")
        with client.messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert (text, final.usage.output_tokens, final.stop_reason) == (whole.content[0].text, 12, "end_turn")
        tool = client.messages.create(model=model, max_tokens=50, messages=[{"role": "user", "content": "use the tool"}], tools=[TOOL])
        assert (tool.stop_reason, tool.content[-1].input) == ("tool_use", {"city": "Paris"})
        turn = [{"role": "user", "content": [IMAGE, {"type": "text", "text": "what"}]}]
        assert client.messages.create(model=model, max_tokens=50, messages=turn).usage.input_tokens > 1000


@pytest.mark.parametrize(("door", "proof"), CASES)
def test_every_async_class_against_the_emulator(door_of: Callable[..., tuple[Rig, str]], door: str, proof: str) -> None:
    _, base = door_of(door)
    needs_vendor_stream(door)
    model = VENDOR_NAME.get(door, MODEL)

    async def go() -> None:
        async with client_of(door, base, proof=proof, asynchronous=True) as client:

            async def one() -> str:
                async with client.messages.stream(model=model, max_tokens=50, messages=HELLO, tools=[TOOL]) as stream:
                    return "".join([piece async for piece in stream.text_stream])

            texts = await asyncio.gather(*[one() for _ in range(4)])
            whole = await client.messages.create(model=model, max_tokens=50, messages=HELLO)
            assert set(texts) == {whole.content[0].text}

    asyncio.run(go())


@pytest.mark.parametrize("door", SEVEN)
def test_every_class_knows_the_emulators_errors_and_retries_them(door_of: Callable[..., tuple[Rig, str]], door: str) -> None:
    r, base = door_of(door)
    model = VENDOR_NAME.get(door, MODEL)
    with client_of(door, base, key="wrong") as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model=model, max_tokens=5, messages=HELLO)
    with client_of(door, base) as client:
        for fault, kind in (("429", anthropic.RateLimitError), ("500", anthropic.InternalServerError), ("529", anthropic.APIStatusError)):
            r.call(lambda f=fault: r.emulator["t"].faults.append(Fault(f)))
            with pytest.raises(kind):
                client.messages.create(model=model, max_tokens=5, messages=HELLO)
            r.call(r.emulator["t"].faults.clear)
    r.call(lambda: r.emulator["t"].faults.append(Fault("529", to_s=r.emulator["t"].clock() + 0.6)))
    with client_of(door, base, retries=4) as client:
        assert client.messages.create(model=model, max_tokens=50, messages=HELLO).stop_reason == "end_turn"


@pytest.mark.parametrize("door", SEVEN)
def test_contexts_of_a_hundred_thousand_tokens(rig: Callable[..., Rig], door: str) -> None:
    """400 KB of prompt through the gateway to every door, streamed; the second time most of it comes out of the cache."""
    r = rig([endpoint("t", door)])
    long = "a page of a long document, " * 15_000
    system: Any = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]
    with anthropic.Anthropic(api_key="sk-k1", base_url=r.url, max_retries=0) as client:
        for _ in range(2):
            with client.messages.stream(model=MODEL, max_tokens=50, messages=HELLO, system=system) as stream:
                final = stream.get_final_message()
        assert final.usage.cache_read_input_tokens > 90_000
    first, second = r.ledger(2)
    assert first.write_5m_tokens > 90_000
    assert second.cost_nano_usd < 0.2 * first.cost_nano_usd


def test_both_sdks_many_turns_with_tools_and_thinking_back_and_forth(rig: Callable[..., Rig]) -> None:
    """Whole conversations, each turn with all before it, over doors of both dialects at once: nothing is lost in translation."""
    r = rig([endpoint("c", "claude"), endpoint("b", "bedrock"), endpoint("o", "openai")])
    with anthropic.Anthropic(api_key="sk-k1", base_url=r.url, max_retries=0) as client:
        turns: list[Any] = []
        for n in range(4):
            turns.append({"role": "user", "content": f"use the tool {n}"})
            said = client.messages.create(model=MODEL, max_tokens=50, messages=turns, tools=[TOOL])
            turns.append({"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in said.content]})
            turns.append(
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": said.content[-1].id, "content": [{"type": "text", "text": "sunny"}]}],
                }
            )
            after = client.messages.create(model=MODEL, max_tokens=50, messages=turns, tools=[TOOL])
            turns.append({"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in after.content]})
    functions: Any = [{"type": "function", "function": {"name": "weather", "parameters": TOOL["input_schema"]}}]
    with openai.OpenAI(api_key="sk-k1", base_url=r.url + "/v1", max_retries=0) as chat:
        messages: list[Any] = [{"role": "system", "content": "be brief"}]
        for n in range(3):
            messages.append({"role": "user", "content": [{"type": "text", "text": f"hello {n}"}]})
            got = chat.chat.completions.create(model=MODEL, messages=messages, tools=functions, tool_choice="required").choices[0].message
            assert got.tool_calls
            messages += [got.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": got.tool_calls[0].id, "content": "sunny"}]
            messages.append(
                chat.chat.completions.create(model=MODEL, messages=messages, tools=functions).choices[0].message.model_dump(exclude_none=True)
            )
    assert {e.outcome for e in r.ledger(14)} == {"ok"}


def test_openai_async_and_its_errors(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude"), endpoint("o", "openai")], body_bytes=20_000)

    async def go() -> None:
        async with openai.AsyncOpenAI(api_key="sk-k1", base_url=r.url + "/v1", max_retries=0) as client:
            stream = await client.responses.create(model=MODEL, input="hello", stream=True)
            kinds = [event.type async for event in stream]
            assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
            texts = await asyncio.gather(*[client.chat.completions.create(model=MODEL, messages=HELLO) for _ in range(6)])
            assert len({t.choices[0].message.content for t in texts}) == 1
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="nothing", messages=HELLO)
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x" * 30_000}])
            assert caught.value.status_code == 413
        async with openai.AsyncOpenAI(api_key="wrong", base_url=r.url + "/v1", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()

    asyncio.run(go())


def test_openai_retries_an_overload_and_sees_a_cut_stream(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude", faults=[Fault("529", to_s=0.6)])])
    with openai.OpenAI(api_key="sk-k1", base_url=r.url + "/v1", max_retries=4) as client:
        assert client.chat.completions.create(model=MODEL, messages=HELLO).choices[0].finish_reason == "stop"
    cut = rig([endpoint("t", "claude", faults=[Fault("cut-after")], model=FleetModel(ttft_s=0.0, tpot_s=0.001))])
    with openai.OpenAI(api_key="sk-k1", base_url=cut.url + "/v1", max_retries=0) as client, pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True))
    with (
        anthropic.Anthropic(api_key="sk-k1", base_url=cut.url, max_retries=0) as messages,
        pytest.raises(anthropic.APIStatusError),
        messages.messages.stream(model=MODEL, max_tokens=50, messages=HELLO) as stream,
    ):
        stream.get_final_message()
