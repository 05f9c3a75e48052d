"""Where trials run: Ray, or this process."""
