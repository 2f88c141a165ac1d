"""Dialogues made for the purpose: personas asked about, and what the partner told asked back."""
