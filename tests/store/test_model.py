"""Against a model of a few lines, and a conversation in memory: after any operations all show the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from convai.conversation.conversation import Conversation, Place
from convai.core.dialog import AGENT, USER, Persona
from convai.store import Store
from tests.store.helpers import ANN, made

PICK = st.integers(0, 10**6)


def machine(path: Path) -> type[RuleBasedStateMachine]:
    store = Store(path)

    class Machine(RuleBasedStateMachine):
        """The model: id → (parent, speaker, text, status), in order of birth, and the end of the branch."""

        @initialize()
        def begin(self) -> None:
            self.id = store.create(ANN).conversation
            self.nodes: dict[str, tuple[str | None, int, str, str]] = {}
            self.leaf: str | None = None
            self.draft: str | None = None
            self.count = 0
            self.talk = Conversation(Persona())
            self.place = Place()
            self.names: dict[str | None, str | None] = {None: None}
            """Ids of the store → those in memory."""

        def keep(self, id: str, speaker: int, text: str, **more: Any) -> None:
            """The same in memory."""
            parent = self.names[self.nodes[id][0]]
            self.names[id] = self.talk.add(speaker, text, parent=parent, **more).id

        def text(self) -> str:
            self.count += 1
            return f"text {self.count}"

        def add(self, id: str | None, parent: str | None, speaker: int, text: str, status: str) -> str:
            self.nodes[made(id)] = (parent, speaker, text, status)
            return made(id)

        def pick(self, number: int) -> str:
            return list(self.nodes)[number % len(self.nodes)]

        idle = precondition(lambda self: self.draft is None)
        filled = precondition(lambda self: self.draft is None and bool(self.nodes))
        drafting = precondition(lambda self: self.draft is not None)

        @idle
        @rule()
        def say(self) -> None:
            text = self.text()
            receipt = store.append_user(ANN, self.id, text)
            self.leaf = self.add(receipt.message, self.leaf, USER, text, "complete")
            self.keep(self.leaf, USER, text)

        @filled
        @rule(number=PICK)
        def regenerate(self, number: int) -> None:
            old = self.pick(number)
            parent = old if self.nodes[old][1] == USER else self.nodes[old][0]
            drawn = store.replies(ANN, self.id, parent)
            name, self.place = self.talk.again(self.names[old])
            assert (name, self.place.attempt) == (self.names[parent], drawn.attempts)
            assert self.place.rejected == tuple(dict.fromkeys(drawn.texts))
            receipt = store.regenerate(ANN, self.id, old)
            self.draft = self.add(receipt.message, parent, AGENT, "", "streaming")

        @filled
        @rule(number=PICK)
        def edit(self, number: int) -> None:
            old, text = self.pick(number), self.text()
            receipt = store.edit(ANN, self.id, old, text)
            self.leaf = self.add(receipt.message, self.nodes[old][0], self.nodes[old][1], text, "complete")
            self.names[self.leaf] = self.talk.edit(made(self.names[old]), text).id

        @filled
        @rule(number=PICK)
        def switch(self, number: int) -> None:
            chosen = self.pick(number)
            below = {chosen}
            for id, (parent, *_) in self.nodes.items():
                if parent in below:
                    below.add(id)
            self.leaf = [id for id in self.nodes if id in below][-1]
            assert store.switch(ANN, self.id, chosen).message == self.leaf
            self.talk.switch(made(self.names[chosen]))

        @precondition(lambda self: self.draft is None and any(n[1] == USER for n in self.path()))
        @rule()
        def undo(self) -> None:
            store.undo(ANN, self.id)
            self.talk.undo()
            self.leaf = [n for n in self.path() if n[1] == USER][-1][0]

        @drafting
        @rule()
        def save(self) -> None:
            assert self.draft
            text = self.text()
            store.save_draft(ANN, self.id, self.draft, text)
            self.nodes[self.draft] = (*self.nodes[self.draft][:2], text, "streaming")
            self.leaf = self.draft

        @drafting
        @rule(status=st.sampled_from(["complete", "interrupted"]))
        def finish(self, status: Any) -> None:
            assert self.draft
            text = self.text()
            store.finish_reply(ANN, self.id, self.draft, text, status=status)
            self.nodes[self.draft] = (*self.nodes[self.draft][:2], text, status)
            self.keep(self.draft, AGENT, text, attempt=self.place.attempt, interrupted=status != "complete")
            self.leaf, self.draft = self.draft, None

        @drafting
        @rule()
        def drop(self) -> None:
            assert self.draft
            store.drop_reply(ANN, self.id, self.draft)
            parent, speaker, text, _ = self.nodes.pop(self.draft)
            if text:
                self.nodes[self.draft] = (parent, speaker, text, "interrupted")
                self.keep(self.draft, AGENT, text, attempt=self.place.attempt, interrupted=True)
            self.draft = None

        @drafting
        @rule()
        def die(self) -> None:
            """Another process opens the database: to it the draft's writer is dead."""
            assert self.draft
            with Store(path) as later:
                shown = {m.id: m.status for m in later.tree(ANN, self.id)}
                assert shown.get(self.draft) == ("interrupted" if self.nodes[self.draft][2] else None)

        def path(self) -> list[tuple[str | None, int, str, str]]:
            found, at = [], self.leaf
            while at is not None:
                found.append(self.nodes[at])
                at = self.nodes[at][0]
            return found[::-1]

        @invariant()
        def same(self) -> None:
            if not hasattr(self, "id"):
                return
            path, earlier = store.branch(ANN, self.id)
            assert [(m.parent, m.speaker, m.text, m.status) for m in path] == self.path()
            assert earlier == 0
            if self.draft is None:
                assert [m.text for m in self.talk.branch()] == [m.text for m in path]
            tree = store.tree(ANN, self.id)
            assert {m.id: (m.parent, m.speaker, m.text, m.status) for m in tree} == self.nodes
            for message in tree:
                group = [id for id, node in self.nodes.items() if node[0] == message.parent]
                assert (message.siblings, group[message.index]) == (len(group), message.id)
                near = [None, *group, None]
                assert (message.previous, message.next) == (near[message.index], near[message.index + 2])

    return Machine


@pytest.mark.slow
def test_the_store_is_its_model(tmp_path: Path) -> None:
    run_state_machine_as_test(
        machine(tmp_path / "chats.db"), settings=settings(max_examples=15, stateful_step_count=25)
    )
