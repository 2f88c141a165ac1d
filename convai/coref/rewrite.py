"""Pronouns replaced by what they stand for: "his" becomes "John's", "She" becomes "My sister".

A step of its own after resolving. Only pronouns of the third person are replaced: "I" and "you" say who
speaks, and "himself" would read worse than it is. A replacement keeps the case of the place: possessive where
the pronoun is, with a capital where a sentence begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from convai.coref.document import Cluster, Document, Span
from convai.coref.lexicon import PRONOUNS, REFLEXIVES, Kind
from convai.coref.mentions import NOUN_TAGS

_REPLACED: Final = (Kind.HE, Kind.SHE, Kind.IT, Kind.THEY)
_POSSESSIVE: Final = frozenset(("his", "its", "their", "hers", "theirs"))
"""Possessive whatever their tag; "her" is where its tag says so."""
_ENDINGS: Final = ("'s", "’s", "'", "’")
_OF_THE_OTHER: Final = {"my": "your", "our": "your", "your": "my", "mine": "yours", "me": "you", "us": "you"}
"""What one speaker says where the other says this: "my sister" of one is "your sister" of the other."""
_ARTICLES: Final = {"a": "the", "an": "the", "A": "the", "An": "the"}


@dataclass(frozen=True, slots=True)
class Replacement:
    """The words of `span` are to read `text`."""

    span: Span
    text: str


def main_mention(document: Document, cluster: Cluster) -> Span:
    """The mention that says best what the cluster is: a name before a noun before a pronoun; the first.

    Raises ValueError for a cluster without mentions.
    """
    if not cluster:
        raise ValueError("a cluster without mentions has no main one")
    return min(cluster, key=lambda span: (-_rank(document, span), span))


def replacements(document: Document, clusters: Sequence[Cluster]) -> list[Replacement]:
    """What to write for the pronouns of the clusters, in the order of the text; no two overlap.

    A cluster of pronouns alone changes nothing. Needs tags; without them "her" is taken as an object.
    """
    found = []
    for cluster in clusters:
        main = main_mention(document, cluster)
        if _rank(document, main) == 0:
            continue
        for span in cluster:
            text = _replacement(document, span, main)
            if text is not None:
                found.append(Replacement(span, text))
    return sorted(found, key=lambda r: r.span)


def rewritten(
    texts: Sequence[str], places: Sequence[tuple[int, int, int]], changes: Sequence[Replacement]
) -> list[str]:
    """`texts` (turns) with the replacements; `places`: of each word its text, start and end in it."""
    out = list(texts)
    for change in sorted(changes, key=lambda r: r.span, reverse=True):
        text, start, _ = places[change.span[0]]
        end = places[change.span[1] - 1][2]
        out[text] = out[text][:start] + change.text + out[text][end:]
    return out


def _rank(document: Document, span: Span) -> int:
    """2 for a name, 1 for another noun phrase, 0 for a pronoun."""
    sentence = document.sentences[document.sentence_of(span[0])]
    first = document.starts()[document.sentence_of(span[0])]
    start, end = span[0] - first, span[1] - first
    if end - start == 1 and sentence.words[start].lower() in PRONOUNS:
        return 0
    tags = sentence.tags[start:end]
    if not tags:
        return 1
    if tags[-1] in ("NNP", "NNPS") or (tags[-1] == "POS" and tags[-2:-1] in (["NNP"], ["NNPS"])):
        return 2
    return 1 if any(tag in NOUN_TAGS for tag in tags) or end - start > 1 else 0


def _replacement(document: Document, span: Span, main: Span) -> str | None:
    """What stands for the pronoun `span`; None where it stays."""
    if span[1] - span[0] != 1 or main[0] <= span[0] < main[1]:
        return None
    number = document.sentence_of(span[0])
    sentence = document.sentences[number]
    i = span[0] - document.starts()[number]
    word = sentence.words[i]
    lower = word.lower()
    if lower in REFLEXIVES or PRONOUNS.get(lower, (None,))[0] not in _REPLACED:
        return None
    tag = sentence.tags[i] if sentence.tags else ""
    text = _text(document, main, sentence.speaker)
    if lower in _POSSESSIVE or (lower == "her" and tag == "PRP$"):
        text += "'" if text.endswith("s") and _is_plural(document, main) else "'s"
    return text[:1].upper() + text[1:] if _begins(sentence.words, i) else text


def _text(document: Document, main: Span, speaker: str | None) -> str:
    """The words of the main mention as `speaker` says them within a sentence, without a possessive ending."""
    number = document.sentence_of(main[0])
    sentence = document.sentences[number]
    first = document.starts()[number]
    words = sentence.words[main[0] - first : main[1] - first]
    tags = sentence.tags[main[0] - first : main[1] - first]
    if len(words) > 1 and words[-1] in _ENDINGS:
        words, tags = words[:-1], tags[:-1]
    if speaker and sentence.speaker and speaker != sentence.speaker:
        words = [_OF_THE_OTHER.get(word.lower(), word) for word in words]
    head = words[0]
    if head in _ARTICLES and len(words) > 1:
        head = _ARTICLES[head]
    elif (
        _begins(sentence.words, main[0] - first)
        and head != "I"
        and (tags[:1] or [""])[0] not in ("NNP", "NNPS")
    ):
        head = head[:1].lower() + head[1:]
    return _joined([head, *words[1:]])


def _joined(words: list[str]) -> str:
    """Words with blanks between, none before an ending or a comma."""
    text = ""
    for word in words:
        tight = not text or word in _ENDINGS or word in ",.;:!?)-" or text.endswith(("(", "-"))
        text += word if tight else " " + word
    return text


def _begins(words: list[str], i: int) -> bool:
    """Whether word `i` is the sentence's first, marks left out."""
    return not any(c.isalnum() for word in words[:i] for c in word)


def _is_plural(document: Document, main: Span) -> bool:
    number = document.sentence_of(main[0])
    sentence = document.sentences[number]
    first = document.starts()[number]
    tags = [tag for tag in sentence.tags[main[0] - first : main[1] - first] if tag in NOUN_TAGS]
    return bool(tags) and tags[-1] in ("NNS", "NNPS")
