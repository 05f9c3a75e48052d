"""Runs a search: suggestions, pruning, journal, outcome and confirmation."""
