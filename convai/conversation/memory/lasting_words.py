"""The words by which `durable` and `copular` tell what lasts: states, habits, turns of a life; moods."""

from __future__ import annotations

import re
from typing import Final

from convai.text.claims.words import FAMILY


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


IMAGINED: Final = re.compile(
    r"\b(if|wish|wishing|could|might|maybe|perhaps|probably|hopefully|hope|hoping|imagine|suppose|unless|"
    r"whether|"
    r"should|supposed|would|pretend|pretending|almost|joking|kidding|guess|bet|let|dream(?:t|ed) that)\b"
)
WANTS: Final = re.compile(
    r"i (?:really |have always |always )*(?:would (?:really )?(?:love|like) to|want to|wanted to|hope to|"
    r"dream of|would love|am hoping to|plan to|plan on|intend to) "
    r"(?:be|become|becoming|visit|visiting|learn|travel|traveling|travelling|move|moving|own|owning|open|"
    r"opening|"
    r"go to|have (?:a|my|kids|children)|start|write|writing|buy|study|play|live|see|run|retire|marry|adopt|"
    r"get (?:a|my|married)|"
    r"climb|sail|build|win|work|teach|being|living|publish|finish|quit|sing|ride|fly)\b"
)
LISTENER: Final = re.compile(r"\b(you|your|yours|u|ur|yourself)\b")
EMPTY_OBJECT: Final = re.compile(
    r"^\w+ (?:to |of |about |with |for |in |at )?"
    r"(?:it|that|this|them|those|these|one|so|too|there|here|him|her|both|all of|either|same|the same|some|"
    r"any)"
    r"(?: (?:too|so much|a lot|very much|all|as well|very|much|really|more|myself|now|sometimes|often|one|"
    r"ones))*$"
)
TODAY: Final = re.compile(
    r"\b(right now|at the moment|today|tonight|yesterday|this (?:morning|evening|afternoon|week|weekend|"
    r"minute)|"
    r"last (?:night|week|weekend)|just now|earlier|in a (?:minute|bit|sec|second|while)|later|soon)\b"
)
DATED: Final = re.compile(
    r"\b(interview|exam|exams|wedding|appointment|surgery|operation|flight|trip|holiday|vacation|birthday|"
    r"concert|"
    r"marathon|race|tournament|audition|graduation|deadline|presentation|conference|due|fly|flying|marry|"
    r"married|"
    r"moving|move|travel|traveling|travelling|visit|visiting|leave|leaving|start|starting|begin|"
    r"january|february|march|april|may \d|june|july|august|september|october|november|december|"
    r"next (?:year|month|summer|spring|fall|autumn|winter|week|monday|tuesday|wednesday|thursday|friday|"
    r"saturday|sunday)|"
    r"in \d+ (?:days|weeks|months|years)|on (?:monday|tuesday|wednesday|thursday|friday|saturday|sunday))\b"
)
ADVERBS: Final = _words(
    "also just really actually still always usually often sometimes currently now only recently never even "
    "finally already both kinda absolutely totally simply mostly mainly especially once ever not very so "
    "quite "
    "pretty rather presently basically truly honestly definitely certainly regularly occasionally rarely "
    "generally typically normally originally secretly personally happily too do"
)
PASSING: Final = _words(
    """tired hungry thirsty fine ok okay good great well sorry happy sad busy bored glad sure back here
    ready doing done excited nervous sleepy sick better alright cold hot late early home awake asleep off
    out up down there on lost confused surprised curious jealous impressed amazed aware kidding joking
    serious interested afraid wondering thinking talking chatting typing listening feeling looking sitting
    lying laughing eating watching waiting trying hoping having being making saying telling asking about
    gonna going able unsure certain right wrong not lucky blessed grateful thankful proud pleased worried
    stressed exhausted drunk upset angry mad free available alone stuck kind bit little lot just like
    similar same different new all almost too more less as with under over sorry welcome really jealous
    game down perfect close far away outside inside bad awful terrible wonderful fantastic amazing lonely
    relaxed relaxing working playing reading cooking getting taking seeing coming leaving finishing
    starting heading running walking driving drinking enjoying loving missing
    """
)
STATES: Final = _words(
    """retired vegan vegetarian pescatarian married single divorced engaged widowed pregnant blind deaf
    colorblind colourblind color-blind colour-blind
    left-handed right-handed lefthanded tall short shy introverted extroverted outgoing adopted
    unemployed disabled religious christian catholic jewish muslim hindu buddhist atheist agnostic
    republican democrat conservative liberal gay straight bisexual lesbian transgender nonbinary autistic
    diabetic asthmatic dyslexic bilingual male female self-employed homeless sober bald blonde redheaded
    freckled allergic diagnosed born raised named called obsessed passionate addicted scared terrified
    lactose gluten claustrophobic clumsy fluent american athletic artistic musical vegetarians vegans
    competitive homeschooled mexican canadian australian italian spanish irish british scottish french
    german polish russian indian japanese korean chinese swedish dutch greek turkish brazilian dominican
    puerto haitian cuban filipino vietnamese nigerian jamaican african latino hispanic black white asian
    native norwegian danish finnish portuguese welsh english afraid frightened
    """
)
LASTING_ING: Final = _words(
    """studying learning training writing saving planning teaching building moving expecting raising
    dating volunteering majoring interning apprenticing renovating restoring preparing applying marrying
    retiring flying traveling travelling visiting turning starting attending living working taking
    quitting retraining fostering homeschooling
    recovering renting engaged adopting opening publishing recording coaching
    """
)
PASSING_HAD: Final = _words(
    """no_idea fun question headache cold flu feeling day time trouble problem moment minute chance luck
    idea plan lunch dinner breakfast point thought look break bit lot good great nice enough reason news
    weekend morning
    """
)
NOT_HABITS: Final = _words(
    """think guess know mean see understand agree believe feel hope suppose wonder hear remember forget
    bet doubt say tell ask need wait stop let come appreciate apologize promise swear imagine look try
    thank find notice want wish seem mind care must miss keep sound admit assume gotta gonna wanna ll will
    shall should may might recommend suggest trust expect figure hate_to love_to_hear disagree realize
    recall consider decide consent
    """
)
PAST: Final = _words(
    """went saw ate had did said told woke made took came left slept felt heard forgot thought knew found
    spent drank drove ran sat stood bought brought gave got met wrote sang swam rode broke chose fell flew
    kept lost paid read burnt burned hurt slipped cut hit read sent spoke taught threw understood won wore
    was were been tried looked watched
    """
)
LIFE: Final = re.compile(
    r"(?:moved|relocated|married|graduated|was born|grew up|turned \d|was raised|adopted|retired|divorced|"
    r"separated|emigrated|immigrated|"
    r"started (?!to|talking|watching|reading)|quit|lost my (?!train|mind|keys?\b|voice|temper|appetite|way|"
    r"phone|wallet|patience)|broke my|broke up|became|joined|was named|was adopted|founded|"
    r"(?:studied|majored|trained|served|lived|worked|volunteered|competed) (?:\w+ )?(?:as|in|at|for|with|"
    r"on)|dropped out|learned (?:to|how)|"
    r"left (?:school|college|university|home|the (?:army|navy|church|force))|"
    r"met my|switched|changed (?:jobs|careers|my)|inherited|published|wrote (?:a|two|three|several) |won "
    r"(?:a|the|an|my|first|second|\d)|"
    r"bought (?:a|an|my|our|another) (?:\w+ ){0,2}(?:house|home|car|apartment|flat|boat|bike|motorcycle|"
    r"truck|farm|guitar|piano|"
    r"condo|van|cabin|dog|cat|horse|puppy|kitten|restaurant|shop|violin|camera)|"
    r"got (?:a|an|my|another|two|three) (?:\w+ ){0,2}(?:dog|cat|puppy|kitten|dogs|cats|job|promotion|"
    r"degree|divorce|scholarship|tattoo|"
    r"car|bike|horse|rabbit|hamster|parrot|fish|license|raise)|got (?:married|engaged|divorced|fired|laid "
    r"off|promoted|hired|accepted)|"
    r"had (?:a|an|two|three|four|my) (?:\w+ ){0,2}(?:baby|dog|cat|son|daughter|kids|children|twins|surgery|"
    r"stroke|heart attack|horse)|"
    r"was (?:an? |in the |on the |married|born|raised|diagnosed|\d+ when)|used to|sold my|started|(?:have|"
    r"had) been|"
    r"went to (?:\w+ ){0,3}(?:college|university|school|harvard|yale|oxford|cambridge)|taught|named (?:my|"
    r"our|him|her)|played|died|passed away)"
)
HABIT: Final = re.compile(
    r"keep (?:\w+ )?(?!things|secrets|tabs|promises|notes|people|kids|us|yes)[a-z]{2,}s"
    r"(?: (?:on|in|at|for|as)\b|$)"
    r"|take (?:my|our) (?:coffee|tea|steak|eggs|whisky|whiskey)\b"
    r"|take (?:insulin|medication|medicine|pills)\b"
    r"|make (?:my|our|all (?:my|our)) own\b"
    r"|get (?:\w+ )?(?:migraines|headaches|hay fever|hayfever|seasick|carsick|travel sick|panic attacks|"
    r"nightmares|hives|rashes|nosebleeds|heartburn|cramps|sunburnt|sunburned)\b"
    r"|read (?:[a-z]+ )?(?:cards|palms|comics|novels|poems|poetry|manga|mysteries|thrillers|biographies)\b"
)
"""What verbs that mostly tell of a moment say of a life."""
HAVE_BEEN: Final = re.compile(
    r"been (?:to |married|working (?:as|at|for|in|with|on)|living|playing|studying|teaching|learning|"
    r"writing|dating|an? |in the|with|"
    r"vegan|vegetarian|sober|divorced|single|together|running|training|collecting)"
)
ABSTRACT: Final = _words(
    """day bad turn pleasure point mind guess thing question weekend morning week head stomach dinner
    lunch night evening fault god goodness opinion impression apologies condolences thoughts best
    breakfast afternoon answer way next last first pc phone internet computer battery advice advise heart
    understanding feelings luck
    """
)
RELATED: Final = (
    r"(?:is|are|was|were|has|have|had|lives|live|works|work|likes|like|loves|love|hates|hate|died|passed|"
    r"left|"
    r"plays|play|teaches|teach|studies|study|owns|own|moved|goes|go|comes|runs|run|collects|speaks|speak|"
    r"drives|"
    r"cooks|bakes|sings|paints|writes|got|just got|just had|just moved|used|grew|retired|married|served|"
    r"makes|does|"
    r"did|can|will|want|wants|raised|taught|named|call|calls|met|started|breeds|grows|keeps|enjoys|enjoy|"
    r"eats|eat|"
    r"emigrated|hibernates|snores|sleeps|refuses|rides|swims|drinks|attends|attend|works|owned|worked|says|always|also|still|never|now|both|all|turned|turns|weighs|became)"
)


PEOPLE: Final = frozenset(
    f"{FAMILY}|mom|mum|dad|grandma|grandpa|granddad|grandfather|wife|husband|partner|fiance|fiancee|aunt|"
    f"uncle|cousin|niece|nephew|boss|"
    "neighbor|neighbour|roommate|friend|ex|twin|stepdad|stepmom|boyfriend|girlfriend|child|kid|baby|"
    "grandson|granddaughter|dog|cat|horse|"
    "parrot|rabbit|hamster|teacher|colleague|coworker|tortoise|turtle|snake|lizard|budgie|canary|ferret|pony|"
    "donkey|goat|pig|hen|duck|bird|puppy|kitten|landlord|landlady|flatmate|housemate|mate|stepson|"
    "stepdaughter|godson|goddaughter|dentist|doctor|therapist".split("|")
)
DOES: Final = re.compile(
    rf"(?:[a-z-]+ ){{0,2}}(?:{'|'.join(sorted(PEOPLE))})(?: [a-z]+)? [a-z]+(?<!s)s\b (?!me$)"
)
PLACES: Final = _words(
    "house flat apartment home school office shop farm cabin garden family church store room studio "
    "birthday parents"
)
STATES_OF_USA: Final = _words(
    """alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho
    illinois indiana iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota
    mississippi missouri montana nebraska nevada ohio oklahoma oregon pennsylvania tennessee texas utah
    vermont virginia wisconsin wyoming usa uk england scotland wales chicago boston seattle houston dallas
    miami denver
    """
)
