"""One trial in one process: assembly, steps, checkpoints, memory and threads."""
