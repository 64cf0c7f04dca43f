"""Layer 1, silicon: chips, links and the roofline. Knows seconds, watts and bytes; knows no LLM."""
