"""Layer 4, application: traffic, promises and token prices."""
