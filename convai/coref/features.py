"""Mentions as arrays: what the model knows of each one alone. Pairs of them are the business of `pairs`.

Everything comes from the mention's own sentence, its speaker and its place in the document, never from what
follows: a document read turn by turn has the same arrays as one read whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.lexicon import Kind
from convai.coref.mentions import MentionShape

Ints = NDArray[np.int32]
Keys = NDArray[np.int64]

TAGS: Final = "NN NNS NNP NNPS PRP PRP$ DT CD JJ VB VBD VBG VBN VBP VBZ IN RB WP WDT EX UH FW MD".split()
DEPS: Final = (
    "nsubj nsubj:pass obj iobj obl nmod nmod:poss conj appos root vocative compound flat xcomp ccomp advcl "
    "acl:relcl acl parataxis obl:unmarked nmod:unmarked obl:agent dislocated list det advmod".split()
)
TAG_ID: Final = {tag: i + 1 for i, tag in enumerate(TAGS)}
DEP_ID: Final = {dep: i + 1 for i, dep in enumerate(DEPS)}
RENAMED: Final = {
    "dobj": "obj", "pobj": "obl", "dative": "iobj", "poss": "nmod:poss", "nsubjpass": "nsubj:pass",
    "relcl": "acl:relcl", "attr": "root", "ROOT": "root", "npadvmod": "obl:unmarked", "nn": "compound",
    "obl:npmod": "obl:unmarked", "obl:tmod": "obl:unmarked", "nmod:npmod": "nmod:unmarked",
    "nmod:tmod": "nmod:unmarked",
    "oprd": "xcomp",
}  # fmt: skip
"""Labels of spaCy's English pipelines and of older Universal Dependencies → ours."""
SUBJECTS: Final = (DEP_ID["nsubj"], DEP_ID["nsubj:pass"])
OBJECTS: Final = (DEP_ID["obj"], DEP_ID["iobj"])

WORDS: Final = 9
"""Word slots of a mention: head, first, last, two before, two after, its governor, the sentence's root."""
CATEGORIES: Final = {
    "kind": len(Kind), "shape": len(MentionShape), "head tag": len(TAGS) + 1, "head relation": len(DEPS) + 1,
    "governor tag": len(TAGS) + 1, "governor relation": len(DEPS) + 1, "gender": 4, "number": 3, "life": 5,
    "entity": 6, "length": 8, "place": 4, "quoted": 2, "inside": 3, "holds": 3, "reflexive": 3, "speaker": 2,
    "sentence": 6, "said before": 4, "ending": 9,
}  # fmt: skip
"""Categorical features of a mention and how many values each has."""
CONTENT: Final = 5
"""Most content words of a mention that are compared with those of another."""


@dataclass(slots=True)
class MentionTable:
    """Mentions in the order of the text, a row each; all arrays have `n` rows."""

    start: Ints
    """First token, counted from the document's beginning."""
    end: Ints
    head: Ints
    sentence: Ints
    turn: Ints
    """Counts changes of speaker."""
    speaker: Ints
    """Number of the speaker, 0 for nobody."""
    partner: Ints
    """Number of the other who spoke last, 0 for nobody."""
    speaker_keys: Keys
    """`[n, 3]`: the speaker's name whole, its first and its last word; 0 for nobody."""
    partner_keys: Keys
    """`[n, 3]`: those of the partner."""
    quote: Ints
    """Number of the quotation that the mention stands in, 0 outside."""
    kind: Ints
    gender: Ints
    number: Ints
    life: Ints
    entity: Ints
    relation: Ints
    reflexive: Ints
    """0 no, 1 reflexive, 2 possessive."""
    governor: Ints
    """The token that the head depends on; the head itself at the root."""
    clause: Ints
    """The verb, with a subject of its own, that the governor shares its subject with; else the governor."""
    other: Ints
    """The token of the subject that a pronoun is not, by grammar; -1 for none."""
    reach: Ints
    """The token behind all that is said of a pronoun that is a subject; -1 for others."""
    governor_key: Keys
    head_key: Keys
    lemma_key: Keys
    text_key: Keys
    """Words without the article; for "I" and "you" the speaker as well."""
    content: Ints
    """`[n, CONTENT]`: content words as numbers, 0 for none, the head first."""
    words: Ints
    """`[n, WORDS]`: rows of the word vectors."""
    span: Ints
    """`[n, 4]`: first and last token of the span and of the sentence, of those in `tokens`."""
    categories: Ints
    """`[n, len(CATEGORIES)]`."""

    def __len__(self) -> int:
        return len(self.start)

    def rows(self, begin: int, end: int | None = None) -> MentionTable:
        """The rows `[begin, end)`, not copied."""
        return MentionTable(*(getattr(self, f.name)[begin:end] for f in fields(self)))

    @staticmethod
    def joined(first: MentionTable, second: MentionTable) -> MentionTable:
        """The rows of both."""
        return MentionTable(
            *(np.concatenate((getattr(first, f.name), getattr(second, f.name))) for f in fields(first))
        )
