"""B06: historic versions of a spot and on-demand price list are replayed as a feed, with their days."""

import json

import pytest

from polysilicon import catalogue
from polysilicon.errors import InputError, InputErrors
from polysilicon.exchange import price_feed
from polysilicon.gateway.broker.quotes import parse

HEAD = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"


def version(price, spot):
    return f"{HEAD}p5.48xlarge,H100,8,192,2048,,{price},{spot},us-east-1,us-east-1a\n"


@pytest.fixture
def folder(tmp_path):
    for day, price, spot in (("2026-01-10", 55.04, 22.0), ("2026-02-10", 55.04, 30.8), ("2026-03-10", 66.0, "")):
        (tmp_path / f"{day}-vms.csv").write_text(version(price, spot))
    return tmp_path


def test_versions_become_dated_changes_and_quotes(folder, tmp_path):
    points = price_feed.history(folder, "aws", catalogue.load())
    spot = [p for p in points if "spot" in p.offer]
    demand = [p for p in points if "on-demand" in p.offer]
    assert [(p.at, p.usd_per_chip_hour) for p in spot] == [("2026-01-10", 2.75), ("2026-02-10", 3.85), ("2026-03-10", None)]
    assert [(p.at, p.usd_per_chip_hour) for p in demand] == [("2026-01-10", 6.88), ("2026-03-10", 8.25)]  # unchanged in February
    feed = tmp_path / "feed.csv"
    feed.write_bytes(price_feed.write_feed(points))
    assert price_feed.read_feed(feed) == points
    times = [t for t, _ in price_feed.replay(points, seconds_per_day=1.0)]
    assert times[0] == 0.0 and times[-1] == 59.0 and times == sorted(times)
    told = parse(json.dumps(list(price_feed.quotes(points, {spot[0].offer: "aws-spot"}))).encode(), "feed")
    assert [(q.at, q.available, q.factor) for q in told] == [
        ("2026-01-10", True, 1.0), ("2026-02-10", True, pytest.approx(1.4)), ("2026-03-10", False, None)
    ]  # fmt: skip


def test_a_feed_that_cannot_be_right_is_refused(tmp_path):
    feed = tmp_path / "feed.csv"
    feed.write_text(
        "at,offer,usd_per_chip_hour\n2026-02-01,a,1\n2026-01-01,a,2\n2026-02-30,a,1\n2026-03-01,a,-1\n2026-03-01,a,1e999\n2026-03-01,,1\n"
    )
    with pytest.raises(InputErrors) as caught:
        price_feed.read_feed(feed)
    assert [str(p).rsplit(".csv:", 1)[1][0] for p in caught.value.problems] == ["3", "4", "5", "6", "7"]
    with pytest.raises(InputError, match="no list with a day"):
        price_feed.history(tmp_path / "x" if (tmp_path / "x").mkdir() else tmp_path / "x", "aws", catalogue.load())
