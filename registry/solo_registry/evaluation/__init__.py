"""Measuring a finished run: frozen features, kNN for lists, classifiers on the backbone."""
