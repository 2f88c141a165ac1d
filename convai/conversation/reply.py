"""A reply in the making, without I/O: what the engine is asked for, what can be shown, what it comes to.

Every door draws its replies through this module, a thread with `for`, a coroutine with `async for`, so that
the same persona, turns, settings and seed give the same reply in the terminal, on a socket and over REST.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from convai.conversation.agent import Talker
from convai.conversation.conversation import LOOK_BACK, Place
from convai.conversation.explain import Explanation, Input, input_rows, reply_rows
from convai.conversation.hooks import NO_HOOKS, Hooks, bonuses
from convai.conversation.own_words import OwnWords, own_words
from convai.conversation.repeating import not_again
from convai.conversation.scene import EMPTY, Scene, Summarise
from convai.core.dialog import AGENT, Persona, Turn, history_window
from convai.core.safe_text import OneLine, one_line
from convai.core.settings import DecodingConfig
from convai.engine import Begun, Event, Finished, Request, Token
from convai.text.history import fit_history
from convai.text.insertions import NOTHING, Additions, Insertion
from convai.text.layout import Layout, lay_out
from convai.text.prompt import encode_additions, encode_persona, encode_turns
from convai.text.tokenizer import Tokenizer

SILENCE: Final = "..."
"""The reply where the model came up with nothing that can be shown, again and again."""
TRIES: Final = 4
"""Draws before SILENCE."""
SUMMARY: Final = "summary"
"""What the line about turns that are not shown any more is accounted as."""
_MESSAGE: Final = 8
"""Positions that a persona leaves at least for what is said to it."""


def prompt_input(
    agent: Talker,
    persona: Persona,
    place: Place,
    speaker: int,
    *,
    max_history: int | None,
    max_length: int,
    additions: Additions = NOTHING,
    summary: Summarise | None = None,
) -> Input:
    """What the model is shown as `speaker` is to speak at `place`.

    That is the last `max_history` exchanges before it, what is added to them, and what the speaker has said
    already; with `summary` a line about what has left the window. Raises SettingsError where persona and last
    turn leave no room for a reply.
    """
    tokenizer, texts = agent.tokenizer, agent.texts
    window = [Turn(turn.speaker, turn.text, name=turn.name) for turn in _window(place, max_history)]
    reserve = _reserve(agent, max_length)

    def laid(additions: Additions) -> Layout:
        added, examples = encode_additions(texts, additions) if additions else ((), ())
        return lay_out(
            tokenizer.frame,
            encode_persona(texts, persona),
            encode_turns(texts, window),
            added,
            examples,
            speaker=speaker,
            prefill=tokenizer.encode(place.prefill) if place.prefill else (),
            n_positions=agent.positions,
            reserve=reserve,
            in_steps=max_history is None and agent.has_long_context,
        )

    layout = laid(additions)
    told = window if max_history is None else place.turns
    for _ in range(2 if summary is not None else 0):  # a summary takes room, for which more may have to go
        assert summary is not None
        gone = told[: len(told) - len(layout.turns)]
        text = summary([turn for turn in gone if turn.speaker == AGENT or not turn.name])
        if not text or any(one.text == text for one in layout.insertions):
            break
        line = Insertion(text, None, SUMMARY, why="what is not shown any more")
        layout = laid(Additions((*additions.insertions, line), additions.examples))
    return Input(layout, place.number - len(layout.turns), agent.positions, reserve)


def _window(place: Place, max_history: int | None) -> Sequence[Turn]:
    """The turns of which as many are shown as fit, or the last `max_history` exchanges.

    Of a place that knows the latest turns alone those count that follow a multiple of half of what it knows.
    So the first of them, from which a history is cut in steps, stays for many turns.
    """
    if max_history is not None:
        return history_window(place.turns, max_history)
    earlier = place.number - len(place.turns)
    return place.turns[-earlier % (LOOK_BACK // 2) :] if earlier > 0 else place.turns


def check_persona(agent: Talker, persona: Persona, max_length: int) -> None:
    """Raise SettingsError where a persona leaves the model no room for a message and its reply."""
    ids = encode_persona(agent.texts, persona)
    reserve = _reserve(agent, max_length) + _MESSAGE
    fit_history(agent.tokenizer.frame, ids, (), n_positions=agent.positions, reserve=reserve)


def room_of(agent: Talker, max_length: int) -> int:
    """Tokens that there are for what stands before the turns, so that these have a quarter of the prompt."""
    room = agent.positions - _reserve(agent, max_length) - _MESSAGE
    return max(room - room // 4, 0)


def longest_reply(agent: Talker, persona: Persona, place: Place) -> int:
    """Most tokens of a reply at `place`, where given the last turn alone before it; 0: none fits."""
    frame = agent.tokenizer.frame
    last = encode_turns(agent.texts, [Turn(turn.speaker, turn.text) for turn in place.turns[-1:]])
    taken = frame.persona_size(encode_persona(agent.texts, persona)) + frame.around_reply
    taken += sum(frame.turn_size(turn.speaker, len(turn.ids)) for turn in last)
    taken += len(agent.tokenizer.encode(place.prefill)) if place.prefill else 0
    return max(agent.positions - taken, 0)


def _reserve(agent: Talker, max_length: int) -> int:
    """Positions kept for the reply and what is around it; a long one has what is left."""
    return min(max_length, agent.positions // 4) + agent.tokenizer.frame.around_reply


class Reply:
    """What is drawn at a place of a conversation.

    `request`, `tokens`, `finished`, `chosen`, `shown` and `called` are for reading.

    Ask the engine for each of `requests()` in turn and hand every event to `take`. When there is no further
    request, `finished[chosen]` is the reply. One that is stopped before that is `shown`.
    """

    def __init__(
        self,
        agent: Talker,
        persona: Persona,
        place: Place,
        decoding: DecodingConfig,
        *,
        seed: int,
        max_history: int | None,
        alternatives: int = 0,
        hooks: Hooks = NO_HOOKS,
        scene: Scene = EMPTY,
    ) -> None:
        """`seed` is the conversation's. What goes on from a text has one candidate. Raises SettingsError."""
        prefill = place.prefill
        if prefill:
            decoding = replace(decoding, candidates=1, num_beams=1)
        self._agent = agent
        self.seed = seed
        self.place = place
        self.max_history = max_history
        self._preference = hooks.preference
        shown = place if hooks.history is None else replace(place, turns=tuple(hooks.history(place.turns)))
        self.read = {
            i - len(place.turns): read.text
            for i, (said, read) in enumerate(zip(place.turns, shown.turns, strict=True))
            if said.text != read.text
        }
        """Turns that the model read in other words, by their place from the end (-1: the last)."""
        self.called = scene.called(shown, agent)
        """What was added here, beside what is added to every prompt of the scene."""
        seen = scene.seen(shown)
        self._own = () if scene.company is None else (scene.company.speaker,)
        self.source = prompt_input(
            agent,
            scene.persona(persona, agent),
            seen,
            AGENT,
            max_history=max_history,
            max_length=decoding.max_length,
            additions=scene.additions(shown, agent, self.called),
            summary=scene.summary,
        )
        self.called += tuple(one for one in self.source.layout.insertions if one.kind == SUMMARY)
        banned = self._banned(persona, scene, decoding.no_repeat_own_ngram)
        self.request = Request(self.source.prompt, decoding, banned, alternatives, stops=scene.stops())
        self.tokens = TokenLog()
        self.finished: list[Finished] = []
        self.chosen: int | None = None
        self.shown = prefill
        self._lines: dict[int, BegunLine] = {}
        self._begun: tuple[int, Begun] | None = None

    def _banned(self, persona: Persona, scene: Scene, n: int) -> list[list[int]]:
        """Ids of what is not to be said again; a reply that is replaced, or gone on with, not at all."""
        agent, place = self._agent, self.place
        turns = scene.seen(place).turns
        given = [one.text for one in self.source.layout.insertions]
        banned = not_again(
            agent.texts,
            [turn.text for turn in turns if turn.speaker == AGENT],
            persona=[*scene.persona(persona, agent).sentences, *given],
            partner=[turn.text for turn in turns if turn.speaker != AGENT],
            n=n,
        )
        whole = [*place.rejected, *([place.prefill] if place.prefill else [])]
        return banned + agent.texts.encode_batch(whole)

    def resume(self, drawn: Sequence[tuple[int, float]], seed: int) -> None:
        """Go on from tokens (ids, log-probabilities) that somebody else has drawn with `seed` and shown.

        A reply that is not live, of which nothing was shown, begins anew.
        """
        if not drawn or not self.live or seed not in [self.place.seed(self.seed, i) for i in range(TRIES)]:
            return
        decoder = self._agent.tokenizer.stream()
        for id, logprob in drawn:
            self.take(Token(0, id, decoder.push(id), logprob))
        self._begun = seed, Begun(0, tuple(id for id, _ in drawn), sum(logprob for _, logprob in drawn))

    @property
    def live(self) -> bool:
        """Whether it can be shown as it is drawn: there is one candidate, and it stays as it is."""
        return self.request.config.candidates == 1 and self.request.config.num_beams == 1

    @property
    def waits(self) -> bool:
        """Whether `requests` may wait, for what is preferred among its candidates."""
        return self._preference is not None and not self.live

    def requests(self) -> Iterator[Request]:
        """The requests to draw, one after another, until one of them gives something to show."""
        config = self.request.config
        sampled = config.temperature > 0 and config.num_beams == 1
        for retry in range(TRIES if sampled and not self.place.prefill else 1):
            drawn_with = replace(config, seed=self.place.seed(self.seed, retry))
            self.request = replace(self.request, config=drawn_with, begun=())
            if self._begun is not None:
                seed, begun = self._begun
                if drawn_with.seed != seed:
                    continue  # this one came to nothing, elsewhere
                self._begun = None
                self.request = replace(self.request, begun=(begun,))
            else:
                self.tokens, self.finished, self._lines = TokenLog(), [], {}
            yield self.request
            with_text = [i for i, end in enumerate(self.finished) if end.text]
            if with_text:
                self.chosen = self._best(with_text)
                return
            if any(end.reason == "deadline" for end in self.finished):
                break  # another try would only come too late as well
        self.chosen = 0
        self.finished[0] = replace(self.finished[0], text=SILENCE)

    def _best(self, among: Sequence[int]) -> int:
        """The one of `among` that the next-sentence head and the preference together like best."""
        extra = bonuses(self._preference if len(among) > 1 else None, [self.finished[i].text for i in among])

        def liked(pair: tuple[int, float]) -> tuple[float, int]:
            end = self.finished[pair[0]]
            # of equals the first candidate, whichever came to its end first
            return end.score + pair[1], -end.candidate

        return max(zip(among, extra, strict=True), key=liked)[0]

    def take(self, event: Event) -> Event:
        """Keep an event of the stream; returns it with its text on one clean line.

        Of one candidate the texts of the tokens are how its Finished.text begins.
        """
        line = self._lines.get(event.candidate)
        if line is None:
            line = self._lines[event.candidate] = BegunLine(
                self._agent.tokenizer, self.place.prefill, self._own, self.request.stops
            )
        if isinstance(event, Finished):
            end = replace(event, text=line.whole(event))
            self.finished.append(end)
            return end
        self.tokens.append(event)
        piece = line.push(event)
        if self.live:
            self.shown += piece
        return event if piece == event.text else replace(event, text=piece)

    @property
    def final(self) -> Finished:
        """The reply itself, once there is no further request."""
        assert self.chosen is not None
        return self.finished[self.chosen]

    def explain(self) -> Explanation:
        """The exact input, and what the reply was chosen from."""
        tokenizer = self._agent.tokenizer
        end = None if self.chosen is None else self.finished[self.chosen]
        candidate = 0 if end is None else end.candidate
        tokens = [token for token in self.tokens if token.candidate == candidate]
        ids = [token.id for token in tokens] if end is None else list(end.ids)
        rows = input_rows(tokenizer, self.source) + reply_rows(tokenizer, self.source, ids, tokens, end)
        return Explanation(
            tuple(rows),
            tuple(self.finished),
            self.chosen,
            self.request.config,
            self.source.left_out,
            self.source.account(),
        )


class TokenLog:
    """The tokens of a reply so far, without their texts: a few bytes each, for thousands of them."""

    def __init__(self) -> None:
        self._candidates, self._ids, self._logprobs = array("H"), array("l"), array("d")
        self._alternatives: list[tuple[tuple[str, float], ...]] | None = None

    def append(self, token: Token) -> None:
        """One more."""
        if token.alternatives and self._alternatives is None:
            self._alternatives = [()] * len(self._ids)
        if self._alternatives is not None:
            self._alternatives.append(token.alternatives)
        self._candidates.append(token.candidate)
        self._ids.append(token.id)
        self._logprobs.append(token.logprob)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Token]:
        for place, id in enumerate(self._ids):
            others = () if self._alternatives is None else self._alternatives[place]
            yield Token(self._candidates[place], id, "", self._logprobs[place], others)


class BegunLine:
    """One candidate's text as it is shown: on one clean line, behind what it goes on from, its own words."""

    def __init__(
        self, tokenizer: Tokenizer, prefill: str, own: Sequence[str] = (), stops: Sequence[str] = ()
    ) -> None:
        """`own` and `stops`: in a group, see `convai.conversation.own_words`."""
        self._tokenizer, self._prefill = tokenizer, prefill
        self._own, self._stops = own, stops
        self._words = OwnWords(own, stops, prefill) if own else None
        self._line = OneLine()
        self._ids = tokenizer.encode(prefill) if prefill else []
        self._decoder = tokenizer.stream() if prefill else None
        self._skip = len(one_line(tokenizer.decode(self._ids)))
        if self._decoder is not None:
            # a blank in front of the next word shows only where the words before it are known
            for id in self._ids:
                self._behind(self._line.push(self._decoder.push(id)))

    def push(self, token: Token) -> str:
        """What a token adds."""
        text = token.text if self._decoder is None else self._decoder.push(token.id)
        if self._words is not None:
            text = self._words.push(text)
        return self._behind(self._line.push(text))

    def whole(self, end: Finished) -> str:
        """All of it."""
        if self._decoder is None:
            text = end.text
            return one_line(own_words(text, self._own, self._stops) if self._own else text)
        if self._own:
            again = BegunLine(self._tokenizer, self._prefill, self._own, self._stops)
            pieces = [again.push(Token(0, id, "", 0.0)) for id in end.ids]
            return self._prefill + "".join(pieces) + again._rest()
        text = one_line(self._tokenizer.decode([*self._ids, *end.ids]))
        skipped = len(one_line(self._tokenizer.decode(self._ids)))
        return self._prefill + text[skipped:]

    def _rest(self) -> str:
        """What was held back."""
        assert self._words is not None
        assert self._decoder is not None
        last = self._words.push(self._decoder.finish()) + self._words.end()
        return self._behind(self._line.push(last))

    def _behind(self, piece: str) -> str:
        """`piece` without what belongs to the beginning."""
        cut = min(self._skip, len(piece))
        self._skip -= cut
        return piece[cut:]
