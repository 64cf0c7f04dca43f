"""The page of a replay: fleet and one replica over time, failures marked, events and promises in tables; no scripts."""

from __future__ import annotations

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.errors import InputError
from polysilicon.report.replay import page
from polysilicon.simulator.dynamics import Happenings, Outage, PriceChange
from polysilicon.simulator.fleet import Fleet, Pool


def replayed(flat, **more: object):
    rng = np.random.default_rng(0)
    pools = (Pool("east", flat(), 2, cloud="azure", max_batch=8), Pool("west<b>", flat(), 2, cloud="aws", max_batch=8))
    trace = Trace(np.cumsum(rng.exponential(0.05, 2_000)), np.full(2_000, 20, np.int32), np.full(2_000, 30, np.int32), workload_names=("chat",))
    happenings = Happenings(
        outages=[Outage(20.0, "cloud", "aws", 10.0)], prices=[PriceChange(50.0, "east", 2.0)], sample_s=0.5, **more
    )  # fmt: skip
    fleet = Fleet(pools, routing="least-loaded", slos={"chat": Slo(ttft_s=0.5, e2e_s=0.01)})
    return simulator.simulate(fleet, trace, happenings=happenings)


def test_the_watched_replica_is_the_one_an_outage_takes_unless_another_is_asked_for(flat) -> None:
    lost = replayed(flat).watched
    assert (lost["name"], lost["replica"]) == ("west<b>#0", 2)
    down = (lost["t_s"] > 20.0) & (lost["t_s"] < 30.0)
    assert lost["batch"][down].max() == 0 < lost["batch"][~down].max() and lost["kv_frac"][~down].max() > 0
    assert replayed(flat, watch="east#1").watched["replica"] == 1
    with pytest.raises(InputError, match='"east#7" is no replica'):
        replayed(flat, watch="east#7")


def test_the_page_shows_fleet_and_replica_with_what_happened_marked(flat) -> None:
    html = page(replayed(flat), title="chat & more")
    assert "<script" not in html and "src=" not in html.replace('src="data:', "") and "chat &amp; more" in html
    for words in ("The fleet over time", "Replicas up", "Time to first token", "One replica over time", "KV cache in use", "What happened"):
        assert words in html
    drawings = html.count("<svg")
    assert drawings == 5 + 4
    lines = {colour: html.count(f'stroke="{colour}"') for colour in ("#d1495b", "#2fa37c", "#a08030")}
    assert all(count >= drawings for count in lines.values())  # lost, back and dearer: a rule each in every drawing
    assert "outage: cloud aws, 2 replicas" in html and "west<b>" not in html and "missed" in html


def test_a_replay_without_samples_or_events_has_a_page_too(flat) -> None:
    trace = Trace(np.zeros(1), np.full(1, 20, np.int32), np.full(1, 1, np.int32))
    html = page(simulator.simulate(Fleet((Pool("a", flat(), max_batch=8),)), trace), title="one")
    assert "Nothing was promised." in html and "One replica" not in html
