"""What is said, settings, errors and files: the standard library alone."""
