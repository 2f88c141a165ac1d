"""Who is meant: a sentence of mine turned into one about you or her, a question to you into one about me.

Rules on words, for short sentences whose form is known: they are right for the forms in data/compose, and
are no grammar of English.
"""

from __future__ import annotations

import re
from typing import Final

_TO_YOU: Final = {
    "i": "you",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "i'm": "you're",
    "i've": "you've",
    "i'd": "you'd",
    "i'll": "you'll",
    "we": "you",
    "us": "you",
    "our": "your",
}
_TO_ME: Final = {
    "your": "my",
    "yours": "mine",
    "yourself": "myself",
    "you're": "I'm",
    "you've": "I've",
    "you'd": "I'd",
    "you'll": "I'll",
}
_BEFORE_ME: Final = frozenset(
    "about with to from for at make makes keep keeps give gives scare scares get gets annoys drives".split()
)
_NOT_INFLECTED: Final = frozenset(
    """was were had did can could will would must should may might can't couldn't won't wouldn't used won
    broke met spent got drove grew found taught ran slept ate wrote gave lost left saw made took went came
    fell told read kept bought thought knew began sang swam flew""".split()
)
_ADVERBS: Final = frozenset(
    "always never really often once still also just even usually sometimes only".split()
)
_WORD: Final = re.compile(r"[A-Za-z']+|[^A-Za-z']+")


def to_you(text: str) -> str:
    """A sentence in the first person, said of the listener.

    >>> to_you("I'm a baker and my cat bit me")
    "you're a baker and your cat bit you"
    """
    text = re.sub(r"\bI am\b", "you are", text)
    text = re.sub(r"\bI was\b", "you were", text)
    text = re.sub(r"\b(and|but) was\b", r"\1 were", text) if "you were" in text else text
    return "".join(_TO_YOU.get(word.lower(), word) for word in _WORD.findall(text))


def to_me(text: str) -> str:
    """A question to the listener, asked about the speaker.

    >>> to_me("What's your name, and where do you live?")
    "What's my name, and where do I live?"
    >>> to_me("What scares you?")
    'What scares me?'
    """
    for one, other in (
        (r"\bAre you\b", "Am I"),
        (r"\bare you\b", "am I"),
        (r"\baren't you\b", "aren't I"),
        (r"\byou are\b", "I am"),
        (r"\bWere you\b", "Was I"),
        (r"\bwere you\b", "was I"),
        (r"\byou were\b", "I was"),
    ):
        text = re.sub(one, other, text)
    words = _WORD.findall(text)
    said = []
    before = ""
    for i, word in enumerate(words):
        low = word.lower()
        if low == "you":
            said.append("me" if before in _BEFORE_ME else "I")
        elif low in _TO_ME:
            new = _TO_ME[low]
            said.append(new.capitalize() if i == 0 and word[0].isupper() else new)
        else:
            said.append(word)
        if word[0].isalpha():
            before = low
    return "".join(said)


def third_form(verb: str) -> str:
    """A verb's form after "she".

    >>> [third_form(v) for v in ("have", "carry", "watch", "play", "don't")]
    ['has', 'carries', 'watches', 'plays', "doesn't"]
    """
    irregular = {
        "have": "has",
        "do": "does",
        "don't": "doesn't",
        "am": "is",
        "go": "goes",
        "haven't": "hasn't",
    }
    if verb in irregular:
        return irregular[verb]
    if verb in _NOT_INFLECTED or (verb.endswith("ed") and verb not in ("need", "feed")):
        return verb
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ies"
    return verb + ("es" if re.search(r"(s|sh|ch|x|z)$", verb) else "s")


def to_third(text: str, woman: bool) -> str:
    """A sentence in the first person, said of a third person.

    >>> to_third("I never leave my house and I'm a baker", woman=True)
    "she never leaves her house and she is a baker"
    """
    she, her, his, self = ("she", "her", "her", "herself") if woman else ("he", "him", "his", "himself")
    table = {"me": her, "my": his, "mine": "hers" if woman else "his", "myself": self}
    table |= {"i'm": f"{she} is", "i've": f"{she} has", "i'd": f"{she}'d", "i'll": f"{she}'ll"}
    said: list[str] = []
    wants_verb = False
    for word in _WORD.findall(text):
        low = word.lower()
        if low == "i":
            said.append(she)
            wants_verb = True
        elif low in table:
            said.append(table[low])
            wants_verb = False
        elif wants_verb and word[0].isalpha() and low not in _ADVERBS:
            said.append(third_form(word))
            wants_verb = False
        else:
            said.append(word)
    return "".join(said)
