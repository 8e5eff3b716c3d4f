"""Similarity-dependent temperature (DySTreSS, arXiv 2308.01140) for InfoNCE losses."""
