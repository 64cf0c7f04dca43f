"""D01: a committed spend draws down, falls short, and is exported under FOCUS names."""

import csv
import io
from decimal import Decimal

from audited import example, project, projected

from polysilicon.economics.deal import contract_of
from polysilicon.exchange import focus


def test_under_use_makes_a_shortfall_and_eligible_spend_draws_down():
    low = project(example(), {"demand_growth_frac": -0.3})
    bill = low.bills[0]
    assert sum(line.shortfall_usd for line in bill.lines) > 0
    assert abs(bill.total_usd - 30e9) < 1  # take-or-pay: the commitment is paid whole
    full = projected().bills[0]
    assert sum(line.drawdown_usd for line in full.lines) == 30e9 and not any(line.shortfall_usd for line in full.lines)


def test_focus_rows_sum_to_the_bill_and_commitments_come_back():
    low = project(example(), {"demand_growth_frac": -0.1})
    rows = list(csv.DictReader(io.StringIO(focus.csv_bytes(focus.deal_rows(example(), low)).decode())))
    assert sum(Decimal(row["BilledCost"]) for row in rows) * 10**9 == low.bills[0].billed_nano_usd  # exact, not nearly
    assert {"ChargePeriodStart", "CommitmentDiscountId", "CommitmentDiscountStatus", "BillingCurrency"} <= set(rows[0])


def test_contract_commitments_survive_the_journey(tmp_path):
    contract = contract_of(example().commitments[0].contract)
    (tmp_path / "c.csv").write_bytes(focus.csv_bytes(focus.commitment_rows([contract])))
    (back,) = focus.read_commitments(tmp_path / "c.csv")
    assert (back.commit_usd, back.draw_schedule, back.start, back.end, back.cloud) == (
        contract.commit_usd, contract.draw_schedule, contract.start, contract.end, contract.cloud)  # fmt: skip
