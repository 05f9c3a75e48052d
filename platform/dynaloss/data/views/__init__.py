"""The weak and the strong view of images, made in batches."""
