"""Spelling and files of the tokenizer: what `convai.text.tokenizer` is made of."""
