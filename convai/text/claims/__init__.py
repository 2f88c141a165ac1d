"""What people say of themselves, as claims that can be compared: rules on words, no model."""
