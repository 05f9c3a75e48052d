"""The `dynaloss` command."""
