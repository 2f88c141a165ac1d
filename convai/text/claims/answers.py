"""Answers that are no sentences: "a nurse" after "what do you do?" is "i am a nurse". Rules on words.

A question of the other's names the attribute, the answer its value. Only short answers are read, and only the
commonest questions; what says more than that is a statement of its own (`statements`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from convai.text.claims.words import NUMBERS, job_words, lemma, normal

LONGEST: Final = 12
"""Words of an answer."""
_CUT: Final = re.compile(
    r"[.!?;]\s|, (?:it|that|this|they|he|she|so|which|but|since|because)\b|,? (?:and|but) (?:you|i|what|"
    r"how|my)\b|,? (?:what|how) about|, (?:i|my|you)\b"
)
_YES: Final = re.compile(
    r"(?:yes|yeah|yep|yup|ya|sure|of course|definitely|absolutely|i do|i am|i have|i can)\b(?! not)[,!. ]*"
)
_NO: Final = re.compile(r"(?:no|nope|nah|not really|never|i do not|i am not|i have not|i can not)\b[,!. ]*")
_NAME: Final = re.compile(
    r"(?:it is |my name is |i am |just |call me |you can call me |the name is |this is "
    r")?([a-z][a-z'-]+)(?: here)?$"
)
_LEAD: Final = re.compile(
    r"(?:it is|that is|it's|that's|oh|well|um|just|probably|mostly|usually|always|in|at|to|from|they are|"
    r"he is|she is|his name is|her "
    r"name is"
    r"|her names|their names are|its name is|called|i would say|my|for|about|,)\s+"
)

Made = Callable[[re.Match[str], str], str]
_WH: Final[tuple[tuple[str, Made], ...]] = (
    (
        r"\bwhat(?:'s| is) your name|who (?:are you|am i (?:talking|speaking|chatting) (?:to|with))|what "
        r"(?:should|can|may|do|shall) i call you",
        lambda ask, value: (
            f"my name is {value}" if len(value.split()) <= 2 and not re.search(r"\d", value) else ""
        ),
    ),
    (
        r"what (?:do|did) you do(?: for (?:a living|work|money))?\W*$|what(?:'s| is) your (?:current "
        r")?(?:job|profession|occupation|work)"
        r"|what (?:kind|sort|type|line) of (?:work|job)",
        lambda ask, value: _job(value),
    ),
    (
        r"where (?:do you live|are you (?:living|based|located|at)|is (?:your )?home)|(?:what|which) "
        r"(?:city|town|state|country|place) (?:do|are) you (?:live|in|living)"
        r"|where(?:'s| is) home",
        lambda ask, value: f"i live in {value}" if len(value.split()) <= 5 else "",
    ),
    (
        r"where (?:are you (?:originally )?from|do you come from|were you born|did you grow up)",
        lambda ask, value: f"i am from {value}" if len(value.split()) <= 5 else "",
    ),
    (
        r"how old are you|(?:what's|what is) your age",
        lambda ask, value: f"i am {value.split()[0]}" if re.match(r"\d+|" + "|".join(NUMBERS), value) else "",
    ),
    (
        r"when(?:'s| is) your birthday",
        lambda ask, value: f"my birthday is {value if value[:3] in ('in ', 'on ') else 'on ' + value}",
    ),
    (
        r"what(?:'s| is) your favorite ((?:[a-z]+ ){0,2}?[a-z]+)\W*$|what (?:[a-z]+ )?(?:is|are) your "
        r"favorite ((?:[a-z]+ ){0,2}?[a-z]+)\W*$",
        lambda ask, value: f"my favorite {ask[1] or ask[2]} is {value}",
    ),
    (
        r"what(?:'s| is| are) (?:your|the) ([a-z]+)(?:'s|s')? names?\b|what (?:is|are) your ([a-z]+) "
        r"(?:called|named)",
        lambda ask, value: (
            f"my {ask[1] or ask[2]} {'are' if ' and ' in value else 'is'} called {value}"
            if len(value.split()) <= 5
            else ""
        ),
    ),
    (
        r"how many ((?:[a-z]+ )?[a-z]+?) do you (?:have|own)",
        lambda ask, value: (
            f"i have {value.split()[0]} {ask[1]}"
            if re.match(r"\d+|none|no|" + "|".join(NUMBERS), value)
            else ""
        ),
    ),
    (
        r"what (?:kinds?|sorts?|types?|breeds?) of ([a-z]+) do you (have|like|play|drive|read|listen to|"
        r"watch|cook|speak)",
        lambda ask, value: f"i {ask[2]} {value}",
    ),
    (
        r"(?:what|which) (instruments?|languages?|sports?|cars?|games?) do you (play|speak|drive|like)",
        lambda ask, value: f"i {ask[2]} {value}",
    ),
    (
        r"what are you (allergic to|afraid of|scared of|studying|majoring in)",
        lambda ask, value: f"i am {ask[1]} {value}",
    ),
    (
        r"what do you (?:like|love|enjoy)(?: doing| to do)|what are your hobbies|what do you do (?:for fun|"
        r"in your (?:free|spare) time)|do you have any hobbies",
        lambda ask, value: f"i like {value}" if re.match(r"[a-z]+ing\b|to ", value) else "",
    ),
    (r"what (?:do|did) you (study|teach|collect|drive|drink)", lambda ask, value: f"i {ask[1]} {value}"),
)
_POLAR: Final = re.compile(
    r"(?:^|[.!?,] ?|\bso |\band )(do|are|can|have) you (?:ever |also |actually )?([^?.!,]*)\?\W*$"
)
_SHORT_YES: Final = re.compile(
    r"(?:like|love|hate|enjoy|have|own|play|speak|smoke|drink|drive|eat|cook|live|work|study|collect|swim|"
    r"ski|sing|dance|read|paint)\b"
)


def _job(value: str) -> str:
    words = value.split()
    if re.match(r"an? ", value) and len(words) <= 6:
        return f"i am {value}"
    if lemma(words[-1]) in job_words() and len(words) <= 3:
        return f"i am {'an' if value[0] in 'aeiou' else 'a'} {value}"
    return ""


def answered(text: str, ask: str) -> str:
    """The statement that `text` makes as an answer to the question that `ask` ends with; nothing if none."""
    asked = _last_question(normal(ask))
    if not asked or not text.strip() or "?" in text[: text.find(".") + 1 or None]:
        return ""
    said = " ".join(text.replace("’", "'").split())
    first = _CUT.split(said, maxsplit=1)[0].strip(" .,!")
    plain = normal(first)
    if not plain or len(plain.split()) > LONGEST:
        return ""
    if polar := _POLAR.search(asked):
        if stated := _polar(polar[1], polar[2].strip(), first, plain, said):
            return stated
    if re.match(
        r"(?:i|my|we|our|yes|no|nope|yeah|not|nothing|never|none of|you|why|what|how|sorry|hi|hello|good|"
        r"great|fine)\b",
        re.sub(r"^(?:(?:well|oh|hm+|um+|ah|so)\b[,.]? )+", "", plain),
    ):
        return ""
    for pattern, made in _WH:
        if found := re.search(pattern, asked):
            value = first
            while lead := _LEAD.match(value.lower()):
                value = value[lead.end() :]
            value = re.sub(
                r",? (?:though|actually|haha|lol|please|thanks|of course|mostly|too)$", "", value
            ).strip(" .,!")
            # what has a subject of its own, or says what it answers, is a sentence: statements read it
            whole = re.match(r"(?:i|my|we|our)\b", value.lower()) or re.search(r"\bmy fav", value.lower())
            return made(found, value) if value and not whole and not _vague(value) else ""
    return ""


def resolved(text: str, ask: str) -> str:
    """What `text` says with a pronoun, or in other words, of what `ask` asks about; nothing if it does not.

    "she is twelve" after "how old is your daughter?" is "my daughter is twelve".
    """
    asked, said = _last_question(normal(ask)), re.sub(r"^(?:yes|no|well|oh)[,.]? ", "", normal(text))
    if re.search(r"\bwhere (?:do you live|are you (?:living|based)|is your home)\b", asked):
        return re.sub(r"^i am (?=in |at )", "i live ", said) if re.match(r"i am (?:in|at) ", said) else ""
    if kind := re.search(r"\byour favorite ([a-z]+)", asked):
        best = re.match(r"i (?:really )?(?:like|love) (.*?)(?: the)? (?:most|best)\b", said)
        return f"my favorite {kind[1]} is {best[1]}" if best else ""
    if hour := re.search(r"\b(?:when|what time) do you ((?:get|wake) up|go to (?:bed|sleep))\b", asked):
        at = re.match(
            r"(?:i (?:get|wake) up |i go to (?:bed|sleep) )?(?:usually )?(?:at|around|about) (.*)", said
        )
        return f"i {hour[1]} at {at[1]}" if at else ""
    of = re.search(r"\b(?:is|does|are|do|was) your (?:[a-z]+ )??([a-z]+)(?= |\W*$)(?! and )", asked)
    about = re.match(r"(?:he|she|it) ((?:is|lives|works)\b.*)", said)
    return f"my {of[1]} {about[1]}" if of and about else ""


def _vague(value: str) -> bool:
    return bool(
        re.match(
            r"(?:it|that|this|here|there|everything|anything|nothing|lots|many|good|great|secret|idk|guess|"
            r"depends)\b",
            value.lower(),
        )
    )


def _last_question(ask: str) -> str:
    """The last question of a turn, if the turn ends with it."""
    questions = re.findall(r"[^.!?]+\?", ask)
    return str(questions[-1]).strip() if questions and ask.rstrip(" !)").endswith("?") else ""


def _polar(verb: str, about: str, first: str, plain: str, said: str) -> str:
    """What a yes or a no says, or "yes, two dogs" after "do you have pets?"."""
    if (
        re.search(
            r"\b(?:or|me|mind|think|know|want|need|mean|remember|believe|ok|okay|well|there|ready|sure|it|"
            r"that|this|them)\b",
            about,
        )
        or not about
    ):
        return ""
    yes, no = _YES.match(plain), _NO.match(plain)
    if not (yes or no):
        owned = verb == "do" and re.match(r"(?:have|own)\b", about)
        some = re.match(rf"(?:just |only )?((?:an?|\d+|{'|'.join(NUMBERS)}) [a-z]+(?: [a-z]+)?)$", plain)
        return f"i have {some[1]}" if owned and some else ""
    begun = (_YES if yes else _NO).match(first.lower())
    rest = first[begun.end() if begun else len(first) :].strip(" ,.!")
    thing = re.sub(r"\bany\b", "", about).replace("  ", " ").strip()
    if verb == "do":
        owns = re.match(r"(have|own) ", about)
        if yes and owns and re.match(r"(?:\d+|an?|one|two|three|four|five|six|some|several) ", rest.lower()):
            return f"i {owns[1]} {rest}"
        if (
            not _SHORT_YES.match(about)
            or len(about.split()) > 6
            or (rest and not rest.lower().startswith(("i do", "a lot", "very")))
            or "," in about
        ):
            return ""
        return f"i {thing}" if yes else f"i do not {about}"
    about = about.removesuffix(" too")
    if (
        verb == "are"
        and len(about.split()) <= 4
        and not rest
        and not _CUT.search(first + " ")
        and first == said.rstrip(" .!,")
    ):
        if not re.match(
            r"(?:an? |married|single|divorced|retired|vegan|vegetarian|religious|from |allergic|afraid|in "
            r"(?:school|college))",
            about,
        ):
            return ""
        return f"i am {about}" if yes else f"i am not {about}"
    if verb == "can" and len(about.split()) <= 4 and not rest:
        return f"i can {about}" if yes else f"i can not {about}"
    return ""
