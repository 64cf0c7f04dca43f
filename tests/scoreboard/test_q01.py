"""How much pricing power do suppliers hold? Leave-one-out value and movable share, for a given portfolio, by one command."""

import json
import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("polysilicon"))


def test_q01(tmp_path):
    from polysilicon.scenario import embedded_text

    file = tmp_path / "s.yaml"
    file.write_text(embedded_text("minimal"))
    run = subprocess.run([COMMAND, "negotiate", str(file), "--json"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    used = [s for s in found["suppliers"] if s["token_share_frac"] > 0]
    assert used and all(s["value_usd"] >= 0 and set(s["movable_frac"]) == {"1 hour", "30 days", "6 months"} for s in used)
    assert all(s["indifference_factor"] >= 1.0 for s in used) and "lock_in" in found


def test_the_answer_is_a_section_of_the_report_with_numbers_and_assumptions(tmp_path):
    """`plan --with negotiate`: leave-one-out value, movable share and assumptions on one page, and as data beside it."""
    from polysilicon.scenario import embedded_text

    (tmp_path / "s.yaml").write_text(embedded_text("minimal"))
    run = subprocess.run(
        [COMMAND, "plan", "s.yaml", "--no-proof", "--no-alternatives", "--with", "negotiate", "-q"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<h2 id="suppliers">' in page and '<h2 id="rests">' in page and "re-solves of one program" in page
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]["suppliers"]
    assert rows and all({"worth_usd", "movable_1h_frac", "movable_30d_frac", "movable_6mo_frac", "walk_away_factor"} <= set(r) for r in rows)
