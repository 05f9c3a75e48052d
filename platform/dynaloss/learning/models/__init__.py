"""Classifiers; see `dynaloss.config.families.MODELS` and `building`."""
