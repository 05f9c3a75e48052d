"""Ways to choose metadata, one module each; see `dynaloss.config.families.SAMPLERS`."""
