"""Trees that no sentence has, mended: what small parsers get wrong again and again, and grammar shows.

Words of one name that all depend on the verb ("Nina Simone was born"), coordinated subjects that do, an
apposition taken for a coordination without "and", a sentence without a verb whose third person was taken for
a plural ("The designer draws icons."), a verb taken for part of a noun or for a conjunct of its subject, one
behind two names that was taken for a part of the second ("Tom and Lisa plan to move"), a relative clause that
ends in a second subject of the verb behind it, or in that verb; a preposition that was taken for a
conjunction; a subject with an apposition that was taken for somebody spoken to.
"""

from __future__ import annotations

from typing import Final

from convai.coref.lexicon import first_names

_ARGUMENTS: Final = frozenset(("nsubj", "nsubj:pass", "obj", "iobj", "obl"))
_NAMES: Final = frozenset(("NNP", "NNPS"))
_FINITE: Final = frozenset(("VBZ", "VBD", "VBP", "MD"))
_SUBJECTS: Final = ("nsubj", "nsubj:pass")
_VERBS_OF_VERBS: Final = ("xcomp", "ccomp", "conj", "advcl", "parataxis")
_NOUN_CLAUSES: Final = ("acl", "acl:relcl", "advcl")
_PREPOSITIONS: Final = frozenset("with from in on at of by near behind under beside opposite".split())
"""What begins no clause of a noun with a subject of its own."""
_NAMING: Final = frozenset("call calls called calling name names named naming nicknamed".split())
_NO_VERBS: Final = ("ss", "us", "is", "ers", "ors", "ists", "ions", "ments", "ities")
"""Endings of nouns that are no verb's third person."""
_DETERMINERS: Final = frozenset("a an the my your his her its our their".split())
_NAME_PLACES: Final = frozenset((*_ARGUMENTS, "xcomp", "conj", "appos", "nmod", "flat", "compound"))
_OPENING: Final = frozenset(("``", '"', "“", ":", "(", "-LRB-", "-"))
_TAKEN_FOR_NAMES: Final = frozenset(("NN", "JJ", "NNS", "RB", "FW", "VB", "VBN", "VBP"))
_DESCRIBING: Final = ("DT", "PRP$", "JJ", "CD", "POS", "IN")
_TOLD: Final = frozenset(
    "film movie book story song poem article report letter documentary programme program show talk speech "
    "lecture joke question novel essay paper play podcast series email message post dream book rumour".split()
)
"""What is about something."""


def repair(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """Mend the tree of one sentence in place. A root's head is its own index."""
    _mend_tags(words, tags, heads, deps)
    _find_verb(words, tags, heads, deps)
    _turn_verb(tags, heads, deps)
    _free_verb(words, tags, heads, deps)
    _part_names(words, tags, heads, deps)
    _raise_verb(words, tags, heads, deps)
    _close_clause(heads, deps)
    _free_case(words, tags, heads, deps)
    _leave_clause(words, tags, heads, deps)
    _give_subject(tags, heads, deps)
    _hang_about(words, heads, deps)
    _seat_subject(words, tags, heads, deps)
    _join_siblings(words, tags, heads, deps)
    _find_appositions(words, tags, heads, deps)


def _mend_tags(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """Nouns in small letters behind an article that were taken for names, and names that were not.

    Also "her" in "they named her Mila".
    """
    capitals = sum(word[:1].isupper() for word in words) * 3 > len(words) * 2
    for i, word in enumerate(words):
        if tags[i] not in _TAKEN_FOR_NAMES or capitals or len(word) < 2 or not word.istitle():
            continue
        noun = tags[i] == "NN" and i and tags[i - 1] not in _DESCRIBING and words[i - 1] not in _OPENING
        first = word.lower() in first_names() and deps[i] in _NAME_PLACES and (i or deps[i] in _SUBJECTS)
        whole = word.lower() in first_names() and heads[i] == i + 1 and words[heads[i]].istitle()
        if noun or first or whole:
            tags[i] = "NNP"
    for i in range(1, len(words)):
        if tags[i] == "NNP" and words[i].islower() and words[i - 1].lower() in _DETERMINERS:
            tags[i] = "NNS" if words[i].endswith("s") and not words[i].endswith(("ss", "us", "is")) else "NN"
        name, verb = i, heads[i]
        if words[i - 1].lower() != "her" or tags[i] != "NNP" or heads[i - 1] != name or verb != i - 2:
            continue
        if words[verb].lower() in _NAMING and tags[verb][0] == "V":
            tags[i - 1], heads[i - 1], deps[i - 1], deps[name] = "PRP", verb, "obj", "xcomp"


def _find_verb(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    if any(tag[0] == "V" or tag == "MD" for tag in tags) or len(words) < 4 or words[-1] not in ".!":
        return
    if words[0].lower() not in _DETERMINERS and tags[0] not in _NAMES:
        return
    for p in range(1, len(words) - 1):
        if not _may_be_verb(words[p], tags[p]) or tags[p - 1] not in ("NN", "NNP", ","):
            continue
        goes_on = deps[p] == "compound" and tags[p + 1][:2] == "NN"
        alone = heads[p] == p and deps[p - 1] == "compound" and tags[p + 1] in ("IN", "TO", "RB")
        alone = alone and words[p + 1].lower() != "of"
        last = p == len(words) - 2 and (tags[p - 1] == "NNP" or tags[p] == "NNS")
        aside = words[p - 1] == "," and deps[p] == "conj" and tags[p + 1] in ("IN", "TO") and heads[0] == 0
        if not goes_on and not alone and not last and not aside:
            continue
        before = next((i for i in range(p) if heads[i] == i), p - 1)
        behind = next((i for i in range(p + 1, len(words)) if heads[i] == i), -1)
        tags[p] = "VBZ"
        if p - 1 > before and (heads[p - 1], deps[p - 1], tags[p - 1]) == (p, "compound", "NN"):
            for i in range(before + 1, p - 1):  # "the roof of the church leaks"
                heads[i] = p - 1 if heads[i] == p else heads[i]
            heads[p - 1], deps[p - 1] = before, "nmod"
        for i, head in enumerate(heads):
            if i < p and head >= p:
                heads[i], deps[i] = before, "appos" if tags[i] == "NNP" and i > before else deps[i]
            elif i > p and (head < p or i == len(words) - 1):
                heads[i] = p
        heads[before], deps[before] = p, "nsubj"
        if behind >= 0:
            heads[behind], deps[behind] = p, "obj"
        heads[p], deps[p] = p, "root"
        return


def _turn_verb(tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "Peter's dog bit the postman", where "dog" was read as part of "bit", a noun with an object."""
    if any(tag[0] == "V" or tag == "MD" for tag in tags):
        return
    root = next((i for i, head in enumerate(heads) if head == i), 0)
    if root < 1 or tags[root] not in ("NN", "NNS") or tags[root - 1][:2] != "NN":
        return
    subject = root - 1
    if deps[subject] != "compound" or heads[subject] != root:
        return
    if any(
        deps[i] == "obj" and heads[i] == root and tags[i][:2] in ("NN", "PR") for i in range(root, len(deps))
    ):
        tags[root], deps[subject] = "VBD", "nsubj"
        for i in range(subject):
            if heads[i] == root:
                heads[i] = subject


def _give_subject(tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "when our old cat hears the vet", where "cat" was read as part of the verb."""
    for v, tag in enumerate(tags):
        if tag not in _FINITE or not v or heads[v - 1] != v or deps[v - 1] != "compound":
            continue
        noun = v - 1
        if tags[noun][:2] != "NN" or any(h == v and deps[i] in _SUBJECTS for i, h in enumerate(heads)):
            continue
        deps[noun] = "nsubj"
        for i in range(noun):
            if heads[i] == v and deps[i] in ("det", "nmod:poss", "amod", "compound", "nummod"):
                heads[i] = noun


def _hang_about(words: list[str], heads: list[int], deps: list[str]) -> None:
    """As "we watched a film about sharks", where "sharks" was read as what the watching is about."""
    for i, dep in enumerate(deps):
        if dep != "obl":
            continue
        case = next((c for c, h in enumerate(heads) if h == i and deps[c] == "case"), -1)
        if case > 0 and words[case].lower() == "about" and heads[case - 1] == heads[i]:
            if deps[case - 1] in _ARGUMENTS and words[case - 1].lower().rstrip("s") in _TOLD:
                heads[i], deps[i] = case - 1, "nmod"


def _may_be_verb(word: str, tag: str) -> bool:
    return tag in ("NN", "NNS") and word.islower() and word.endswith("s") and not word.endswith(_NO_VERBS)


def _free_verb(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "Mr. Lee teaches maths", where the verb was read as part of "maths"."""
    for p in range(1, len(words) - 1):
        noun = heads[p]
        if tags[p] not in _FINITE or deps[p] != "compound" or noun < p or heads[noun] != noun:
            continue
        if tags[p - 1][:2] != "NN" or any(tag in _FINITE for tag in tags[:p]):
            continue
        for i, head in enumerate(heads):
            if i != p and head == noun and (i < p or deps[i] == "punct"):
                heads[i] = p
                if tags[i][:2] == "NN" and i < p:
                    deps[i] = "nsubj"
        heads[p], deps[p] = p, "root"
        heads[noun], deps[noun] = p, "obj"
        return


def _part_names(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "Tom and Lisa plan to move", where "Lisa plan" was read as somebody."""
    for p in range(3, len(words) - 2):
        second = p - 1
        if words[p - 2].lower() != "and" or tags[second] not in _NAMES or not words[second].istitle():
            continue
        joined = (deps[p] == "conj" and heads[second] == p) or (deps[p] == "flat" and heads[p] == second)
        if not joined or tags[p] not in ("NN", "NNP") or not words[p].islower():
            continue
        to = words[p + 1].lower() == "to" and tags[p + 2] == "VB"
        if not to and (words[p + 1].lower() not in _DETERMINERS or any(tag in _FINITE for tag in tags)):
            continue
        root = next((i for i, head in enumerate(heads) if head == i), p)
        first = heads[p] if deps[p] == "conj" else heads[second]
        if first >= p:
            continue
        for i in range(p):
            heads[i] = second if heads[i] == p else heads[i]
        heads[second], deps[second] = first, "conj"
        top = first
        while heads[top] != top and heads[top] < p:
            top = heads[top]
        for i in range(p + 1, len(words)):
            if heads[i] < p or heads[i] == p or (heads[i] == root and deps[i] == "punct"):
                heads[i] = p
                deps[i] = "obj" if tags[i][:2] == "NN" and not to and "obj" not in deps[p:i] else deps[i]
        for i in range(p + 1):
            heads[i] = p if heads[i] == root and root > p else heads[i]
        if to:
            heads[p + 2], deps[p + 2] = p, "xcomp"
        tags[p], heads[p], deps[p] = "VBP", p, "root"
        heads[top], deps[top] = p, "nsubj"
        return


def _raise_verb(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "Lyon, a large city, lies on two rivers", where the verb was read as a conjunct of its subject."""
    root = next((i for i, head in enumerate(heads) if head == i), 0)
    if not words or tags[root][:2] != "NN":
        return
    for v in range(root + 1, len(words)):
        if heads[v] != root or tags[v] not in _FINITE or deps[v] not in ("conj", "parataxis", "acl"):
            continue
        own = [i for i, head in enumerate(heads) if head == v]
        beside = any(heads[i] == root and deps[i] == "appos" for i in range(root, v))
        if words[v - 1] != "," or not beside or any(deps[i] in ("cc", *_SUBJECTS) for i in own):
            continue
        for i, head in enumerate(heads):
            if i > v and head == root:
                heads[i] = v
        heads[v], deps[v] = v, "root"
        heads[root], deps[root] = v, "nsubj"
        return


def _close_clause(heads: list[int], deps: list[str]) -> None:
    """As "the boy who lives next door plays", where "door" was read as a second subject of "plays"."""
    of: dict[int, list[int]] = {}
    for i, head in enumerate(heads):
        if deps[i] in _SUBJECTS and i != head:
            of.setdefault(head, []).append(i)
    for v, subjects in sorted(of.items()):
        if len(subjects) != 2 or subjects[1] > v:
            continue
        first, second = subjects
        verbs = [i for i in range(first, second) if deps[i] == "acl:relcl" and heads[i] == first]
        if verbs:
            heads[second], deps[second] = verbs[-1], "obj"


def _free_case(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "the girl with the violin missed her bus", where "with" was read as what begins a clause."""
    root = next((i for i, head in enumerate(heads) if head == i), 0)
    if not words or tags[root][:2] != "NN":
        return
    for mark, dep in enumerate(deps):
        v = heads[mark]
        if dep != "mark" or words[mark].lower() not in _PREPOSITIONS or mark < root:
            continue
        if heads[v] != root or deps[v] not in _NOUN_CLAUSES or tags[v] not in _FINITE:
            continue
        noun = next((i for i in range(mark + 1, v) if heads[i] == v and deps[i] in _SUBJECTS), -1)
        if noun < 0 or tags[noun][:2] != "NN":
            continue
        for i, head in enumerate(heads):
            if head == root and (i > v or deps[i] == "punct") and i != root:
                heads[i] = v
        heads[mark], deps[mark] = noun, "case"
        heads[noun], deps[noun] = root, "nmod"
        heads[v], deps[v] = v, "root"
        heads[root], deps[root] = v, "nsubj"
        return


def _leave_clause(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "The girl who sells flowers smiled" (or "is sad"), where that was read as part of what she sells."""
    root = next((i for i, head in enumerate(heads) if head == i), 0)
    if not words or tags[root][:2] != "NN":
        return
    clause = next((i for i in range(root, len(words)) if heads[i] == root and deps[i] == "acl:relcl"), -1)
    if clause < 0 or not any(heads[i] == clause and deps[i] in _SUBJECTS for i in range(root, clause)):
        return
    for v in range(clause + 1, len(words)):
        if heads[v] != clause or deps[v] not in _VERBS_OF_VERBS:
            continue
        own = {deps[i]: i for i, head in enumerate(heads) if head == v}
        verb = own.pop("cop", v)
        if tags[verb] not in ("VBD", "VBZ") or words[verb - 1] == ",":
            continue
        if not own.keys().isdisjoint(("cc", "mark", "aux", *_SUBJECTS)):
            continue
        for i, head in enumerate(heads):
            if i > v and head in (root, clause):
                heads[i] = v
        heads[v], deps[v] = v, "root"
        heads[root], deps[root] = v, "nsubj"
        return


def _seat_subject(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "Laura, my best friend, left", where "Laura" was read as spoken to and "friend" as who left."""
    for i, dep in enumerate(deps):
        if dep != "vocative" or i + 3 >= len(words) or words[i + 1] != "," or tags[i] not in _NAMES:
            continue
        noun = next((k for k in range(i + 2, len(words)) if heads[k] == heads[i] and deps[k] in _SUBJECTS), 0)
        inside = noun and words[i + 2].lower() in _DETERMINERS and "," not in words[i + 2 : noun]
        if inside and noun + 1 < heads[i] and words[noun + 1] == ",":
            deps[i] = deps[noun]
            heads[noun], deps[noun] = i, "appos"


def _join_siblings(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """Two nouns in one place: parts of a name, a noun and its name, or coordinated."""
    places = list(zip(heads, deps, strict=True))
    name = -1
    for i in range(1, len(words)):
        if deps[i] not in _ARGUMENTS or (tags[i][:2] != "NN" and tags[i] != "PRP") or heads[i] == i:
            continue
        if places[i - 1] == places[i] and tags[i] in _NAMES and tags[i - 1][:2] == "NN":
            if tags[i - 1] in _NAMES:
                name = name if name >= 0 and deps[i - 1] == "flat" else i - 1
                heads[i], deps[i] = name, "flat"
            else:
                heads[i], deps[i] = i - 1, "appos"
            continue
        conjunctions = [c for c in range(1, i) if deps[c] == "cc" and heads[c] == i]
        if not conjunctions:
            continue
        c = conjunctions[0]
        one = next((k for k in range(c - 1, -1, -1) if places[k] == places[i] and tags[k][:2] == "NN"), -1)
        if one >= 0 and not any(tag[0] == "V" or tag == "MD" for tag in tags[one:i]):
            heads[i], deps[i] = one, "conj"


def _find_appositions(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> None:
    """As "my neighbour, an old man": a conjunct behind a comma where nothing coordinates."""
    if "cc" in deps or "conj" not in deps:
        return
    for i, dep in enumerate(deps):
        if dep != "conj" or tags[i][:2] != "NN" or heads[i] > i:
            continue
        start = min((c for c, h in enumerate(heads) if h == i and c < i and deps[c] != "punct"), default=i)
        if words[start].lower() not in _DETERMINERS or start < 2 or words[start - 1] != ",":
            continue
        if tags[heads[i]][0] == "V" and tags[start - 2][:2] == "NN":
            heads[i] = start - 2
        rivals = sum(d == "conj" and heads[k] == heads[i] for k, d in enumerate(deps))
        if rivals == 1 and tags[heads[i]][:2] == "NN":
            deps[i] = "appos"
