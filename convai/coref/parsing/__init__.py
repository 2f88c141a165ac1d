"""The parser that coreference stands on: a small spaCy pipeline, its training, its scores, its loading."""
