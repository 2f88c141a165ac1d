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
        assert dialog.persona.sentences == ("i am a nurse.", "The user: i live in lima.")
        if begun == 4:
            assert lines(dialog) == ["The user: i have a parrot named gustav."]
            assert dialog.turns[2].added
    assert {len(dialog.turns) for dialog in found} == {4, 6}


def test_without_blocks_all_lines_stand_beside_the_persona() -> None:
    for dialog in seconds(blocks=False):
        assert lines(dialog) == []
        assert "The user: i live in lima." in dialog.persona.sentences


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
