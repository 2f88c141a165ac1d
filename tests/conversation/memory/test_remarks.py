"""What is said in passing: what of a turn is a remark and what is not; recalled, corrected, bounded."""

from __future__ import annotations

import pytest

from convai.conversation.memory.facts import MOST_REMARKS, OpenShelf, new_fact
from convai.conversation.memory.finding import found_in
from convai.conversation.memory.memory import Memory
from convai.conversation.memory.recalling import Remembered, lines
from convai.conversation.memory.relations import who_is_who
from convai.conversation.memory.remarks import CHARACTERS, MOST, WORDS, remarks
from convai.conversation.memory.retelling import retells
from convai.core import resources
from convai.core.dialog import AGENT, USER, Turn
from convai.evaluation.memory import read_told, tell_and_ask
from convai.text.compose.dialogues import read_talk

ANN = "ann"


def told(memory: Memory, *texts: str, conversation: str = "first") -> None:
    turns: list[Turn] = []
    for text in texts:
        turns.append(Turn(USER, text))
        memory.learn(ANN, turns, conversation=conversation)
        turns.append(Turn(AGENT, "I see."))


def asked(memory: Memory, question: str) -> list[str]:
    return list(lines(memory.recall(ANN, [Turn(USER, question)], conversation="later")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nope, no car. failed the test three times", ["nope, no car. failed the test three times."]),
        ("My bike? Stolen in Ghent.", ["My bike? Stolen in Ghent."]),
        ("you'd like Bo, he carves spoons", ["he carves spoons."]),
        ("green. always green. even the boots", ["green. always green. even the boots."]),
        ("guess what, the club made me treasurer!", ["guess what, the club made me treasurer!"]),
        ("do you like it there? what about the food?", []),
        ("that sounds lovely, it's a great story", []),
        ("tell me about the harbour", []),
        ("it's raining again", []),
        ("i had a terrible night last night", []),
        ('he said "my horse is dead" again', []),
        ("ok cool, thanks!", []),
        ("", []),
    ],
)  # fmt: skip
def test_what_is_a_remark(text: str, found: list[str]) -> None:
    assert remarks(text) == found


def test_what_a_statement_says_is_no_remark_as_well() -> None:
    assert remarks("i have a dog. it rained.", ["i have a dog."]) == []
    found = found_in([Turn(USER, "I have a dog. Mostly the neighbour's kids walk him.")], asides=True)
    assert [(one.text, one.aside) for one in found] == [
        ("I have a dog.", False),
        ("Mostly the neighbour's kids walk him.", True),
    ]
    assert [one.aside for one in found_in([Turn(USER, "green, always green, even boots")])] == []


def test_remarks_are_bounded() -> None:
    found = remarks(" ".join(f"my shelf number {n} holds blue jars." for n in range(400)))
    assert len(found) == MOST
    assert all(len(one.split()) <= WORDS and len(one) <= CHARACTERS for one in found)
    assert remarks("my " + "x" * 5_000) == []


def test_small_talk_leaves_few_remarks() -> None:
    """Of what people say to pass the time little is kept."""
    said = [user for user, _ in read_talk(resources.data_dir() / "compose" / "talk.txt")]
    assert sum(bool(remarks(text)) for text in said) <= len(said) // 5


def test_a_remark_waits_until_somebody_asks() -> None:
    memory = Memory(OpenShelf(), embed=None)
    told(memory, "purple. always purple. even the boots")
    assert asked(memory, "i saw purple boots") == []
    assert asked(memory, "what colour are my boots?") == ["purple. always purple. even the boots."]
    assert asked(memory, "what colour are my boots") == ["purple. always purple. even the boots."]


def test_what_a_remark_says_is_not_said_twice() -> None:
    memory = Memory(OpenShelf(), embed=None)
    told(memory, "the doc says asthma, so i've got an inhaler")
    assert len(memory.facts(ANN)) == 2
    assert len(asked(memory, "do i have an inhaler for my asthma?")) == 1


def test_a_corrected_remark_is_history() -> None:
    memory = Memory(OpenShelf(), embed=None)
    told(
        memory, "the wedding's at the old church", "no, the wedding won't be at a church now, registry office"
    )
    (now,) = memory.facts(ANN)
    assert "registry" in now.text
    assert asked(memory, "where's the wedding?") == [now.text]
    before = next(fact for fact in memory.facts(ANN, history=True) if not fact.current)
    memory.bring_back(ANN, before.id)
    assert asked(memory, "where's the wedding?") == [before.text]


def test_a_remark_goes_with_the_fact_that_it_repeats() -> None:
    memory = Memory(OpenShelf(), embed=None)
    told(memory, "i live in lima, the harbour smells of diesel and fish", "no, i moved to oslo.")
    assert [fact.text for fact in memory.facts(ANN)] == ["i moved to oslo."]


def test_other_matters_stay() -> None:
    assert not retells("no, i have a cat now.", "my sister has a dog.")
    assert not retells("i work mornings now.", "my mother works at the harbour.")
    assert retells("i work mornings now.", "i work nights at the depot.")
    assert not retells("i work mornings.", "i work nights at the depot.")


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("not the 4 any more, they moved me to line 1", "i drive the number 4 tram."),
        ("scratch lima, her back won't take it", "in june we're cycling to lima."),
        ("wout changed his mind, it's the fire brigade", "wout wants to be a carpenter."),
        ("down to 38 pigeons, a hawk had three", "forty pigeons at the moment."),
        ("it's three ferrets now", "two ferrets ride along in the van."),
        ("we moved the wedding to march", "the wedding is in october."),
        ("the ankle's fine again", "i twisted my ankle."),
    ],
)
def test_what_holds_no_more(new: str, old: str) -> None:
    assert retells(new, old)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("not the 4 any more, they moved me to line 1", "a tabby walked in four winters ago."),
        ("wout changed his mind", "wout is sixteen."),
        ("it's three ferrets now", "i like ferrets."),
    ],
)
def test_what_still_holds(new: str, old: str) -> None:
    assert not retells(new, old)


def test_what_sounds_like_a_question_or_a_command_and_tells() -> None:
    assert remarks("failed anatomy twice before i got it, so never give up, right?")
    assert remarks("don't ever serve me chicory, i'd rather eat the plate")
    assert remarks("needles are fine, but moths? i leave the room") == [
        "needles are fine, but moths? i leave the room."
    ]
    assert remarks("it's three ferrets now, pepper turned up")
    assert remarks("it's a lovely yellow colour, pepper said") == []
    assert remarks("don't ever tell anybody about the ferrets in the van") == []


def test_the_oldest_remarks_are_forgotten_and_no_fact_is() -> None:
    shelf = OpenShelf()
    shelf.put(ANN, new_fact("i live in lima."))
    for n in range(MOST_REMARKS):
        shelf.put(ANN, new_fact(f"green jars number {n} and boots", aside=True))
    memory = Memory(shelf, embed=None)
    told(memory, "purple. always purple. even the boots")
    kept = memory.facts(ANN)
    assert len(kept) == MOST_REMARKS + 1
    assert (kept[0].text, kept[1].text) == ("i live in lima.", "green jars number 1 and boots")


def test_who_is_who() -> None:
    people = who_is_who(
        [
            "my brother Jory shears sheep.",
            "Wenna's my sister.",
            "my boss, Len, is tall.",
            "our dog is called rex",
        ]
    )
    assert people == {
        "jory": frozenset({"brother"}),
        "wenna": frozenset({"sister"}),
        "len": frozenset({"boss"}),
        "rex": frozenset({"dog"}),
    }
    facts = [
        new_fact("Wenna's my sister."),
        new_fact("wenna fixes lorries."),
        new_fact("jory fixes lorries."),
    ]
    found = Remembered(facts, None).recalled([Turn(USER, "what does my sister fix?")], 1, "")
    assert {fact.text for one in found for fact in one.facts} == {
        "Wenna's my sister.",
        "wenna fixes lorries.",
    }


def test_an_edited_remark_is_a_fact() -> None:
    memory = Memory(OpenShelf(), embed=None)
    told(memory, "purple. always purple. even the boots")
    (fact,) = memory.facts(ANN)
    assert not memory.edit(ANN, fact.id, "my favorite color is purple.").aside


def test_facts_in_free_words_are_recalled() -> None:
    """Those that the rules were mended on, and sixty that they were not."""
    _, free = tell_and_ask(read_told(resources.memory_facts_path("free")))
    _, unseen = tell_and_ask(read_told(resources.memory_facts_path("unseen")))
    assert free["right"] >= 0.85
    assert unseen["right"] >= 0.7
    assert max(free["wrong"], unseen["wrong"]) <= 0.02


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("the budgie is called 'Mango' and my sister hates it", True),
        ("the cast came off this morning, look at my leg", True),
        ("ran the 10k in 51 minutes yesterday", True),
        ("my aunt said 'never trust a man in white shoes' at dinner", False),
        ("the soup was too salty today", False),
    ],
)
def test_what_happened_today_is_kept_where_something_is_otherwise_since(said: str, kept: bool) -> None:
    assert bool(remarks(said)) is kept
