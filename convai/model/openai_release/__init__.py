"""Other people's checkpoints: OpenAI's releases of GPT and GPT-2, into our format, without TensorFlow."""
