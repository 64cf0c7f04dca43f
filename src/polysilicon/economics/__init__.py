"""Economics: deals, cash flows, break-even and the claim audit."""
