"""I04: the openai and anthropic SDKs complete a streaming chat through the gateway to fakes of three clouds, with attribution."""

from pathlib import Path

import anthropic
import openai
from live import endpoint, key, running


def test_both_sdks_through_three_clouds(tmp_path: Path) -> None:
    keys = (key("copilot", team="microsoft", application="m365-copilot"), key("github", team="microsoft", application="github-copilot"))
    said = [{"role": "user", "content": "hello"}]
    with running(tmp_path, [endpoint("aws", "bedrock"), endpoint("gcp", "vertex"), endpoint("azure", "foundry")], keys=keys) as rig:
        with anthropic.Anthropic(api_key="sk-copilot", base_url=rig.url, max_retries=0) as client:
            for _ in range(3):
                with client.messages.stream(model="opus", max_tokens=30, messages=said) as stream:
                    assert stream.get_final_message().stop_reason == "end_turn"
        with openai.OpenAI(api_key="sk-github", base_url=rig.url + "/v1", max_retries=0) as client:
            for _ in range(3):
                chunks = list(client.chat.completions.create(model="opus", messages=said, stream=True))
                assert chunks[-1].choices[0].finish_reason == "stop"
        entries = rig.ledger(6)
    assert {e.cloud for e in entries} == {"aws", "gcp", "azure"}
    assert sorted((e.application, e.team) for e in entries) == [("github-copilot", "microsoft")] * 3 + [("m365-copilot", "microsoft")] * 3
    assert all(e.cost_nano_usd > 0 for e in entries)
