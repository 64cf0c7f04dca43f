"""W07: the clouds' own chips as a share of tokens and dollars, exported."""

from pathlib import Path

from live import ask, endpoint, post, running

from polysilicon.gateway.controller import Controller
from polysilicon.gateway.serving import custom_chips


def test_custom_silicon_share(tmp_path: Path) -> None:
    own = custom_chips()
    assert own, "the catalogue knows chips that clouds make"
    assert not any("H100" in chip or "GB300" in chip for chip in own)
    variants = {"a": {"chip": own[0]}, "b": {"chip": "H100"}, "c": {"chip": own[-1]}}
    with running(tmp_path, [endpoint("a", "claude"), endpoint("b", "vertex"), endpoint("c", "foundry")], variants=variants) as rig:
        for _ in range(9):
            post(rig, ask())
        entries = rig.ledger(9)
        controller = Controller(rig.wiring, custom_chips=own)
        controller.tick()
        page = controller.metrics()
        controller.close()
    tokens = sum(e.tokens for e in entries if e.chip in own) / sum(e.tokens for e in entries)
    usd = sum(e.list_nano_usd for e in entries if e.chip in own) / sum(e.list_nano_usd for e in entries)
    assert f'polysilicon_custom_silicon_share{{basis="tokens"}} {tokens:.6f}' in page
    assert f'polysilicon_custom_silicon_share{{basis="usd"}} {usd:.6f}' in page
    assert 0.6 < tokens < 0.72
