"""Long tail and label noise."""
