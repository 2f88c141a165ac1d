"""What surrounds `convai.evaluation.evaluate`: its report, and conversations of a model with itself."""
