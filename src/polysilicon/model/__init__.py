"""Layer 3, model: architectures, their work per step, layouts and ports. Knows FLOPs and bytes; knows no chip."""
