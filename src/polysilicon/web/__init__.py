"""Web: the same figures as pages."""
