"""How a study runs: assembly, Ray, resume, progress."""
