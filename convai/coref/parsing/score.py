"""What a parser is worth on treebanks it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convai.coref.parsing.examples import example, texts
from convai.coref.parsing.treebank import Annotated

if TYPE_CHECKING:
    from spacy.language import Language

SPEED = "words_per_s"
_KEPT = {"tag": "tag_acc", "uas": "dep_uas", "las": "dep_las", "sents": "sents_f", "ner": "ents_f"}


def score_parser(nlp: Language, sentences: list[Annotated], *, gold_words: bool = True) -> dict[str, float]:
    """Accuracy of tags, attachment (uas, las: without punctuation), F1 of sentences and of entities.

    A share each, of the layers that `sentences` have. Texts are whole documents, so that the ends of
    sentences have to be found; `words_per_s` is how fast they were parsed. Without `gold_words` the
    pipeline's own tokenizer cuts the text, and a word that it cuts otherwise counts as wrong.
    """
    from spacy.training import Example

    examples = [example(nlp.vocab, text) for text in texts(sentences, len(sentences))]
    if not gold_words:
        examples = [Example(nlp.make_doc(one.reference.text), one.reference) for one in examples]
    scores = nlp.evaluate(examples)
    found = {name: round(float(scores[key]), 4) for name, key in _KEPT.items() if scores.get(key) is not None}
    return {**found, SPEED: round(float(scores["speed"]))}
