"""What somebody does for a living: jobs by their names, and trades by what is done ("i mend nets").

A job's name that shares no word with a trade is not its name. Which verbs make a trade is not listed: those
that people use of their leisure, their things and their lives are, and all others count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from convai.text.claims.claim import Claim
from convai.text.claims.words import Words, content, job_words, lemma

_PRIVATE: Final = frozenset(
    """like hate love have own get want need wish hope know think believe feel see look live stay sleep wake
    go come walk run hike swim cycle ride travel move eat drink cook bake brew play sing dance paint draw
    write read watch listen knit sew crochet garden grow collect keep wear smoke speak talk study learn
    practice practise try use buy lose find forget remember miss dream worry laugh cry celebrate meet visit
    enjoy prefer attend take bring spend save earn make do be let bet guess mean say tell ask start stop
    volunteer jog ski surf skate fish hunt camp ran lost met grew used fear avoid share turn suffer
    support vote pray drive plan exercise work workout snore stutter never always can could will would should
    must am was did do not only also really still just often usually sometimes""".split()
)
_PAID: Final = re.compile(r"\bfor (?:a living|money)\b|\bfor an? (?:[a-z]+ )?(?:magazine|newspaper|museum)\b")
_DRIVEN: Final = re.compile(
    r"i drive (?:an? |the )?(?:[\w-]+ ){0,2}(?:bus|buses|trams?|taxis?|cab|lorry|lorries|trains?|"
    r"ambulance|forklift|tanker|coach|coaches|limo|limousine|hearse|metro|trucks?|cabs)\b"
)
"""What is driven by those who are paid for it."""
_MADE: Final = re.compile(
    r"(?:(?:make|cut) (?!(?:my|our|a|an|the|some|this|that|it|them|up|out|sure|down|back|off)\b)"
    r"(?!(?:[\w-]+ )?(?:friends|mistakes|plans|choices|decisions|jokes|changes|excuses|lists|notes|memories|"
    r"promises|deals|faces|noises|corners|ties|classes|losses|arrangements|calls|things)\b)"
    r"(?:[\w-]+ )??(?:[\w-]{2,}(?<![su])s|hair|furniture|bread|jam|cheese|wine|beer|clothing|"
    r"jewel(?:le)?ry|glass|meat|grass|wood|stone|pottery|soap|honey|leather|candy|ice cream)|"
    r"do (?:hair|nails|lashes|brows|makeup|make-up|tattoos|roofs|floors))\b"
)
"""What is made or cut by those who are paid for it: "make cakes", "cut hair", not "make plans"."""
_NAMES: Final = {
    "cake": "baker confectioner",
    "bread": "baker",
    "shoe": "cobbler shoemaker",
    "furniture": "carpenter joiner",
    "hair": "barber hairdresser stylist",
    "teeth": "dentist",
    "sell": "salesman saleswoman seller merchant dealer clerk cashier owner",
    "horse": "farrier blacksmith smith",
    "bee": "apiarist",
    "teach": "professor tutor instructor",
    "child": "teacher nanny babysitter",
    "school": "teacher",
    "repair": "mechanic technician engineer",
    "judge": "critic",
    "manage": "boss",
    "boss": "manager",
    "house": "builder",
    "wood": "carpenter",
    "fire": "firefighter fireman",
    "story": "writer author novelist",
    "novel": "writer author novelist",
    "patient": "doctor nurse",
    "plane": "pilot",
    "flower": "florist",
    "pot": "potter",
}
"""Jobs whose names do not say what they do."""


def job(rest: str) -> Iterator[Claim]:
    """The job that "crane operator in ohio" names, if it names one."""
    head = re.split(r" (?:in|at|for|and|with|by|on|from|of|to|right|now)\b", rest)[0]
    words = re.findall(r"[a-z]+", head)
    if words and words[-1] in job_words():
        yield Claim("job", frozenset(words[-2:]))
        yield Claim("works", frozenset({"yes"}))


def trade(sentence: str) -> Claim | None:
    """What a sentence in plain form says that its speaker does for a living, without a job's name."""
    said = re.match(r"i ([a-z]+) ([^.!?,;]+)", sentence)
    if said is None or not (words := content(said[2])):
        return None
    verb = said[1]
    paid = _PAID.search(sentence) or _DRIVEN.match(sentence) or makes(sentence[2:])
    if verb.endswith(("ed", "ly")) or ({verb, lemma(verb)} & _PRIVATE and not paid):
        return None
    return Claim("trade", words | {lemma(verb)})


def makes(done: str) -> bool:
    """Whether what somebody does ("make cakes for weddings") is to make or cut what others pay for."""
    return _MADE.match(done) is not None


def may_name(title: Words, done: Words) -> bool:
    """Whether a job's name may be that of a trade: they share the beginning of a word, or are known to."""
    names = {name for word in done for name in _NAMES.get(word, "").split()}
    return bool(title & names) or any(
        one[:length] == other[:length]
        for one in title
        for other in done
        for length in (3 if min(len(one), len(other)) < 5 else 4,)
        if min(len(one), len(other)) >= length
    )
