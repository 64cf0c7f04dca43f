"""Layer 2, cloud: offers, contracts and sites. Knows prices and power; knows no LLM."""
