"""Each kind of exchange keeps its promise: the last value holds, nothing untold is said, inventions stay."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from convai.core import resources
from convai.core.dialog import AGENT
from convai.core.errors import ConvaiError, DataError
from convai.text.compose.about_partner import (
    event,
    event_recall,
    recall,
    recall_free,
    recall_whether,
    tell,
    tell_free,
    untold,
)
from convai.text.compose.changes import changed, correct, phrase
from convai.text.compose.checks import check_value
from convai.text.compose.dialogues import Composer
from convai.text.compose.own_words import read_templates
from convai.text.compose.people import Person, Trait
from convai.text.compose.person import to_you
from convai.text.compose.scene import DialogueDraft, ToldTrait
from convai.text.compose.small_talk import lengthened, share
from convai.text.compose.unknown import invent, untold_thing, untold_whether

FOLDER = resources.data_dir() / "compose"
SHARED = Composer(FOLDER)
SLOTS = sorted({head.split()[0] for head in SHARED.world.changes if head != "any"})
SEEDS = range(8)


def scene(seed: int = 0) -> DialogueDraft:
    """A violinist with a sister, a city and a dog, and a partner of whom nothing is known."""
    rng = random.Random(seed)
    agent, partner = SHARED.world.person(rng), SHARED.world.person(rng)
    for slot, values in (
        ("instrument", {"instrument": "violin"}),
        ("city", {"city": "Oslo"}),
        ("pet", {"pet": "dog", "petname": "Biscuit"}),
        ("sibling", {"sib": "sister", "sibname": "Uma", "sibjob": "baker"}),
    ):
        agent.facts[slot] = Trait(slot, values)
    return DialogueDraft(rng, SHARED.world, SHARED.forms, SHARED.talk, SHARED.events, agent, partner)


def test_articles_of_corrected_values() -> None:
    assert phrase("job", "actor") == "an actor"
    assert phrase("instrument", "oboe") == "the oboe"
    assert phrase("city", "Oslo") == "Oslo"


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_value_is_answered_and_will_be_asked(slot: str, seed: int) -> None:
    stage = scene(seed)
    assert tell(stage, slot)
    before = dict(stage.told[slot].fact.values)
    found = correct(stage)
    assert found
    after = stage.told[slot].fact.values
    different = [key for key in after if after[key] != before[key]]
    assert different
    assert before.keys() == after.keys()
    said = " ".join(found).lower()
    assert any(after[key].lower() in said for key in different)
    assert [due for due, _ in stage.due] == [slot]
    assert stage.partner.facts[slot].values == after
    stage.number += 6
    asked = recall(stage, slot)
    assert asked
    reply = asked[1].lower()
    values = [to_you(after[key]).lower() for key in different]
    kept = [to_you(value).lower() for key, value in after.items() if key not in different]
    assert any(value in reply for value in values + kept)
    for key in different:
        if len(before[key]) > 3 and not any(before[key] in value for value in after.values()):
            assert not re.search(rf"\b{re.escape(before[key].lower())}\b", reply)


@pytest.mark.parametrize("seed", range(30))
def test_no_correction_without_something_told(seed: int) -> None:
    assert correct(scene(seed)) is None


@pytest.mark.parametrize("move", [untold, untold_thing, untold_whether])
@pytest.mark.parametrize("seed", range(25))
def test_what_was_never_told_is_not_known(move, seed: int) -> None:  # type: ignore[no-untyped-def]
    stage = scene(seed)
    stage.number = 2
    found = move(stage)
    assert found
    reply = found[1]
    assert re.search(
        r"n't|never|not|[Nn]o idea|[Nn]othing|Not a clue|You didn't|How should I|have to guess|news to me",
        reply,
    )
    assert not re.search(
        r"\byou (play the violin|live in Oslo)|your (dog|sister)'s name is|[Yy]ou have a dog", reply
    )
    if "violin" in reply or "Oslo" in reply:
        assert re.search(r"\b(I|I'm|my|me)\b", reply)


def test_a_thing_that_was_told_is_not_called_untold() -> None:
    for seed in range(60):
        stage = scene(seed)
        stage.free_told["I wear glasses and a hearing aid and read a book in the market"] = 0
        found = untold_thing(stage)
        assert found
        assert not re.search(r"wearing|book|market", found[0])


@pytest.mark.parametrize("seed", range(25))
def test_an_invention_stays_when_it_is_asked_again(seed: int) -> None:
    stage = scene(seed)
    found = invent(stage)
    assert found
    (question, (clause, _)), *_ = stage.invented.items()
    assert clause.lower() in found[1].lower()
    for number in range(2, 40):
        stage.number = number
        invent(stage)
        if f"again {question}" in stage.used:
            break
    assert stage.invented[question][0] == clause
    assert len(set(stage.invented)) == len(stage.invented)


def test_an_invention_leaves_alone_what_the_persona_says() -> None:
    for seed in range(60):
        stage = scene(seed)
        stage.agent.facts["habit"] = Trait("habit", {"habit": "sleep in a hammock every night"})
        found = invent(stage)
        assert found
        assert not re.search(r"sleep|get up|tonight|evening", found[0])


@pytest.mark.parametrize("partner", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_a_wrong_name_is_denied_and_the_right_one_said(partner: bool, seed: int) -> None:
    for true in (True, False):
        stage = scene(seed)
        if partner:
            stage.told = {
                slot: ToldTrait(fact, "", 0) for slot, fact in stage.agent.facts.items() if slot != "name"
            }
            stage.agent = Person("Ann", True)
            stage.number = 3
        found = check_value(stage, partner=partner, true=true)
        assert found
        said, reply = found
        if true:
            assert not re.match(r"(No|Nope|Not|Almost|Close)\b", reply)
        else:
            assert re.match(
                r"(No|Nope|Not|Almost|Close|Oh no|Actually, no|I'm afraid not|That's wrong|I don't|Hm, no)",
                reply,
            )
            assert re.search(r"violin|Oslo|Biscuit|Uma|baker|" + stage.agent.name, reply)
        if partner:
            assert not re.search(r"\byour\b", said)


def test_a_change_keeps_the_rest_of_the_fact() -> None:
    fact = Trait("sibling", {"sib": "brother", "sibname": "Ian", "sibjob": "baker"})
    for seed in range(20):
        values = changed(scene(seed), fact, "sibname").values
        assert values["sibname"] in SHARED.world.lists["men"]
        assert (values["sib"], values["sibjob"]) == ("brother", "baker")


def test_facts_of_several_parts_go_with_the_person() -> None:
    rng = random.Random(5)
    for _ in range(200):
        person = SHARED.world.person(rng)
        SHARED.world.add(rng, person, "job")
        free = SHARED.world.add_own_words(rng, person)
        assert free
        assert not re.search(r"[{}\[\]]", free.clause + "".join(q + "".join(a) for q, a in free.questions))
        assert person.facts["job"].values["job"] not in free.clause
        assert "job" not in person.settled
        assert not person.settled & person.facts.keys()


def test_a_template_names_what_it_settles(tmp_path: Path) -> None:
    file = tmp_path / "own_words.txt"
    file.write_text("my aunt sings.\n? Who sings? => my aunt\n")
    with pytest.raises(DataError, match=r"no .slots. before"):
        read_templates(file)


@pytest.mark.parametrize("seed", range(20))
def test_of_relatives_that_were_told_the_right_one_is_named(seed: int) -> None:
    stage = scene(seed)
    while not stage.partner.settled and not stage.partner.free:
        tell_free(stage)
    stage.number = 4
    found = recall_free(stage)
    assert found is None or not re.search(r"\b(my|mine|I|I'm)\b.*(sister|brother|aunt|uncle)", found[1])


@pytest.mark.parametrize("seed", range(20))
def test_news_are_told_back(seed: int) -> None:
    stage = scene(seed)
    assert event(stage)
    kind, clause, _ = stage.events_told[0]
    assert event_recall(stage) is None
    stage.number = 5
    found = event_recall(stage)
    assert found
    assert to_you(clause).lower() in found[1].lower()
    if kind == "good":
        assert "sorry" not in found[1]


@pytest.mark.parametrize("seed", range(40))
def test_me_too_is_said_only_where_it_is_so(seed: int) -> None:
    stage = scene(seed)
    found = share(stage)
    if found and re.search(r"Me too|as well|, too!|both|in common", found[1]):
        (slot, told), *_ = stage.told.items()
        assert told.fact == stage.agent.facts[slot]


def test_a_reply_that_asks_or_is_long_stays() -> None:
    for seed in range(30):
        assert lengthened(scene(seed), "ask", "And you?") == "And you?"
        long = "This is a reply that has quite a number of words in it already."
        assert lengthened(scene(seed), "ask", long) == long
        assert lengthened(scene(seed), "ask", "Yes.").startswith("Yes.")


def test_replies_are_of_a_natural_length() -> None:
    words = [len(t.text.split()) for d in SHARED.dialogs(150, 2) for t in d.turns if t.speaker == AGENT]
    assert 8 < sum(words) / len(words) < 12


def test_kinds_can_be_weighted() -> None:
    none = dict.fromkeys(SHARED.weights, 0)
    dialog = next(iter(Composer(FOLDER, weights={**none, "chat": 1}).dialogs(1, 0)))
    assert dialog.turns
    with pytest.raises(ConvaiError, match="leave nothing to say"):
        list(Composer(FOLDER, weights={**none, "correct": 1}).dialogs(1, 0))
    with pytest.raises(ConvaiError, match="no exchanges of the kind 'chatt'"):
        Composer(FOLDER, weights={"chatt": 3})


@pytest.mark.parametrize("seed", SEEDS)
def test_whether_something_was_told_at_all_is_answered_with_what_was_told(seed: int) -> None:
    stage = scene(seed)
    for slot in ("pet", "child", "instrument", "spouse"):
        assert tell(stage, slot)
    stage.number += 5
    found = recall_whether(stage)
    assert found
    assert re.search(r"\b(I|my|am I)\b", found[0])
    assert not re.search(r"\byou\b.*\?", found[0])
    values = [v for told in stage.told.values() for v in told.fact.values.values()]
    assert any(value.lower() in found[1].lower() for value in values)
    if re.search(r"\bam I (single|alone)\b", found[0], re.I):
        assert not found[1].startswith("Yes")
    else:
        assert not found[1].startswith("No")


def test_nothing_that_was_not_told_is_asked_for_like_that() -> None:
    assert recall_whether(scene()) is None
    stage = scene()
    tell(stage, "pet")
    assert recall_whether(stage) is None  # just said
