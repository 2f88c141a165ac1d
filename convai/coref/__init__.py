"""Coreference: which words of a text or a conversation mean the same person or thing."""
