"""W07: custom silicon's share of tokens and dollars, exported for Prometheus."""

from audited import planner_world, run
from pytest import approx

from polysilicon import planner
from polysilicon.economics.kpi import of_plan, prometheus
from polysilicon.report import contents
from polysilicon.report.evidence import Evidence


def plan():
    w = planner_world()
    chat = w.work(rps=100.0)
    offers = [w.offer("gb200", 5.0, max_chips=20.0), w.offer("maia200", 4.0)]
    return planner.plan(w.world([chat], offers), w.table([chat]), gap_frac=1e-6)


def test_shares():
    figures = of_plan(plan(), {"gb200": "Nvidia", "maia200": "Microsoft"})
    assert figures["custom_silicon_tokens_frac"] == approx(0.4)  # 60 requests/s on 20 GB200, 40 on Maia
    assert figures["custom_silicon_usd_frac"] == approx(80 / 180)
    assert "polysilicon_custom_silicon_usd_frac 0.44" in prometheus(figures)


def test_exported_from_a_plan_file(tmp_path):
    made = plan()
    text = made.to_json().replace(b'"chip": "maia200"', b'"chip": "maia-200"')
    (tmp_path / "plan.json").write_bytes(text)
    run("watch", "--plan", "plan.json", "--prometheus", "out.prom", cwd=tmp_path)
    assert "# TYPE polysilicon_custom_silicon_tokens_frac gauge" in (tmp_path / "out.prom").read_text()


def test_the_report_says_it():
    vendors = {"gb200": "Nvidia", "maia200": "Microsoft"}
    note = contents.tables(Evidence(plan=plan(), title="t", vendors=vendors))["concentration"].note
    assert "serve 40.0% of tokens, for 44.4% of dollars" in note
    assert "serve" not in contents.tables(Evidence(plan=plan(), title="t"))["concentration"].note  # vendors not known: no share
