"""What a fact or a question is about, in general words: "cello" and "which instrument" are both about
instruments.

Word matching misses what is put in other words, and word vectors of this size blur it. A few dozen topics
with the words that tell them, and lists of things by their kind (data/compose/lists), find most of it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from convai.conversation.memory.vectors import without_accents
from convai.core import resources
from convai.text.claims.words import KINDS, NUMBERS, job_words, lemma, normal

_LISTS: Final = {
    "instrument": "instruments",
    "language": "languages",
    "food": "foods",
    "drink": "drinks",
    "color": "colours",
    "music": "music",
    "pet": "pets",
    "sport": "sports",
    "season": "seasons",
    "subject": "subjects",
    "month": "months",
}
"""Topic → the list of things of its kind."""
_NAMES: Final = {
    "color": "color",
    "colour": "color",
    "instrument": "instrument",
    "language": "language",
    "speak": "language",
    "food": "food",
    "dish": "food",
    "meal": "food",
    "eat": "food",
    "drink": "drink",
    "beverage": "drink",
    "music": "music",
    "song": "music",
    "band": "music",
    "singer": "music",
    "musician": "music",
    "performer": "music",
    "artist": "music",
    "genre": "music",
    "pet": "pet",
    "animal": "pet",
    "sport": "sport",
    "team": "sport",
    "season": "season",
    "subject": "subject",
    "major": "subject",
}
"""Words that name a topic as a question does."""
_COUNTED: Final = "|".join(NUMBERS)
_MONTHS: Final = "january|february|march|april|may|june|july|august|september|october|november|december"
_PATTERNS: Final = tuple(
    (topic, re.compile(rf"\b(?:{pattern})\b"))
    for topic, pattern in (
        (
            "age",
            r"how old (?:am|are|is|will)|years? old|my age|birthday|turn(?:ed|ing|s)? \d+|(?:am|is|be|"
            r"'s) (?:already |now )?"
            rf"(?:\d\d?|{_COUNTED})(?! (?:feet|foot|percent|minutes|hours|times|o'clock|of|\w+s\b))",
        ),
        (
            "live",
            r"(?:where|who|what city|which city|what country|which country|what town) (?:do|does|am|are|"
            r"did) (?:i|we) (?:now )?(?:live|living|based)|i (?:live|am living) (?:in|with|near|at)|moved to|"
            r"my (?:home|house|flat|apartment) is|where is my home|small flat in|which (?:city|town|"
            r"country) (?:do|am) i (?:in|live)|ended up in|settled (?:down )?in|(?:based|living) in|moved?|"
            r"moving in (?:with|together)|will i live with|"
            r"flat in",
        ),
        (
            "job",
            r"for a living|my (?:job|work|profession|occupation|career)|do i work|i (?:work|am working) "
            r"(?:as|at|for|in)|where do i work|own a|"
            r"i run a|i (?:sell|teach|drive a truck|fix|repair|am an? \w+er)|my living|do i do for work|"
            r"my boss|promot(?:ed|ion)|job|(?:earn|make|do i get) (?:my |our |some )?money|"
            r"trade|profession|position|manager|in charge|"
            r"at work|retired?|straight to (?:the|work)|started (?:out )?(?:at|as|in) (?:the|an?)",
        ),
        (
            "name",
            r"my name|who am i|i am called|is the name|(?:do|should|would|will) you call me|"
            r"(?:call|calls|called|known as) me|nickname|surname|spel(?:t|led|"
            r"ling)|\w+ here\b",
        ),
        (
            "called",
            r"(?:is|are) (?:called|named)|name is|names? of|s name|'s name|(?:is|are) (?:my|the) [a-z ]+ "
            r"(?:called|named)|named [a-z]+",
        ),
        (
            "dog",
            r"dogs?|pupp(?:y|ies)|spaniel|terrier|poodle|labrador|beagle|collie|retriever|"
            r"greyhound|whippet|rottweiler|bulldog|dalmatian|corgi|chihuahua|pug|husky|mutt|hound|dachshund|"
            r"mongrel|sheepdog|alsatian",
        ),
        ("cat", r"cats?|kittens?|tomcat|tabby|siamese|moggy"),
        (
            "pet",
            r"pets?|tabby|spaniel|terrier|poodle|labrador|beagle|collie|retriever|greyhound|whippet|corgi|"
            r"rottweiler|bulldog|chihuahua|pug|husky|mutt|dachshund|mongrel|kittens?|pupp(?:y|ies)",
        ),
        ("child", r"kids?|child(?:ren)?|sons?|daughters?|twins|baby|toddler|pregnant"),
        (
            "sibling",
            r"brothers?|sisters?|siblings?|twin|only child|middle (?:child|one)|(?:young|old|eld)est",
        ),
        (
            "partner",
            r"husband|wife|spouse|partner|boyfriend|girlfriend|fiancee?|married|marry|wedding|engaged|"
            r"divorced?|broke up|break up|single|dating|seeing (?:someone|somebody|a)|"
            r"going out with",
        ),
        ("wedding", r"wedding|getting married|marry"),
        ("parent", r"mother|father|mom|mum|dad|parents|in law"),
        (
            "dead",
            r"died|dead|alive|passed away|lost my (?:mother|father|wife|husband|brother|sister|dog|cat)",
        ),
        (
            "diet",
            r"vegan|vegetarian|eat meat|meat|diet|pescatarian|lactose|intolerant|gluten|milk|dairy|(?:do "
            r"not|never|should not|can not) eat|stomach|tolerate|digest|sugar|allowed to eat",
        ),
        (
            "allergy",
            r"allerg(?:y|ic|ies)|intolerant|intolerance|should not eat|can not eat|not allowed to eat|not "
            r"supposed to eat|(?:must|can|should|may) i not (?:have|take|eat)|i (?:must|can|should|"
            r"may) not (?:have|take|eat)",
        ),
        (
            "fear",
            r"afraid|scared?s?|scary|fear|fears|phobia|terrified|frighten(?:s|ed)?|(?:not|never) deal with|"
            r"freak(?:s|ed)? (?:me )?out|creeps? me|panic|i leave the room|ran away|jumped out",
        ),
        (
            "illness",
            r"diabet(?:es|ic)|ill(?:ness)?|disease|cancer|asthma|epilepsy|arthritis|depression|anxiety|"
            r"surgery|operation|health|condition|wrong with m[ey]|hospital|colorblind|deaf|blind|"
            r"diagnos(?:ed|e|is)|"
            r"doctors?|doc|inhaler|anaemi[ac]|anemi[ac]|dyslexi[ac]|autis\w+|adhd|stroke|attacks?|migraines?",
        ),
        (
            "medicine",
            r"medicines?|medication|tablets?|pills?|penicill?in|antibiotics?|inhaler|insulin|prescri\w+|"
            r"dose|aspirin|"
            r"ibuprofen|drugs?|injections?",
        ),
        (
            "operation",
            r"operat\w+|surgery|surgeon|appendix|tonsils|hip|knee replaced|had my \w+ (?:out|removed|done)|"
            r"stitches",
        ),
        ("boat", r"boats?|dinghy|canoe|kayak|yacht|ship|sail(?:s|ing)?|barge|rowing"),
        (
            "sleep",
            r"sleep(?:s|ing)?|snor(?:e|es|ing)|night owl|early bird|morning person|lark|insomnia|nap|naps|"
            r"bed",
        ),
        ("body", r"tattoo\w*|tatoo\w*|pierc\w+|scar|hair|dyed|beard|freckles|eyes|wear"),
        ("neighbour", r"neighbou?rs?|next door|upstairs|downstairs|below|above"),
        (
            "rent",
            r"rent(?:s|ing|ed)?|landlord|landlady|lease|tenants?|leave the flat|be out by|move out|"
            r"moving out",
        ),
        ("sight", r"colorblind|blind|glasses|see colou?rs|tell (?:red|colou?rs)"),
        ("flight", r"fly|flies|flew|flown|flying|flights?|(?:aero|air)?planes?|airports?|pilot"),
        (
            "injury",
            r"injur(?:y|ed|e|ies)|hurts?|broke my|did i break|"
            r"broken (?:arm|leg|wrist|foot|toe|nose|ankle|rib|hand)|tore|torn|sprain(?:ed)?|twisted|"
            r"fractured?|ligament|burnt?|burned|scald(?:ed)?|happened to my",
        ),
        ("hero", r"role model|idol|heroe?s?|look(?:s|ed)? up to|admire[sd]?|who i want to be"),
        (
            "sweet",
            r"sweets?|buns?|cakes?|cookies?|chocolates?|candy|waffles?|ice cream|pastry|pastries|pudding|"
            r"desserts?|do(?:ugh)?nuts?|pies?|biscuits?",
        ),
        (
            "sideline",
            r"side job|on the side|extra money|second job|part time|weekend job|earn extra|"
            r"pay (?:the|my) rent",
        ),
        ("summer", r"summer|june|july|august"),
        ("winter", r"winter|december|january|february|christmas"),
        (
            "travel",
            r"(?:going by \w+|cycling|flying|driving|heading|off) to|tickets? to|fly(?:ing)?|"
            r"travel+(?:ing)?|trip|vacation|holiday|visit(?:ing)?|journey",
        ),
        ("moving", r"moving to|move to|am i moving|do i move"),
        (
            "study",
            r"study(?:ing)?|studied|major(?:ing|ed)?|college|university|degree|school|graduated|dropped "
            r"out|learn(?:ing)?|course|lessons|picked up",
        ),
        ("origin", r"am i from|i am from|born|grew up|grow up|raised|come from|native|hometown|originally"),
        ("birthday", rf"birthday|born on|born (?:in )?(?:the )?(?:{_MONTHS}|\\d)"),
        (
            "vehicle",
            r"car|cars|van|truck|drive|driving|motorcycle|bike|jeep|scooter|beetle|mustang|vehicle|"
            r"get around|commute|cycle|ferry|bus|train",
        ),
        ("collect", r"collect(?:s|ing|ion)?"),
        (
            "hobby",
            r"favou?rite activity|pastime|hobb(?:y|ies)|for fun|free time|spare time|like to do|enjoy "
            r"doing|weekends?|choir|sings?|singing|knit(?:s|ting)?|crochet(?:s|ing)?|paint(?:s|ing)|pottery|chess|"
            r"yoga|climb(?:s|ing)|hik(?:es|ing)|danc(?:es|ing)|photograph(?:y|s)|like (?:to "
            r")?\w+ing|love (?:to )?\w+ing|enjoy \w+ing",
        ),
        (
            "dream",
            r"dreams?|wants? to (?:be|become|visit|learn|open|own|have|go)|really want|one day|wish|"
            r"wanted to (?:be|become)|dream(?:ed|t) of|plan to|would like to|"
            r"would (?:really )?love to|bucket list",
        ),
        (
            "past",
            r"used to|use to|formerly|in the past|quit|gave up|ex|previously|(?:do|did|work|be) before|"
            r"my (?:old|last|previous|former) \w+",
        ),
        ("smoke", r"smok(?:e|ed|ing|er)|cigarettes?"),
        (
            "home",
            r"home|house|flat|apartment|floor|roommate|flatmate|neighbou?r|houseboat|narrowboat|caravan|"
            r"cottage|"
            r"bungalow|live on",
        ),
        (
            "shift",
            r"shifts?|on (?:nights|days|earl(?:y|ies)|lates)|work (?:nights?|mornings?|days|evenings|"
            r"weekends)|when do i work|hours",
        ),
        ("height", r"tall|height|(?:four|five|six|\d) (?:foot|feet)|\d+ ?(?:cm|centimet)"),
        ("money", r"money|owes?|owed|debts?|quid|dollars|pounds|savings?|saving|salary|loan|mortgage"),
        ("heart", r"heart|pacemaker"),
        ("drinks", r"brew(?:s|ing)?|cider|beer|wine|mead"),
        ("movie", r"movies?|films?|series|shows?|tv|actor|actress"),
        ("book", r"books?|novel|read(?:ing)?|author|bookshop|library"),
        ("religion", r"religio(?:n|us)|church|god|christian|muslim|jewish|catholic|atheist|hindu|buddhist"),
        ("military", r"army|navy|air force|military|marines?|soldier|veteran"),
        ("team", r"teams?|clubs?|football|soccer|supports?|supporter"),
        (
            "hate",
            r"(?:not|never) (?:ever )?(?:serve|give|offer|feed) (?:me|us)|"
            r"i would rather (?:eat|die|starve)|"
            r"off my plate|tastes? like|hate|can not (?:i )?stand|dislike|do not like|despise|loathe|"
            r"makes? me (?:gag|sick)|"
            r"get me started|(?:not|never) deal with",
        ),
        (
            "favorite",
            r"favou?rite|always|go to|live on|kill for|could eat|"
            r"i (?:really |also |just )*(?:love|like|enjoy|prefer)|do i (?:like|"
            r"love|enjoy)(?: best)?",
        ),
        ("hand", r"left handed|left-handed|right-handed|right handed|lefty"),
        ("swim", r"swim(?:ming|mer)?"),
        ("garden", r"garden(?:ing)?|grow|balcony|plants?|tomatoes"),
        ("bake", r"bak(?:e|es|ing)|bread|sourdough|cake"),
        (
            "plan",
            r"next (?:week|month|year|summer|spring|winter|fall|autumn)|on (?:monday|tuesday|wednesday|"
            r"thursday|friday|saturday|sunday)",
        ),
    )
)


@cache
def _things() -> dict[str, frozenset[str]]:
    """Plain form of a thing's last word → the topics whose lists name it."""
    folder = resources.data_dir() / "compose" / "lists"
    found: dict[str, set[str]] = {}
    for topic, name in _LISTS.items():
        for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            if words := re.findall(r"[a-z]+", line.lower()):
                found.setdefault(lemma(words[-1]), set()).add(topic)
    for kind, named in KINDS.items():
        for word in named.split():
            found.setdefault(lemma(word), set()).add(kind)
    return {word: frozenset(topics) for word, topics in found.items()}


def topics_of(text: str) -> list[str]:
    """The topics of a text, each beginning with "#", in no particular order."""
    plain = without_accents(normal(text))
    found = {topic for topic, pattern in _PATTERNS if pattern.search(plain)}
    things = _things()
    for word in re.findall(r"[a-z]+", plain):
        base = lemma(word)
        found |= things.get(base, frozenset())
        if base in _NAMES:
            found.add(_NAMES[base])
        if base in job_words():
            found.add("job")
    return [f"#{topic}" for topic in sorted(found)]
