"""Dialogues of several sessions (Multi-Session Chat, Xu et al. 2021): what a memory of the first is worth.

Of each pair of people the first session is told to the memory, and the replies of a later one are scored:
with nothing of the first session in the prompt, with what the memory recalls at each turn, with the labelled
persona of the partner as memory, and with the whole first session before them. The same two people are known
by their names, `NAME-session1` and so on. Both chairs are taken: the agent is each of the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F

from convai.conversation.agent import Agent
from convai.conversation.conversation import Place
from convai.conversation.drawing import draw_together
from convai.conversation.memory.attributes import attributes
from convai.conversation.memory.facts import OpenShelf
from convai.conversation.memory.finding import Resolve
from convai.conversation.memory.listening import KIND, Recollection
from convai.conversation.memory.memory import Memory
from convai.conversation.memory.recalling import BEGIN, lines
from convai.conversation.memory.vectors import Embed
from convai.conversation.reply import Reply
from convai.conversation.scene import Scene
from convai.core.dialog import AGENT, USER, Dialog, Turn
from convai.core.errors import DataError
from convai.evaluation.evaluate import numbered_seed
from convai.text.claims.words import Words, content, normal
from convai.text.insertions import Additions, Insertion
from convai.text.layout import Layout, lay_out
from convai.text.prompt import encode_additions, encode_persona, encode_turns

WAYS: Final = ("without", "memory", "labelled", "whole")
"""What is shown of the first session: nothing, what is recalled, the partner's labelled persona, all."""
ASKED: Final = ("without", "memory", "whole")
"""What the model that is asked about the first session is shown of it."""
_AT_ONCE: Final = 8
"""Questions that are asked side by side, in each of the ways."""
POSITIONS: Final = 4096
"""Room for two whole sessions, where the model has it: nothing is cut."""
_WHO: Final = "partner"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sessions of the same people, the agent speaking as speaker 1 in both."""

    name: str
    first: Dialog
    later: Dialog


def pairs_of(dialogs: Sequence[Dialog]) -> list[Pair]:
    """The first and a later session of the same people, from both chairs. Raises DataError without any."""
    sessions: dict[str, dict[int, Dialog]] = {}
    for dialog in dialogs:
        if dialog.session:
            name, number = dialog.session
            sessions.setdefault(name, {})[number] = dialog
    found = []
    for name, by_number in sorted(sessions.items()):
        for number in sorted(by_number):
            if number > 1 and 1 in by_number:
                first, later = by_number[1], by_number[number]
                found.append(Pair(f"{name}-{number}-{AGENT}", first, later))
                found.append(Pair(f"{name}-{number}-{USER}", first.swapped(), later.swapped()))
    if not found:
        raise DataError(
            "no dialogues of several sessions in it; their ids are like 'NAME-session1', 'NAME-session2'"
        )
    return found


def memory_of(pair: Pair, resolve: Resolve | None, embed: Callable[[], Embed] | None) -> Memory:
    """A memory of what the partner said in the first session."""
    memory = Memory(OpenShelf(), resolve=resolve, embed=embed)
    for number, turn in enumerate(pair.first.turns):
        if turn.speaker == USER:
            memory.learn(_WHO, pair.first.turns[: number + 1], conversation="first", turn=number)
    return memory


@torch.inference_mode()
def perplexities(
    agent: Agent,
    pairs: Sequence[Pair],
    *,
    resolve: Resolve | None = None,
    embed: Callable[[], Embed] | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> dict[str, dict[str, float]]:
    """Of each of WAYS the perplexity a token of the later sessions' replies (`ppl`), and the tokens added."""
    nll = dict.fromkeys(WAYS, 0.0)
    added = dict.fromkeys(WAYS, 0)
    tokens = 0
    for number, pair in enumerate(pairs):
        memory = memory_of(pair, resolve, embed)
        count = 0
        layouts = {way: _laid_out(agent, pair, memory, way) for way in WAYS}
        # a short model's prompts are cut: the same turns are scored in all ways
        scored = min(len(pair.later.turns), *(len(layout.turns) for layout in layouts.values()))
        for way, layout in layouts.items():
            lost, count = _nll(agent, layout, len(layout.turns) - scored)
            nll[way] += lost
            added[way] += layout.tokens().get(KIND, 0)
        tokens += count
        progress("scoring", number + 1, len(pairs))
    return {
        way: {
            "ppl": float(torch.tensor(nll[way] / tokens).exp()) if tokens else float("nan"),
            "tokens_added": added[way] / max(len(pairs), 1),
        }
        for way in WAYS
    } | {"counts": {"pairs": len(pairs), "tokens": tokens}}


def _laid_out(agent: Agent, pair: Pair, memory: Memory, way: str) -> Layout:
    """The later session as one prompt, as it stands when all of it was said."""
    turns = [Turn(turn.speaker, turn.text) for turn in pair.later.turns]
    additions = Additions()
    if way == "memory":
        place = Place(tuple(turns), len(turns))
        additions = Additions(tuple(Recollection(memory, _WHO, "later")(place)))
    elif way == "labelled":
        text = " ".join(pair.first.personas[USER].sentences)
        additions = Additions((Insertion(BEGIN + text, None, KIND),) if text else ())
    elif way == "whole":
        turns = [*(Turn(turn.speaker, turn.text) for turn in pair.first.turns), *turns]
    added, _ = encode_additions(agent.texts, additions)
    return lay_out(
        agent.tokenizer.frame,
        encode_persona(agent.texts, pair.first.persona),
        encode_turns(agent.texts, turns),
        added,
        n_positions=min(POSITIONS, agent.model.config.n_positions),
        reserve=1,
    )


def _nll(agent: Agent, layout: Layout, before: int) -> tuple[float, int]:
    """Of the agent's turns behind the first `before` ones, the end of each counted where the frame closes
    turns.
    """
    prompt, frame = layout.prompt, agent.tokenizer.frame
    speakers = [turn.speaker for turn in layout.turns]
    places = []
    for place, number in enumerate(prompt.turn):
        if number > before and number <= len(speakers) and speakers[number - 1] == AGENT:
            places.append(place)
    ends = [
        place + 1
        for place in places
        if place + 1 < len(prompt) and prompt.turn[place + 1] != prompt.turn[place]
    ]
    targets = sorted({*places, *(end for end in ends if prompt.ids[end] == frame.end_id)})
    if not targets:
        return 0.0, 0
    model = agent.model
    ids, positions, segments = (
        torch.tensor([row], device=model.device) for row in (prompt.ids, prompt.positions, prompt.segments)
    )
    hidden = model(ids, positions, segments)[0]
    logits = model.lm_logits(hidden[[place - 1 for place in targets]]).float()
    wanted = torch.tensor([prompt.ids[place] for place in targets], device=model.device)
    return float(F.cross_entropy(logits, wanted, reduction="sum")), len(targets)


QUESTIONS: Final = {
    "live": "where do i live?",
    "from": "where am i from?",
    "raised": "where did i grow up?",
    "job": "what do i do for a living?",
    "age": "how old am i?",
    "name": "what is my name?",
    "has dog": "do i have any pets?",
    "has cat": "do i have any pets?",
    "has child": "do i have any children?",
    "has brother": "do i have siblings?",
    "has sister": "do i have siblings?",
    "married": "am i married?",
    "drive": "what do i drive?",
    "do play": "what do i play?",
    "do teach": "what do i teach?",
    "do study": "what do i study?",
    "do collect": "what do i collect?",
    "allergic": "what am i allergic to?",
}
"""Slot of a claim → what asks for it."""


@dataclass(frozen=True, slots=True)
class SessionQuestion:
    """A question about the first session whose answer the labelled persona has: `says`, with these words."""

    pair: Pair
    ask: str
    says: str
    words: frozenset[str]
    told: bool
    """Whether the words of the answer were said in the session at all."""


def questions_of(pair: Pair) -> Iterator[SessionQuestion]:
    """What can be asked of the partner's labelled persona with known words as the answer."""
    seen = set()
    said = content(normal(" ".join(turn.text for turn in pair.first.turns if turn.speaker == USER)))
    for sentence in pair.first.personas[USER].sentences:
        for attribute in attributes(sentence):
            slot, value = attribute.claim.slot, attribute.claim.value
            if attribute.subject or not attribute.claim.holds:
                continue
            ask = QUESTIONS.get(slot, "")
            if slot.startswith("favorite "):
                ask = f"what is my {slot}?"
            words = frozenset([slot.removeprefix("has ")]) if slot.startswith("has ") else value
            words = words or value
            if slot == "married":
                words = frozenset({"married"} if "yes" in value else {"single"})
            if ask and words and ask not in seen:
                seen.add(ask)
                yield SessionQuestion(pair, ask, sentence, words, bool(words & said))


def answerable(
    questions: Sequence[SessionQuestion],
    *,
    resolve: Resolve | None = None,
    embed: Callable[[], Embed] | None = None,
) -> dict[str, float]:
    """Shares of questions whose answer is in what the memory puts into the prompt, without a model."""
    held = 0
    memories: dict[str, Memory] = {}
    for question in questions:
        if question.pair.name not in memories:
            memories = {question.pair.name: memory_of(question.pair, resolve, embed)}
        memory = memories[question.pair.name]
        text = " ".join(lines(memory.recall(_WHO, [Turn(USER, question.ask)], conversation="later")))
        held += bool(question.words & content(normal(text)))
    return {"questions": len(questions), "in_prompt": held / max(len(questions), 1)}


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """A question, what the model said with each of the ways, whether it has the words of the answer, and
    whether it says them `of_user`: "i'm a dentist" is no answer to "what do i do for a living?".
    """

    question: SessionQuestion
    answers: dict[str, str]
    right: dict[str, bool]
    of_user: dict[str, bool]


def ask_questions(
    agent: Agent,
    questions: Sequence[SessionQuestion],
    *,
    seed: int = 0,
    resolve: Resolve | None = None,
    embed: Callable[[], Embed] | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> list[AnsweredQuestion]:
    """Ask each question in a new conversation, without the first session, with its memory, and behind all
    of it.

    The labelled persona is not shown: it is what the answers are held against.
    """
    found = []
    with agent.engine() as engine:
        for start in range(0, len(questions), _AT_ONCE):
            some = questions[start : start + _AT_ONCE]
            replies = []
            for number, question in enumerate(some, start):
                memory = memory_of(question.pair, resolve, embed)
                greeting = [Turn(USER, "hello again!"), Turn(AGENT, "Hi! Good to see you.")]
                before = [Turn(turn.speaker, turn.text) for turn in question.pair.first.turns]
                for way in ASKED:
                    turns = [*(before if way == "whole" else ()), *greeting, Turn(USER, question.ask)]
                    sources = (Recollection(memory, _WHO, "later"),) if way == "memory" else ()
                    replies.append(
                        Reply(
                            agent,
                            question.pair.first.persona,
                            Place.after(turns),
                            agent.decoding,
                            seed=numbered_seed(seed, number),
                            max_history=None,
                            scene=Scene(sources),
                        )
                    )
            draw_together(replies, engine.stream)
            texts = iter(reply.final.text for reply in replies)
            for question in some:
                answers = {way: next(texts) for way in ASKED}
                right = {way: bool(question.words & content(normal(text))) for way, text in answers.items()}
                of_user = {way: told_of_user(text, question.words) for way, text in answers.items()}
                found.append(AnsweredQuestion(question, answers, right, of_user))
            progress("questions", min(start + _AT_ONCE, len(questions)), len(questions))
    return found


_SENTENCE: Final = re.compile(r"[^.!?]+[.!?]*")
_YOU: Final = re.compile(r"\byour?s?\b")
_OF_SPEAKER: Final = re.compile(r"\b(?:i|my|me|mine)\b")


def told_of_user(answer: str, words: Words) -> bool:
    """Whether a sentence with one of the words is about the user, or has no speaker ("a dentist.")."""
    return any(
        words & content(sentence) and (_YOU.search(sentence) or not _OF_SPEAKER.search(sentence))
        for sentence in _SENTENCE.findall(normal(answer))
    )
