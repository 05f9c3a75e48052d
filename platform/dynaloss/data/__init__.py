"""What a trial is given: sources, long tail and label noise, splits by role, views."""
