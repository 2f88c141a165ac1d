"""Sentences about somebody, or to somebody, in their own words: "Ann is a baker" → "i am a baker."

Models that were trained on personas alone know a character by what it says of itself. Rules on words, no
parser: a sentence that they do not understand stays as it is.
"""

from __future__ import annotations

import re
from typing import Final

USER_MARK: Final = "\ue000"
"""Stands for the user in a text that is about somebody: neither I nor you (`macros.addressed`)."""
_IRREGULAR: Final = {
    "is": "am",
    "has": "have",
    "does": "do",
    "goes": "go",
    "isn't": "am not",
    "hasn't": "haven't",
    "doesn't": "don't",
    "are": "am",
    "aren't": "am not",
    "were": "was",
    "weren't": "wasn't",
}
_KEPT: Final = frozenset(
    "was had did will would can could may might must should never always often usually really also still "
    "sometimes only just once wasn't hadn't didn't won't wouldn't can't couldn't".split()
)
_ADVERBS: Final = frozenset(
    "never always often usually really also still sometimes only just once secretly deeply truly".split()
)
_FEMALE: Final = {"she": "i", "her": "my", "hers": "mine", "herself": "myself"}
_MALE: Final = {"he": "i", "his": "my", "him": "me", "himself": "myself"}
_NEUTRAL: Final = {"they": "i", "their": "my", "theirs": "mine", "them": "me", "themselves": "myself"}
_SECOND: Final = {"you": "i", "your": "my", "yours": "mine", "yourself": "myself"}
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", re.U)
_NOUN_AFTER: Final = re.compile(r"\s+[^\W\d_]")
_OWN: Final = re.compile(r"\b(?:I|i|I'm|i'm|I’m|i’m|my|My)\b")
_BEING: Final = re.compile(r"(?:a|an|the|not|very|so|always|never)\b|\w+ing\b")
_OF_NAME: Final = re.compile(
    r"\s+(?:personality|appearance|body|age|height|weight|hair|eyes|skin|voice|name|hobby|hobbies|gender|job)"
    r"\s+(?:is|are|was|were)\b",
    re.I,
)
"""Where `Ann personality is` has lost its `'s`."""
_ATTRIBUTES: Final = frozenset(
    "personality appearance body age height weight hair eyes skin voice name hobby hobbies gender job mind "
    "likes loves hates dislikes traits clothes clothing outfit occupation species race backstory background "
    "persona description character relationship relationships history fears skills family sexuality".split()
)
"""What may stand behind a name without being a part of it."""
_LIKING: Final = frozenset("likes loves hates dislikes enjoys wears wants fears owns speaks has".split())
_LETTING: Final = re.compile(r"\b(?:let|help|watch|see|saw|hear|heard|ma[dk]e)(?:s|ting|ing)?\s+$", re.I)
"""Before `her` and what she does."""
_ADJECTIVES: Final = re.compile(r"[a-z][a-z-]*(?:,|$)")
_DOES: Final = re.compile(
    rf"([a-z]{{2,}}[^\Ws]s)\s+(?:(?:a|an|the|to|with|you|your|her|his|people|everyone|others)\b|{USER_MARK})"
)
_AND_VERB: Final = re.compile(
    r"(\b(?:i|i am|i have)\b[^.!?;:]{0,200}?\band\s+(?:[a-z]+ly\s+)?)"
    r"(is|has|does|isn't|doesn't|hasn't|goes|[a-z]{2,}[^\Wsu]s(?=\s+(?:a|an|the|her|his|their|my|you|me|like)\b))\b"
)
"""What somebody does besides: "i talk and acts like a pirate"."""
_NEAR: Final = 200
"""Characters before a word that are looked at."""
_ENDS_OBJECT: Final = frozenset(
    "and or but when while if because for to in on at with from by as so that".split()
)


def first_person(sentences: list[str], name: str) -> list[str]:
    """The sentences of a description of `name`, in the first person.

    Which pronoun is theirs, the text says: he, she or they, whichever stands more often.
    """
    text = " ".join(sentences).lower()
    counts = {
        "she": len(re.findall(r"\b(?:she|her|hers|herself)\b", text)),
        "he": len(re.findall(r"\b(?:he|his|him|himself)\b", text)),
        "they": len(re.findall(r"\b(?:they|their|theirs)\b", text)) - 1,
        "you": len(re.findall(r"\b(?:you are|you're|you have|your|you)\b", text)),
    }
    own = len(re.findall(r"\b(?:i|i'm|my|me)\b", text))
    most = max(counts, key=lambda pronoun: counts[pronoun])
    whole = full_name(sentences, name)
    if whole != name:
        start = re.compile(rf"\b{re.escape(whole)}\b")
        alone = f"i am {whole}."
        sentences = [alone if s.rstrip(".") == whole else start.sub(name, s) for s in sentences]
    if own >= max(counts[most], 1) and not (name and _about(sentences, name)):
        return list(sentences)  # it is in their own words already
    pronouns: dict[str, str] = {}
    if counts[most] > 0:
        pronouns = {"she": _FEMALE, "he": _MALE, "they": _NEUTRAL, "you": _SECOND}[most]
    return [_sentence(sentence, name, pronouns) for sentence in sentences]


def full_name(sentences: list[str], name: str) -> str:
    """The name with the last name that a description gives it: "Tess Hollow is a smith." of Tess."""
    if not name or " " in name:
        return name
    last = re.compile(
        rf"{re.escape(name)}"
        r"((?: (?:van|von|de|der|la|le|di|al|bin)){0,2} [A-Z][^\W\d_]+(?:[-'’][^\W\d_]+)?)"
        r"(?=\s*(?:$|[.,;:=(\"]|(?:is|was|has|had|works|lives|likes|loves|keeps|grew|and)\b))"
    )
    for sentence in sentences:
        found = last.match(sentence)
        if found and found[1].split()[-1].lower() not in _ATTRIBUTES:
            return name + found[1]
    return name


def _about(sentences: list[str], name: str) -> bool:
    start = re.compile(rf"(?:{re.escape(name)})(?:'s|’s|\s+(?:is|was|has|[a-z]+s))\b", re.I)
    return any(start.match(sentence) for sentence in sentences)


def _sentence(sentence: str, name: str, pronouns: dict[str, str]) -> str:
    if _OWN.search(sentence):
        return sentence
    called = "|".join(re.escape(part) for part in _parts(name))
    if called and (listed := re.match(rf"(?:{called})(?:['’]s)?\s*[=:]\s*", sentence, re.I)):
        return _listed(sentence[listed.end() :])
    if called and (
        label := re.match(rf"(?:{called})(?:['’]s)?\s+([A-Za-z ]{{1,30}})[=:]\s*", sentence, re.I)
    ):
        told = _sentence(sentence[label.end() :], name, pronouns)
        kind = label[1].strip().lower()
        if kind in _LIKING:
            return f"i {plain_form(kind)} {sentence[label.end() :]}"
        if kind in ("persona", "description", "character"):
            return f"i am {told}" if _ADJECTIVES.match(told) else told
        return f"my {kind}: {told}"
    if label := re.match(r"(?:character|(?:full )?name)\s*[:=]\s*", sentence, re.I):
        return f"i am {sentence[label.end() :]}"
    if re.match(r"you(?:'re|’re|r)?\s", sentence, re.I):  # said to the character, for the user is marked
        pronouns = pronouns | _SECOND
    names = {part.lower() for part in _parts(name)}
    any_case = name.islower() or sentence.islower()  # else a hazel eye is not Hazel's
    out: list[str] = []
    place, verb_next = 0, False
    text = _named(sentence, name)
    for match in _WORD.finditer(text):
        out.append(text[place : match.start()])
        place = match.end()
        word = match[0]
        lower = word.lower().replace("’", "'")
        bare = lower.removesuffix("'s")
        is_name = bare in names and (any_case or word[0].isupper())
        if verb_next:
            verb_next = lower in _ADVERBS
            out.append(_verb(lower, word))
            continue
        if is_name and out[-2:-1] and out[-2] in ("am", "i am", "was"):
            out.append(word)  # `you are Ann`
        elif is_name or (bare != lower and bare in pronouns and pronouns[bare] == "i"):
            if lower.endswith("'s"):
                follows = text[match.end() :].lstrip().lower()
                is_verb = bare in pronouns or _BEING.match(follows)
                out.append("i am" if is_verb else "my")
            elif _OF_NAME.match(text[match.end() :]):
                out.append("my")
            elif _subject(text, match.start(), match.end()):
                out.append("i")
                verb_next = True
            else:
                out.append("me")
        elif lower in ("you're", "they're") and lower[:-3] in pronouns:
            out.append("i am")
        elif lower in ("you've", "they've") and lower[:-3] in pronouns:
            out.append("i have")
        elif lower in pronouns:
            new = pronouns[lower]
            ahead = text[max(match.start() - _NEAR, 0) : match.start()]
            if lower == "her" and (_LETTING.search(ahead) or not _has_noun(text, match.end())):
                new = "me"
            if lower == "you" and not _subject(text, match.start(), match.end()):
                new = "me"
            out.append(new)
            verb_next = new == "i"
        else:
            out.append(word)
    told = "".join([*out, text[place:]])
    return _AND_VERB.sub(lambda found: found[1] + _verb(found[2].lower(), found[2]), told)


def _listed(rest: str) -> str:
    """What stands behind `Ann =`: what she is, or what she does."""
    verb = _DOES.match(rest)
    return f"i {plain_form(verb[1])}{rest[verb.end(1) :]}" if verb else f"i am {rest}"


def _parts(name: str) -> list[str]:
    """A name whole, and its first word ("Vex" of "🦊 Vex the Cartographer")."""
    name = name.strip()
    words = [word.strip(",;") for word in name.split()]
    return [name, next((word for word in words if any(map(str.isalnum, word))), words[0])] if name else []


def _named(sentence: str, name: str) -> str:
    """The sentence with a full name as one word, its first."""
    for whole in (name, " ".join(word for word in name.split() if any(map(str.isalnum, word)))):
        if len(whole.split()) > 1:
            sentence = re.sub(re.escape(whole), _parts(name)[1], sentence, flags=re.I)
    return sentence


def _verb(lower: str, word: str) -> str:
    if lower in _IRREGULAR:
        return _IRREGULAR[lower]
    return word if lower in _KEPT or lower in _ADVERBS else plain_form(word)


def plain_form(word: str) -> str:
    """A regular verb without the ending of the third person: "tries" → "try"."""
    lower = word.lower()
    if not lower.endswith("s") or lower.endswith("ss"):
        return word
    if lower.endswith("ies") and len(lower) > 4:
        return word[:-3] + "y"
    if lower.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1]


def _subject(text: str, start: int, end: int) -> bool:
    """Whether what stands there is a subject: at a beginning, or with a verb behind it."""
    ahead = text[max(start - _NEAR, 0) : start].rstrip()  # not all of a long text for each word
    before = ahead.rpartition(" ")[2].lower().strip(",;:")
    follows = _WORD.match(text[end:].lstrip())
    if follows is None:
        return False
    if not ahead or ahead[-1] in ".!?,;:":
        return True
    if before in _ENDS_OBJECT - {"and", "or", "but", "when", "while", "if", "because", "as", "so", "that"}:
        return False
    word = follows[0].lower()
    return (
        word in _IRREGULAR
        or word in _KEPT
        or before in ("and", "but", "when", "while", "if", "because", "that")
    )


def _has_noun(text: str, end: int) -> bool:
    """Whether `her` has something that it belongs to, behind it."""
    match = _NOUN_AFTER.match(text[end:])
    if match is None:
        return False
    follows = _WORD.match(text[end:].lstrip())
    return follows is not None and follows[0].lower() not in _ENDS_OBJECT
