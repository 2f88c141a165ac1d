"""Second sessions: training shows memory lines exactly as a conversation does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convai.conversation.conversation import Place
from convai.conversation.memory.facts import OpenShelf
from convai.conversation.memory.listening import Recollection
from convai.conversation.memory.memory import Memory
from convai.core import resources
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.text.compose.dialogues import Composer
from convai.text.insertions import Additions
from convai.text.layout import lay_out
from convai.text.prompt import encode_additions, encode_dialogs, encode_persona, encode_turns
from convai.text.segments import build_prompt, dialogue_tree
from convai.text.tokenizer import Tokenizer
from convai.training.corpus import EncodedCorpus
from convai.training.remembered import second_sessions
from tests.chat_templates import chat_bytes
from tests.chatting import tiny_agent

TOLD = Dialog(
    (
        Turn(USER, "hi! i live in lima."),
        Turn(AGENT, "nice."),
        Turn(USER, "i have a parrot named gustav."),
        Turn(AGENT, "oh!"),
        Turn(USER, "where do i live?"),
        Turn(AGENT, "in lima."),
        Turn(USER, "what's my parrot called?"),
        Turn(AGENT, "gustav."),
    ),
    (Persona(), Persona(("i am a nurse.",))),
)


def lines(dialog: Dialog) -> list[str]:
    return [line for turn in dialog.turns for line in turn.added]


def seconds(*, blocks: bool) -> list[Dialog]:
    found = [next(second_sessions([TOLD], 1.0, seed, blocks=blocks)) for seed in range(20)]
    return [dialog for dialog in found if dialog != TOLD]


def test_what_was_told_before_stands_where_it_is_called_for() -> None:
    found = seconds(blocks=True)
    assert found
    for dialog in found:
        begun = len(TOLD.turns) - len(dialog.turns)
        assert [turn.text for turn in dialog.turns] == [turn.text for turn in TOLD.turns[begun:]]
        assert dialog.persona.sentences == ("i am a nurse.", "The user told you: i live in lima.")
        if begun == 4:
            assert lines(dialog) == ["The user told you: i have a parrot named gustav."]
            assert dialog.turns[0].added  # the first question about themselves calls for what little there is
    assert {len(dialog.turns) for dialog in found} == {4, 6}


def test_without_blocks_all_lines_stand_beside_the_persona() -> None:
    for dialog in seconds(blocks=False):
        assert lines(dialog) == []
        assert "The user told you: i live in lima." in dialog.persona.sentences


def test_the_same_seed_gives_the_same_and_a_share_of_none_changes_nothing() -> None:
    dialogs = list(Composer(resources.data_dir() / "compose").dialogs(12, 0))
    one, again = (list(second_sessions(dialogs, 0.5, 3, blocks=True)) for _ in range(2))
    assert one == again
    assert list(second_sessions(dialogs, 0.0, 3, blocks=True)) == dialogs
    changed = [dialog for dialog, before in zip(one, dialogs, strict=True) if dialog != before]
    assert 0 < len(changed) < len(dialogs)


def test_the_partners_persona_counts_as_told() -> None:
    theirs = Persona(("i play the cello.", "i have two sons.", "i am a baker.", "i hate olives."))
    dialog = Dialog(
        tuple(Turn(i % 2, "what do i play, and do i have sons?" if i % 2 == 0 else "hm.") for i in range(8)),
        (theirs, Persona(("i am a nurse.",))),
    )
    found = [next(second_sessions([dialog], 1.0, seed, blocks=True)) for seed in range(10)]
    told = " ".join(line for one in found for line in (*lines(one), *one.persona.sentences))
    assert "i play the cello." in told
    assert all(one.personas[USER] == theirs for one in found)


@pytest.mark.parametrize("tokenizer", [chat_bytes(), tiny_agent().tokenizer], ids=["chatml", "blog"])
def test_training_writes_them_as_a_conversation_does(tokenizer: Tokenizer) -> None:
    """The ids of a second session are those of a prompt with the memory's insertions."""
    frame = tokenizer.frame
    for dialog in seconds(blocks=frame.has_blocks):
        memory = Memory(OpenShelf())
        for place in range(len(TOLD.turns) - len(dialog.turns)):
            if TOLD.turns[place].speaker == USER:
                memory.learn("ann", TOLD.turns[: place + 1], conversation="first", turn=place)
        plain = [replace(turn, added=()) for turn in dialog.turns]
        insertions = Recollection(memory, "ann", "later")(Place(tuple(plain), len(plain)))
        added, _ = encode_additions(tokenizer, Additions(tuple(insertions)))
        persona = encode_persona(tokenizer, TOLD.persona)
        layout = lay_out(frame, persona, encode_turns(tokenizer, plain), added, n_positions=4000, reserve=1)
        [encoded] = encode_dialogs(tokenizer, [dialog])
        prompt = build_prompt(frame, encoded.persona, encoded.turns)
        assert prompt.ids == layout.prompt.ids
        assert prompt.positions == layout.prompt.positions
        assert prompt.segments == layout.prompt.segments
        assert prompt.turn == layout.prompt.turn


def test_lines_are_kept_counted_and_never_learnt() -> None:
    tokenizer = chat_bytes()
    frame = tokenizer.frame
    dialogs = list(encode_dialogs(tokenizer, seconds(blocks=True)))
    corpus = EncodedCorpus.pack(dialogs)
    assert list(corpus) == [
        replace(one, turns=[replace(t, distractors=[], added=[list(a) for a in t.added]) for t in one.turns])
        for one in dialogs
    ]
    owners, units = corpus.replies()
    assert len(owners) == len(units) == sum(len(one.turns) // 2 for one in dialogs)
    for one in dialogs:
        tree = dialogue_tree(frame, one.persona, one.turns)
        size = frame.persona_size(one.persona) + sum(turn.size(frame) for turn in one.turns)
        assert len(tree) == size
        learnt = sum(label >= 0 for label in tree.labels)
        assert learnt == sum(len(turn.ids) + 1 for turn in one.turns if turn.speaker == AGENT)


EARLIER = Dialog(TOLD.turns[:4], TOLD.personas, id="ann-session1")
LATER = Dialog(
    (
        Turn(USER, "hello again!"),
        Turn(AGENT, "welcome back."),
        Turn(USER, "what's my parrot called?"),
        Turn(AGENT, "gustav."),
        Turn(USER, "and where do i live?"),
        Turn(AGENT, "in lima."),
    ),
    TOLD.personas,
    id="ann-session2",
)


def test_a_later_session_has_the_memory_of_the_earlier_ones() -> None:
    first, second = second_sessions([EARLIER, LATER], 0.0, 0, blocks=True)
    assert first == EARLIER
    assert second.persona.sentences == ("i am a nurse.", "The user told you: i live in lima.")
    assert [turn.added for turn in second.turns] == [
        (),
        (),
        ("The user told you: i have a parrot named gustav.",),
        (),
        (),
        (),
    ]
    assert all(turn.target for turn in second.turns)
    assert [turn.text for turn in second.turns] == [turn.text for turn in LATER.turns]


def test_sessions_of_others_or_of_later_days_are_not_remembered() -> None:
    other = replace(LATER, id="ben-session2")
    assert list(second_sessions([EARLIER, other], 0.0, 0, blocks=True)) == [EARLIER, other]
    assert list(second_sessions([LATER, EARLIER], 0.0, 0, blocks=True)) == [LATER, EARLIER]


def test_each_chair_of_a_session_remembers_what_the_other_one_said() -> None:
    dialogs = [EARLIER, EARLIER.swapped(), LATER, LATER.swapped()]
    *_, mine, theirs = second_sessions(dialogs, 0.0, 0, blocks=True)
    assert "lima" in " ".join(mine.persona.sentences)
    assert "lima" not in " ".join((*theirs.persona.sentences, *lines(theirs)))


def test_what_no_line_tells_is_not_learnt() -> None:
    """The earlier session told of the parrot's colour in words that no question calls for."""
    early = replace(
        EARLIER, turns=(*EARLIER.turns, Turn(USER, "did you see how purple it is?"), Turn(AGENT, "no."))
    )
    asks = replace(
        LATER, turns=(*LATER.turns[:2], Turn(USER, "what colour did i say?"), Turn(AGENT, "purple!"))
    )
    _, second = second_sessions([early, asks], 0.0, 0, blocks=True)
    assert [turn.target for turn in second.turns] == [True, True, True, False]
