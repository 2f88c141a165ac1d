"""The parts of `convai.decoding`: processors of logits, n-gram bans, beam search."""
