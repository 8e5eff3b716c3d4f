"""The pull-request kit: writes dynamic temperature into clones, as their maintainers ask."""
