"""Pieces that several methods share, one kind a file."""
