"""Trees that are mended, and those that are left as they are."""

from __future__ import annotations

import pytest

from convai.coref.parsing.repair import repair


def tree(text: str) -> tuple[list[str], list[str], list[int], list[str]]:
    """`word/tag/relation>head` with blanks between."""
    words, tags, heads, deps = [], [], [], []
    for token in text.split():
        word, tag, rest = token.split("/")
        dep, head = rest.split(">")
        words.append(word)
        tags.append(tag)
        deps.append(dep)
        heads.append(int(head))
    return words, tags, heads, deps


def written(words: list[str], tags: list[str], heads: list[int], deps: list[str]) -> str:
    return " ".join(f"{w}/{t}/{d}>{h}" for w, t, h, d in zip(words, tags, heads, deps, strict=True))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # coordinated subjects, one of them a pronoun
            "Eva/NNP/nsubj>3 and/CC/cc>2 I/PRP/nsubj>3 slept/VBD/root>3",
            "Eva/NNP/nsubj>3 and/CC/cc>2 I/PRP/conj>0 slept/VBD/root>3",
        ),
        (  # a preposition that was taken for a conjunction
            "A/DT/det>1 girl/NN/root>1 with/IN/mark>5 a/DT/det>4 hat/NN/nsubj>5 missed/VBD/acl>1 "
            "her/PRP$/nmod:poss>7 bus/NN/obj>5 ././punct>1",
            "A/DT/det>1 girl/NN/nsubj>5 with/IN/case>4 a/DT/det>4 hat/NN/nmod>1 missed/VBD/root>5 "
            "her/PRP$/nmod:poss>7 bus/NN/obj>5 ././punct>5",
        ),
        (  # what a noun with a clause is
            "The/DT/det>1 cake/NN/root>1 that/IN/mark>4 you/PRP/nsubj>4 made/VBD/acl:relcl>1 is/VBZ/cop>6 "
            "good/JJ/ccomp>4 ././punct>1",
            "The/DT/det>1 cake/NN/nsubj>6 that/IN/mark>4 you/PRP/nsubj>4 made/VBD/acl:relcl>1 is/VBZ/cop>6 "
            "good/JJ/root>6 ././punct>6",
        ),
        (  # parts of a name, and what it names
            "The/DT/det>1 poet/NN/nsubj>4 Eva/NNP/nsubj>4 Lund/NNP/nsubj>4 slept/VBD/root>4 ././punct>4",
            "The/DT/det>1 poet/NN/nsubj>4 Eva/NNP/appos>1 Lund/NNP/flat>2 slept/VBD/root>4 ././punct>4",
        ),
        (
            "Tom/NNP/nsubj>4 and/CC/cc>3 his/PRP$/nmod:poss>3 son/NN/nsubj>4 slept/VBD/root>4",
            "Tom/NNP/nsubj>4 and/CC/cc>3 his/PRP$/nmod:poss>3 son/NN/conj>0 slept/VBD/root>4",
        ),
        (
            "I/PRP/nsubj>1 saw/VBD/root>1 Tom/NNP/obj>1 ,/,/punct>5 a/DT/det>5 cook/NN/conj>2 ././punct>1",
            "I/PRP/nsubj>1 saw/VBD/root>1 Tom/NNP/obj>1 ,/,/punct>5 a/DT/det>5 cook/NN/appos>2 ././punct>1",
        ),
        (  # the same, where the parser hung it on the verb
            "I/PRP/nsubj>1 saw/VBD/root>1 Tom/NNP/obj>1 ,/,/punct>5 a/DT/det>5 cook/NN/conj>1 ././punct>1",
            "I/PRP/nsubj>1 saw/VBD/root>1 Tom/NNP/obj>1 ,/,/punct>5 a/DT/det>5 cook/NN/appos>2 ././punct>1",
        ),
        (
            "The/DT/det>3 cook/NN/compound>3 peels/NNS/compound>3 eggs/NNS/root>3 ././punct>3",
            "The/DT/det>1 cook/NN/nsubj>2 peels/VBZ/root>2 eggs/NNS/obj>2 ././punct>2",
        ),
        (  # the same with nothing but a place behind it
            "The/DT/det>2 nurse/NN/compound>2 drives/NNS/root>2 to/IN/case>4 Oslo/NNP/nmod>2 ././punct>2",
            "The/DT/det>1 nurse/NN/nsubj>2 drives/VBZ/root>2 to/IN/case>4 Oslo/NNP/nmod>2 ././punct>2",
        ),
        (  # a plural as part of the second of two names
            "my/PRP$/nmod:poss>1 pals/NNS/nsubj>7 Tom/NNP/appos>1 and/CC/cc>5 "
            "Eva/NNP/compound>5 plan/NN/conj>2 "
            "to/TO/mark>7 go/VB/root>7 ././punct>7",
            "my/PRP$/nmod:poss>1 pals/NNS/nsubj>5 Tom/NNP/appos>1 and/CC/cc>4 Eva/NNP/conj>2 plan/VBP/root>5 "
            "to/TO/mark>7 go/VB/xcomp>5 ././punct>5",
        ),
        (
            "Tom/NNP/nsubj>5 and/CC/cc>2 Eva/NNP/conj>0 hope/NNP/flat>2 "
            "to/TO/mark>5 go/VB/root>5 ././punct>5",
            "Tom/NNP/nsubj>3 and/CC/cc>2 Eva/NNP/conj>0 hope/VBP/root>3 "
            "to/TO/mark>5 go/VB/xcomp>3 ././punct>3",
        ),
        (
            "Tom/NNP/root>0 and/CC/cc>3 Eva/NNP/compound>3 plan/NN/conj>0 "
            "a/DT/det>5 trip/NN/nmod>0 ././punct>0",
            "Tom/NNP/nsubj>3 and/CC/cc>2 Eva/NNP/conj>0 plan/VBP/root>3 a/DT/det>5 trip/NN/obj>3 ././punct>3",
        ),
        (  # a verb as part of a noun
            "Mr./NNP/nmod:desc>1 Lee/NNP/nsubj>2 bakes/VBZ/compound>3 rolls/NNS/root>3 ././punct>3",
            "Mr./NNP/nmod:desc>1 Lee/NNP/nsubj>2 bakes/VBZ/root>2 rolls/NNS/obj>2 ././punct>2",
        ),
        (  # a verb as a conjunct of its subject
            "Ulm/NNP/root>0 ,/,/punct>3 a/DT/det>3 town/NN/appos>0 ,/,/punct>5 lies/VBZ/conj>0 ././punct>0",
            "Ulm/NNP/nsubj>5 ,/,/punct>3 a/DT/det>3 town/NN/appos>0 ,/,/punct>5 lies/VBZ/root>5 ././punct>5",
        ),
        (  # a relative clause that ends in a second subject
            "The/DT/det>1 man/NN/nsubj>5 who/WP/nsubj>3 has/VBZ/acl:relcl>1 keys/NNS/nsubj>5 sits/VBZ/root>5",
            "The/DT/det>1 man/NN/nsubj>5 who/WP/nsubj>3 has/VBZ/acl:relcl>1 keys/NNS/obj>3 sits/VBZ/root>5",
        ),
        (  # a relative clause that took the verb behind it
            "A/DT/det>1 man/NN/root>1 who/WP/nsubj>3 ate/VBD/acl:relcl>1 it/PRP/obj>3 sat/VBD/xcomp>3",
            "A/DT/det>1 man/NN/nsubj>5 who/WP/nsubj>3 ate/VBD/acl:relcl>1 it/PRP/obj>3 sat/VBD/root>5",
        ),
        (  # a subject, of whom more is said between commas, as somebody spoken to
            "Eva/NNP/vocative>5 ,/,/punct>0 my/PRP$/nmod:poss>3 boss/NN/nsubj>5 ,/,/punct>3 sat/VBD/root>5",
            "Eva/NNP/nsubj>5 ,/,/punct>0 my/PRP$/nmod:poss>3 boss/NN/appos>0 ,/,/punct>3 sat/VBD/root>5",
        ),
        (  # nouns as names, and whom a name is given to
            "The/DT/det>1 cooks/NNP/nsubj>2 named/VBD/root>2 her/PRP$/nmod:poss>4 Olga/NNP/obj>2 ././punct>2",
            "The/DT/det>1 cooks/NNS/nsubj>2 named/VBD/root>2 her/PRP/obj>2 Olga/NNP/xcomp>2 ././punct>2",
        ),
        (
            "Ann/NNP/nmod:poss>2 's/POS/case>0 dog/NN/compound>3 bit/NN/root>3 me/PRP/obj>3 ././punct>3",
            "Ann/NNP/nmod:poss>2 's/POS/case>0 dog/NN/nsubj>3 bit/VBD/root>3 me/PRP/obj>3 ././punct>3",
        ),
        (  # a subject as part of its verb
            "If/IN/mark>3 a/DT/det>3 cat/NN/compound>3 eats/VBZ/advcl>5 I/PRP/nsubj>5 ran/VBD/root>5",
            "If/IN/mark>3 a/DT/det>2 cat/NN/nsubj>3 eats/VBZ/advcl>5 I/PRP/nsubj>5 ran/VBD/root>5",
        ),
        (  # what a book is about
            "I/PRP/nsubj>1 read/VBD/root>1 a/DT/det>3 book/NN/obj>1 about/IN/case>5 cats/NNS/obl>1",
            "I/PRP/nsubj>1 read/VBD/root>1 a/DT/det>3 book/NN/obj>1 about/IN/case>5 cats/NNS/nmod>3",
        ),
        (  # names as nouns and adjectives
            "Emil/JJ/nsubj>1 sleeps/VBZ/root>1 and/CC/cc>4 Price/NN/nsubj>4 eats/VBZ/conj>1 it/PRP/obj>4",
            "Emil/NNP/nsubj>1 sleeps/VBZ/root>1 and/CC/cc>4 Price/NNP/nsubj>4 eats/VBZ/conj>1 it/PRP/obj>4",
        ),
        (  # a verb behind a noun that belongs to its subject
            "A/DT/det>1 lid/NN/root>1 of/IN/case>5 a/DT/det>5 pot/NN/compound>5 leaks/NNS/nmod>1 ././punct>1",
            "A/DT/det>1 lid/NN/nsubj>5 of/IN/case>4 a/DT/det>4 pot/NN/nmod>1 leaks/VBZ/root>5 ././punct>5",
        ),
        (  # a verb behind an apposition
            "Ulm/NNP/root>0 ,/,/punct>3 a/DT/det>3 town/NN/conj>0 ,/,/punct>5 lies/NNS/conj>0 in/IN/case>7 "
            "Bavaria/NNP/nmod>5 ././punct>0",
            "Ulm/NNP/nsubj>5 ,/,/punct>3 a/DT/det>3 town/NN/appos>0 ,/,/punct>0 lies/VBZ/root>5 in/IN/case>7 "
            "Bavaria/NNP/nmod>5 ././punct>5",
        ),
        (
            "My/PRP$/nmod:poss>1 son/NN/root>1 Leo/NNP/compound>3 paints/NNS/appos>1 ././punct>1",
            "My/PRP$/nmod:poss>1 son/NN/nsubj>3 Leo/NNP/appos>1 paints/VBZ/root>3 ././punct>3",
        ),
    ],
)
def test_what_is_mended(before: str, after: str) -> None:
    sentence = tree(before)
    repair(*sentence)
    assert written(*sentence) == after


@pytest.mark.parametrize(
    "text",
    [
        "Tom/NNP/nsubj>4 and/CC/cc>2 Eva/NNP/conj>0 often/RB/advmod>4 slept/VBD/root>4 ././punct>4",
        "I/PRP/nsubj>1 saw/VBD/root>1 eggs/NNS/obj>1 ,/,/punct>4 milk/NN/conj>2 and/CC/cc>6 tea/NN/conj>2",
        "The/DT/det>2 dog/NN/compound>2 owners/NNS/root>2 ././punct>2",
        "He/PRP/nsubj>1 gave/VBD/root>1 Tom/NNP/iobj>1 eggs/NNS/obj>1 ././punct>1",
        "Yes/UH/root>0 ././punct>0",
        "The/DT/det>2 town/NN/compound>2 gates/NNS/root>2 of/IN/case>4 Oslo/NNP/nmod>2 ././punct>2",
        "I/PRP/nsubj>1 saw/VBD/root>1 her/PRP$/nmod:poss>3 Olga/NNP/obj>1 ././punct>1",
        "eva/NNP/root>0",
        "I/PRP/nsubj>1 told/VBD/root>1 a/DT/det>3 man/NN/obj>1 about/IN/case>5 cats/NNS/obl>1 ././punct>1",
        "The/DT/det>2 Blue/JJ/amod>2 Room/NN/nsubj>3 smells/VBZ/root>3 ././punct>3",
        "A/DT/det>1 Poem/NN/root>1 About/IN/case>3 Cats/NNS/nmod>1",
        "Eva/NNP/vocative>4 ,/,/punct>0 my/PRP$/nmod:poss>3 boss/NN/nsubj>4 sat/VBD/root>4",
        "The/DT/det>1 man/NN/root>1 who/WP/nsubj>3 ate/VBD/acl:relcl>1 or/CC/cc>5 sat/VBD/conj>3 ././punct>1",
    ],
)
def test_what_is_left(text: str) -> None:
    sentence = tree(text)
    repair(*sentence)
    assert written(*sentence) == text
