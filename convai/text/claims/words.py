"""Words as the rules on claims see them: plain forms, numbers, words without content, general words, jobs."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from convai.core import resources

Words = frozenset[str]

_EXPANDED: Final = {
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "i'm": "i am",
    "im": "i am",
    "i've": "i have",
    "i'd": "i would",
    "you're": "you are",
    "it's": "it is",
    "we're": "we are",
    "we've": "we have",
    "they're": "they are",
    "i'll": "i will",
    "we'll": "we will",
    "he's": "he is",
    "she's": "she is",
    "what's": "what is",
    "favourite": "favorite",
    "colour": "color",
    "mom": "mother",
    "mum": "mother",
    "dad": "father",
    "anymore": "any more",
    "dont": "do not",
    "cant": "can not",
}
NUMBERS: Final = dict(
    zip(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split(),
        map(str, range(1, 21)),
        strict=True,
    )
) | dict(
    zip("thirty forty fifty sixty seventy eighty ninety".split(), map(str, range(30, 100, 10)), strict=True)
)
_LEMMAS: Final = {
    form: lemma
    for lemma, forms in {
        "go": "went going goes gone",
        "have": "had has having",
        "be": "been was were am is are being",
        "eat": "ate eating eats eaten",
        "grow": "grew growing grown",
        "run": "ran running runs",
        "drink": "drank drinking drinks",
        "drive": "drove driving drives",
        "write": "wrote writing",
        "sing": "sang singing",
        "swim": "swam swimming",
        "teach": "taught teaching teaches",
        "read": "reading",
        "believe": "believing",
        "buy": "bought buying buys",
        "see": "saw seen seeing sees",
        "meet": "met meeting meets",
        "take": "took taken taking takes",
        "lose": "lost losing loses",
        "find": "found finding finds",
        "give": "gave given giving gives",
        "keep": "kept keeping keeps",
        "sleep": "slept sleeping sleeps",
        "wear": "wore worn wearing wears",
        "build": "built building builds",
        "sell": "sold selling sells",
        "break": "broke broken breaking breaks",
        "speak": "spoke spoken speaking speaks",
        "win": "won winning wins",
        "pay": "paid paying pays",
        "bring": "brought bringing brings",
        "fly": "flew flown flying flies",
        "make": "made making makes",
        "movie": "movies",
        "child": "children kids kid",
        "wife": "wives",
        "live": "living lived lives",
        "smoke": "smoking smokes smoked",
        "ride": "riding rides rode",
        "dance": "dancing danced",
        "bake": "baking bakes baked",
        "like": "love loves liked likes loved enjoy enjoys adore loving liking enjoyed",
        "hate": "dislike hates hated dislikes",
        "woman": "women lady girl",
        "man": "men guy boy",
        "scary": "horror",
        "grandmother": "grandma granny nan",
    }.items()
    for form in forms.split()
}
EMPTY: Final = frozenset(
    """a an the my your his her their our this that these those some any of to in on at for with and or but
    very really so too also just now right only lot lots much many bit quite pretty all every day
    time always usually often sometimes never not no yes i you he she it we they me him them is am
    are was were be been do does did have has had will would can could as if then there here well
    actually currently still before yet ever again got get own big small little old new nice great good
    favorite called named""".split()
)
KINDS: Final = {
    "pet": "dog cat snake bird parrot rabbit hamster fish turtle tortoise puppy kitten animal ferret goat",
    "animal": "dog cat snake bird parrot rabbit hamster fish turtle tortoise puppy kitten pet ferret goat",
    "child": "son daughter child twins toddler baby",
    "sibling": "brother sister sibling twin",
    "car": "car truck van jeep suv vehicle",
    "instrument": (
        "guitar piano violin viola drum cello flute banjo instrument harp trumpet bassoon oboe clarinet tuba "
        "trombone saxophone accordion organ harmonica mandolin ukulele keyboard sitar lute zither fiddle"
    ),
    "alcohol": "beer wine whisky whiskey vodka cocktail rum gin booze",
}
"""What a general word stands for: nobody without pets has a dog."""
COUNTED: Final = re.compile(
    r"\b(no|any|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\d+) "
    r"((?:(?!and\b|or\b)[a-z]+ ){0,2}?)([a-z]+)\b"
)
FAMILY: Final = (
    "mother|father|brother|sister|wife|husband|son|daughter|girlfriend|boyfriend|grandmother|grandfather|"
    "best friend|uncle|aunt|cousin|nephew|niece|boss|neighbour|neighbor|roommate"
)
HOUSING: Final = frozenset(
    "house flat apartment home city town village country countryside suburb place farm state area".split()
)
SUBJECTS: Final = frozenset(
    """math mathematic history english science art music chemistry biology physic law medicine nursing
    economic psychology philosophy french spanish german geography literature engineering business""".split()
)
_JOBS: Final = frozenset(
    """nurse teacher doctor dentist lawyer engineer driver chef cook artist painter writer farmer police
    officer cop soldier pilot singer model mechanic accountant manager cashier waiter waitress
    programmer developer scientist professor secretary salesman fireman firefighter carpenter
    plumber electrician librarian vet veterinarian banker hairdresser barber baker butcher actor
    actress musician photographer journalist therapist psychologist construction clerk janitor maid
    nanny babysitter coach trainer""".split()
)


_CUT_OFF: Final = re.compile(r"[^aeiou]*[aeiou][bcdfgklmnprstvz]|[a-z]*(?:[bcdfgkptz]l|.c|v|[aeiou]z)")
"""Stems that have lost an "e" before their ending: "hik", "juggl"; others double their last letter."""


def normal(text: str) -> str:
    """Small letters, straight apostrophes, no contractions, single blanks."""
    text = text.lower().replace("\u2019", "'")
    text = re.sub(r"[a-z']+", lambda m: _EXPANDED.get(m[0], m[0]), text)
    text = re.sub(r"n't\b", " not", text)
    text = re.sub(r"\b(the united states( of america)?|united states|the usa?|usa|america)\b", "usa", text)
    return re.sub(r"\s+", " ", text).strip()


def lemma(word: str) -> str:
    """A word's plain form, as far as rules give it."""
    if word in _LEMMAS:
        return _LEMMAS[word]
    if word in NUMBERS:
        return NUMBERS[word]
    for ending, least in (("ing", 6), ("ies", 5), ("ed", 5), ("es", 6), ("s", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            stem = word[: -len(ending)] + ("y" if ending == "ies" else "")
            if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "lsoe":
                stem = stem[:-1]
            elif ending in ("ing", "ed") and _CUT_OFF.fullmatch(stem):
                stem += "e"
            stem = _LEMMAS.get(stem, stem)
            return stem if ending != "es" or word.endswith(("shes", "ches", "xes", "sses")) else word[:-1]
    return word


def content(text: str) -> Words:
    """The lemmas of a text's content words."""
    return frozenset(lemma(word) for word in re.findall(r"[a-z0-9]+", text) if word not in EMPTY)


@cache
def job_words() -> Words:
    """The last words of the jobs that the lists name."""
    path = resources.data_dir() / "compose" / "lists" / "jobs.txt"
    return _JOBS | {job.split()[-1].lower() for job in path.read_text(encoding="utf-8").splitlines() if job}
