"""What `import dynaloss` offers: studies, searches and comparisons from Python."""
