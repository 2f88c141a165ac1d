"""What a conversation is: turns, replies, sessions, and what reads along."""
