"""What one trial computes: the loss, its hypergradient, the sampler, models and the trainer."""
