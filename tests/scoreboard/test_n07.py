"""N07: a self-contained report and a single chart to embed; nothing in either points outside the file."""

import re
from html.parser import HTMLParser

import pytest

from polysilicon import report
from polysilicon.portfolio import Holding, Period, Plan


class Links(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [
            v for k, v in attrs if k in ("src", "href", "data", "action", "poster", "srcset") and not v.startswith(("#", "data:"))
        ]


@pytest.fixture(scope="module")
def evidence():
    holding = Holding(0, "o", "azure", "eastus2", "gb200", "reserved", 72, 72, 3.3, 72 * 3.3 * 8760)
    plan = Plan(
        "s",
        "d",
        "c",
        "optimal",
        0.0,
        0.0,
        2e6,
        holding.bill_usd,
        0.0,
        0.0,
        0.0,
        (Period(0, "2027-01-01", 8760.0),),
        (holding,),
        (),
        (),
        (),
    )
    return report.Evidence(plan=plan, title="one rack")


def test_report_and_embedded_chart_fetch_nothing(evidence, tmp_path):
    pages = [report.write(evidence, tmp_path)["report.html"].read_text(), report.embed(evidence, "spend")]
    for text in pages:
        links = Links()
        links.feed(text)
        assert links.found == []
        assert "default-src 'none'" in text
        assert not re.search(r"@import|url\(", "".join(re.findall(r"<style>(.*?)</style>", text, re.S)))
        assert text.count("window.vegaEmbed=") == 1
