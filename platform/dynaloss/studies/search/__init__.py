"""Searches: spaces, objectives, rungs and plans."""
