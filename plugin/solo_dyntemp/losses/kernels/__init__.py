"""The implementations that compute log-sums over pairs.

`dense` is the reference and takes any temperature. `tiled`, and `triton` on a GPU, never hold the
matrix of similarities.
"""
