"""Gateway: routes live requests by the plan and live quotes."""
