"""GGUF, llama.cpp's file format, in and out: one file that holds a model's shape, weights and tokenizer."""
