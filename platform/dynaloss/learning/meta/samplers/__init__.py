"""Ways to choose metadata, one module each, with computation and entry in the registry."""

from dynaloss.learning.meta.samplers._candidates import Candidates

__all__ = ["Candidates"]
