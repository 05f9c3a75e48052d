"""Data sources: what they hold, where their files are, and their digests."""
