"""Spelling and files of the tokenizer: what `convai.tokenizer` is made of."""
