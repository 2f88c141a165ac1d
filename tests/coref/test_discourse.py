"""What earlier sentences say of a name: whose last name it is, and how often a word was said."""

from __future__ import annotations

from convai.coref.features import CATEGORIES
from convai.coref.lexicon import Gender, Life
from convai.coref.reading import FeatureReader
from tests.coref.made_up import sentence, tiny_resolver

SAID = list(CATEGORIES).index("said before")


def told(*names: str) -> list[tuple[str, int, int, int]]:
    """For sentences "NAME sang": the name, its gender, life and how often it was said before."""
    reader = FeatureReader(tiny_resolver().words)
    found = []
    for name in names:
        words = name.split()
        n = len(words)
        one = sentence(
            f"{name} sang",
            " ".join(["NNP"] * n + ["VBD"]),
            " ".join([str(n + 1)] + ["1"] * (n - 1) + ["0"]),
            " ".join(["nsubj"] + ["flat"] * (n - 1) + ["root"]),
        )
        table, _ = reader.read([one])  # its first row is the whole name
        assert (table.start[0], table.end[0] - table.start[0]) == (table.start.min(), n)
        found.append((name, int(table.gender[0]), int(table.life[0]), int(table.categories[0, SAID])))
    return found


def test_a_last_name_has_the_gender_of_the_first_name_before_it() -> None:
    assert told("Mcgowan", "Rose Mcgowan", "Mcgowan", "Mcgowan") == [
        ("Mcgowan", Gender.UNKNOWN, Life.UNKNOWN, 0),
        ("Rose Mcgowan", Gender.FEMALE, Life.PERSON, 1),
        ("Mcgowan", Gender.FEMALE, Life.PERSON, 2),
        ("Mcgowan", Gender.FEMALE, Life.PERSON, 2),
    ]


def test_a_title_tells_and_two_who_share_a_last_name_do_not() -> None:
    assert told("Mrs. Hall", "Hall")[1][1] == Gender.FEMALE
    assert told("Mrs. Hall", "Mr. Hall", "Hall")[2][1] == Gender.UNKNOWN
    assert told("Mrs. Hall", "Ben Hall", "Ann Hall", "Hall")[3][1] == Gender.UNKNOWN


def test_a_name_is_told_only_to_later_sentences() -> None:
    reader = FeatureReader(tiny_resolver().words)
    one = sentence("Hall met Rose Hall", "NNP VBD NNP NNP", "2 0 2 3", "nsubj root obj flat")
    table, _ = reader.read([one, one])
    gender = dict(zip(zip(table.start.tolist(), table.end.tolist(), strict=True), table.gender, strict=True))
    assert [gender[0, 1], gender[2, 4], gender[4, 5]] == [Gender.UNKNOWN, Gender.FEMALE, Gender.FEMALE]
