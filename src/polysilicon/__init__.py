"""polysilicon: compute portfolios for LLM inference, across many silicons."""

__version__ = "0.1.0"
