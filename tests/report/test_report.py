"""The report: its numbers are the plan's, its page loads nothing, a user's words cannot break out of it."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest
from sample import HOSTILE, evidence, plan

from polysilicon import report
from polysilicon.errors import InputError
from polysilicon.portfolio import hhi, read_plan
from polysilicon.report import figures, page, words
from polysilicon.report.charts import charts

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


class Seen(HTMLParser):
    """What a browser would find: tags, what they would load, the text outside scripts."""

    def __init__(self):
        super().__init__()
        self.tags, self.loads, self.text, self.cells, self._inside = [], [], [], [], None

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = tag
        for key, value in attrs:
            if key in ("src", "href", "srcset", "action", "data", "poster") and not value.startswith(("#", "data:")):
                self.loads.append((tag, key, value))
            assert not key.startswith("on"), key

    def handle_data(self, data):
        if self._inside == "td":
            self.cells.append(data)
        if self._inside not in ("script", "style"):
            self.text.append(data)


@pytest.fixture(scope="module")
def hostile():
    return evidence(8, hostile=True)


@pytest.fixture(scope="module")
def written(hostile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return folder, report.write(hostile, folder)


@pytest.fixture(scope="module")
def seen(written):
    parser = Seen()
    parser.feed(written[1]["report.html"].read_text())
    return parser


def test_everything_is_written_once(written):
    folder, paths = written
    assert {"report.html", "report.md", "report.json", "plan.json"} <= paths.keys()
    assert sum(name.endswith(".parquet") for name in paths) >= 11
    assert not [p for p in folder.rglob("*") if p.name.startswith(".")]
    assert read_plan(paths["plan.json"]).holdings == evidence(8, hostile=True).plan.holdings
    assert paths["report.html"].stat().st_size < 1.6e6


def test_the_page_loads_nothing(written, seen):
    assert seen.loads == []
    html = written[1]["report.html"].read_text()
    assert "default-src 'none'" in html
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "url(" not in styles and "@import" not in styles


def test_user_text_stays_text(written, seen):
    # three scripts of our own: the runtime, the specifications, the few lines that draw
    assert seen.tags.count("script") == 3 and "img" not in seen.tags
    assert any(HOSTILE in text for text in ["".join(seen.text)])
    markdown = written[1]["report.md"].read_text()
    assert "<script" not in markdown.replace("\\<script", "") and "<img" not in markdown.replace("\\<img", "")
    assert json.loads(written[1]["report.json"].read_text())["title"] == HOSTILE


def test_one_runtime_for_all_charts(written):
    assert written[1]["report.html"].read_text().count("window.vegaEmbed=") == 1


def opened(target, folder):
    """Open a page in headless Chromium, without a network; return its final DOM and (kind of request, URL) of all it asked for."""
    log = folder / f"{target.stem}.net.json"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=8000",
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--dump-dom",
            target.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    asked = re.findall(r'"traffic_annotation":(\d+),"url":"((?:https?|wss?|ftp):[^"]*)"', log.read_text())
    return done.stdout, set(asked)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the report with")
def test_it_opens_offline_in_a_browser(written, hostile, tmp_path):
    # a browser asks for things of its own (time, updates); a page that does ask shows how a page's requests are marked
    control = tmp_path / "control.html"
    control.write_text('<img src="http://example.invalid/a.png"><script>fetch("http://example.invalid/b")</script>')
    of_pages = {kind for kind, url in opened(control, tmp_path)[1] if "example.invalid" in url}
    assert of_pages
    chart = tmp_path / "chart.html"
    chart.write_text(report.embed(hostile, "spend"))
    for target, expected in ((written[1]["report.html"], len(charts(hostile))), (chart, 1)):
        dom, asked = opened(target, tmp_path)
        assert [url for kind, url in asked if kind in of_pages] == []
        assert dom.count('class="marks"') == expected
        assert "could not be drawn:" not in dom.split("<script>")[0]


def test_waterfall_adds_up_to_the_total():
    for periods in (1, 3, 8):
        made = plan(periods)
        steps = figures.waterfall(made)
        assert steps[-1].total and steps[-1].usd == made.bill_usd + made.energy_usd + made.port_usd
        assert sum(s.usd for s in steps[:-1]) == pytest.approx(steps[-1].usd, rel=1e-4)
        assert sum(s.usd for s in steps[:-1]) == pytest.approx(steps[-1].usd, rel=1e-12)


def test_waterfall_does_not_hide_what_the_bills_hold():
    made = plan(2)
    more = replace(
        made.contracts[0], shortfall_usd=made.contracts[0].shortfall_usd + 1e6, total_usd=made.contracts[0].total_usd + 1e6
    )
    changed = replace(made, contracts=(more, *made.contracts[1:]), bill_usd=made.bill_usd + 1e6)
    before = {s.layer: s.usd for s in figures.waterfall(made)}
    after = {s.layer: s.usd for s in figures.waterfall(changed)}
    assert after["Commitment shortfall"] - before["Commitment shortfall"] == pytest.approx(1e6)
    assert {k for k in after if after[k] != pytest.approx(before[k], rel=1e-12)} == {"Commitment shortfall", "Total"}


def test_margins_add_up():
    ev = evidence(4)
    rows = figures.margins(ev).records()
    assert sum(r["cost_usd"] for r in rows) == pytest.approx(figures.total_usd(ev.plan), rel=1e-12)
    assert all(r["margin_usd"] == pytest.approx(r["revenue_usd"] - r["cost_usd"]) for r in rows)
    steps = figures.margin_steps(ev)
    assert sum(s.usd for s in steps[:-1]) == pytest.approx(steps[-1].usd, rel=1e-12)
    assert steps[-1].usd * figures.mtok(ev.plan) == pytest.approx(sum(r["margin_usd"] for r in rows), rel=1e-9)


def test_revenue_by_hand():
    w = evidence(1).workloads[0]  # 1102 in of which 40 % cached, 211 out, at 1.25 / 0.125 / 10
    by_hand = (1102 * 0.6 * 1.25 + 1102 * 0.4 * 0.125 + 211 * 10) / (1102 + 211)
    assert figures.margins(evidence(1)).records()[0]["list_usd_per_mtok"] == pytest.approx(by_hand)
    assert w.lengths.isl_tokens == 1102


def test_hhi_by_hand():
    assert hhi([1, 1, 1, 1]) == 0.25 and hhi([7]) == 1.0 and hhi([]) == 0.0
    assert hhi([3, 1]) == pytest.approx(0.625)


def test_concentration_counts_vendor_cloud_and_region_in_dollars_and_tokens():
    ev = evidence(2)
    rows = {(r["by"], r["of"]): r for r in figures.concentration(ev).records()}
    assert len(rows) == 6
    usd = {}
    for h in ev.plan.holdings:
        usd[h.cloud] = usd.get(h.cloud, 0) + h.bill_usd
    usd["openai"] = sum(p.usd for p in ev.plan.placements if not p.chip)
    assert rows["cloud", "dollars"]["hhi_frac"] == pytest.approx(sum((v / sum(usd.values())) ** 2 for v in usd.values()))
    assert rows["cloud", "dollars"]["top"] == "azure"
    assert rows["chip vendor", "tokens"]["top"] == "nvidia"


@pytest.mark.parametrize("form", ["json", "parquet", "html", "md"])
def test_tables_are_the_plan_s_numbers(written, seen, hostile, form):
    made = hostile.plan
    paths = written[1]
    if form == "json":
        told = json.loads(paths["report.json"].read_text())
        rows = told["tables"]["holdings"]
        assert told["total_usd"] == made.bill_usd + made.energy_usd + made.port_usd
    elif form == "parquet":
        rows = pl.read_parquet(paths["tables/holdings.parquet"]).to_dicts()
    else:
        cells = seen.cells if form == "html" else [c.strip() for c in paths["report.md"].read_text().replace("\\", "").split("|")]
        for row in figures.held(hostile).records():
            assert words.money(row["usd_per_year"]) in cells and f"{row['chips_last']:,.0f}" in cells
        for row in figures.promises(hostile).records():
            assert words.seconds(row["attained_s"]) in cells
        for row in figures.bills(hostile).records():
            assert words.money(row["total_usd"]) in cells
        return
    span = figures.years(made)
    assert sum(r["usd_per_year"] for r in rows) * span == pytest.approx(sum(h.bill_usd for h in made.holdings), rel=1e-12)
    for row in rows:
        own = [h for h in made.holdings if h.offer == row["offer"]]
        assert row["chips_first"] == sum(h.chips for h in own if h.period == 0)
        assert row["chips_last"] == sum(h.chips for h in own if h.period == len(made.periods) - 1)


def test_the_recommendation_says_what_to_hold_what_it_costs_and_what_it_saves():
    ev = evidence(8)
    told = words.recommendation(ev)
    assert "GB200 at Azure" in told and "16% less than Azure alone" in told and told.endswith(".")
    assert words.money(figures.total_usd(ev.plan) / figures.years(ev.plan)) + " a year" in told
    assert words.money(figures.total_usd(ev.plan) / figures.mtok_out(ev)) + " per million output tokens" in told


def test_dearer_than_an_alternative_its_limits_rule_out_is_said_beside_not_boasted():
    ev = evidence(2)
    cheap = replace(ev, alternatives=(report.Alternative("Azure alone", ev.plan.objective_usd * 0.9, single_supplier=True),))
    assert "Azure alone" not in words.recommendation(cheap)
    told = {fact.label: fact.value for fact in page._facts(cheap)}
    assert told["Price of its limits"] == "11%"


@pytest.mark.parametrize(("proven", "verdict"), [(True, "proven"), (False, "missed"), (None, "unproven")])
def test_an_unproven_plan_never_looks_proven(proven, verdict):
    ev = replace(evidence(1), proven=proven)
    assert words.proof(ev)[0] == verdict
    if proven is None:
        assert "not been replayed" in words.proof(ev)[1]


def test_tokens_bought_are_never_said_to_be_replayed_or_modelled():
    bought = replace(plan(1), holdings=(), placements=tuple(p for p in plan(1).placements if not p.chip))
    verdict, sentence = words.proof(replace(evidence(1), plan=bought, proven=None))
    assert verdict == "unproven"
    assert "rests on the providers" in sentence and "performance model" not in sentence
    assert "is not replayed" in words.proof(replace(evidence(1), proven=True))[1]
    on_chips = replace(plan(1), placements=tuple(p for p in plan(1).placements if p.chip))
    assert "is not replayed" not in words.proof(replace(evidence(1), plan=on_chips, proven=True))[1]


def test_a_promise_is_drawn_across_its_series():
    times = (0.0, 10.0, 20.0)
    drawn = (report.Series("ttft", "chat", times, (0.2, 0.3, 0.4), 1.0), report.Series("batch", "gb200", times, (1.0, 2.0, 3.0)))
    made = charts(replace(evidence(1), series=drawn))
    assert json.dumps(made["series-ttft"].spec).count('"promise": 1.0') == 1
    assert "promise" not in json.dumps(made["series-batch"].spec)


def test_a_bare_plan_makes_a_report_without_guesses(tmp_path):
    bare = report.Evidence(plan=plan(1), title="bare")
    paths = report.write(bare, tmp_path)
    html = paths["report.html"].read_text()
    assert "Not replayed" in html and "Margin by application" not in html
    for name in ("promises", "energy", "what_ifs", "margins"):
        assert name not in json.loads(paths["report.json"].read_text())["tables"]


def test_an_empty_plan_still_reads(tmp_path):
    empty = replace(
        plan(1), holdings=(), placements=(), contracts=(), bill_usd=0.0, energy_usd=0.0, port_usd=0.0, shadow_prices=()
    )
    paths = report.write(report.Evidence(plan=empty, title="nothing"), tmp_path)
    assert "Hold nothing" in paths["report.html"].read_text()


def test_missing_prices_leave_margin_unknown():
    ev = evidence(1)
    free = replace(ev, workloads=(replace(ev.workloads[0], usd_per_mtok_in=None), *ev.workloads[1:]))
    row = figures.margins(free).records()[0]
    assert row["revenue_usd"] is None and row["margin_frac"] is None
    assert figures.margin_steps(free) == ()
    assert words.cell(None, "usd") == "–"


def rows_of(spec):
    """The data sets of a specification, inline or named."""
    return list(spec.get("datasets", {}).values()) or [spec["data"]["values"]]


def test_burn_down_is_cumulative():
    ev = evidence(8)
    spec = charts(ev)["burn-down-azure-30b"].spec
    drawn = [v["usd"] for v in rows_of(spec)[0] if v["line"] == "drawn"]
    assert drawn[0] == 0 and drawn == sorted(drawn)
    assert drawn[-1] == pytest.approx(sum(b.drawdown_usd for b in ev.plan.contracts if b.contract == "azure-30b"))


def test_waterfall_chart_ends_where_it_should():
    ev = evidence(8)
    for name, total in (("cost", figures.total_usd(ev.plan)), ("margin", figures.margin_steps(ev)[-1].usd)):
        spec = charts(ev)[name].spec
        values = rows_of(spec)[0]
        assert values[-1]["end"] == pytest.approx(total)
        assert values[-2]["end"] == pytest.approx(total, rel=1e-9)


def test_unwritable_folder_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        report.write(report.Evidence(plan=plan(1), title="x"), tmp_path / "file")


def test_unknown_chart_names_the_known(hostile):
    with pytest.raises(InputError) as caught:
        page.embed(hostile, "spent")
    assert 'did you mean "spend"' in str(caught.value)
