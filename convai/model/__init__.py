"""Numbers: the shape of a model, its blocks and heads, and the files that carry its weights."""
