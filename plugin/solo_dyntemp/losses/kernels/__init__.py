"""How the losses compute log-sums over pairs: `dense` (the reference, any temperature), `tiled`."""
