"""The losses, one module each: settings and computation; see `dynaloss.config.families.LOSSES`."""
