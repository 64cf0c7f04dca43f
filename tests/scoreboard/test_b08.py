"""B08: many back ends as one: both SDKs, streamed and whole, with retries, limits and fallbacks, through all nine doors at once."""

from pathlib import Path

import anthropic
import openai
import pytest
from live import endpoint, key, running

from polysilicon.gateway.emulator import Fault

DOORS = ("claude", "aws-platform", "bedrock", "bedrock-messages", "vertex", "google-cloud", "foundry", "anthropic", "openai")


def test_nine_doors_as_one(tmp_path: Path) -> None:
    doors = [endpoint(d, d) for d in DOORS]
    doors[0].faults = [Fault("500", frac=0.5)]
    keys = (key(), key("few", requests_per_minute=2))
    said = [{"role": "user", "content": "hello"}]
    with running(tmp_path, doors, keys=keys) as rig:
        with anthropic.Anthropic(api_key="sk-k1", base_url=rig.url, max_retries=0) as messages:
            texts = {messages.messages.create(model="opus", max_tokens=30, messages=said).content[0].text for _ in range(18)}
            with messages.messages.stream(model="opus", max_tokens=30, messages=said) as stream:
                texts.add("".join(stream.text_stream))
        with openai.OpenAI(api_key="sk-k1", base_url=rig.url + "/v1", max_retries=0) as chat:
            texts.add(chat.chat.completions.create(model="opus", messages=said).choices[0].message.content)
            texts.add(chat.responses.create(model="opus", input="hello").output_text)
        assert len(texts) == 1
        assert {e.target for e in rig.ledger(21)} >= set(DOORS) - {"claude"}
        assert rig.emulator["claude"].seen.refused > 0
        with openai.OpenAI(api_key="sk-few", base_url=rig.url + "/v1", max_retries=0) as chat, pytest.raises(openai.RateLimitError):
            for _ in range(4):
                chat.chat.completions.create(model="opus", messages=said)
