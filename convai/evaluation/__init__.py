"""What surrounds `convai.evaluate`: its report, and conversations of a model with itself."""
