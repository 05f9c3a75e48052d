"""The outer level: metadata, ranks and hypergradients."""
