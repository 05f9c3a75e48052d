"""The data sources, a file a family of layouts; the home of `SOURCES`."""
