"""Several hosts as one gateway: budgets leased from Valkey (or Redis), ledgers gathered in PostgreSQL. Extra `shared`."""
