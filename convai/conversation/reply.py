"""A reply in the making, without I/O: what the engine is asked for, what can be shown, what it comes to.

Every door draws its replies through this module, a thread with `for`, a coroutine with `async for`, so that
the same persona, turns, settings and seed give the same reply in the terminal, on a socket and over REST.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from convai.conversation.agent import Talker
from convai.conversation.conversation import Place
from convai.conversation.explain import Explanation, input_rows, reply_rows
from convai.conversation.hooks import NO_HOOKS, Hooks, bonuses
from convai.conversation.prompt_input import SUMMARY, prompt_input
from convai.conversation.ranking import Ranking
from convai.conversation.repeating import not_again
from convai.conversation.reply_text import BegunLine, TokenLog
from convai.conversation.scene import EMPTY, Scene
from convai.core.dialog import AGENT, Persona
from convai.core.settings import DecodingConfig
from convai.engine import Begun, Event, Finished, Request, Token

SILENCE: Final = "..."
"""The reply where the model came up with nothing that can be shown, again and again."""
TRIES: Final = 4
"""Draws before SILENCE."""


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
        self._given = scene.persona(persona, agent).sentences
        self._beside = given
        banned = not_again(
            agent.texts,
            [turn.text for turn in turns if turn.speaker == AGENT],
            persona=[*self._given, *given],
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
        """The one of `among` that the next-sentence head, the ranking and the preference like best."""
        extra = bonuses(self._preference if len(among) > 1 else None, [self.finished[i].text for i in among])

        ranking = Ranking(self._given, self.place.turns, self._beside) if len(among) > 1 else None

        def liked(pair: tuple[int, float]) -> tuple[float, int]:
            end = self.finished[pair[0]]
            lost = 0.0 if ranking is None else ranking.lost(end)
            # of equals the first candidate, whichever came to its end first
            return end.score + pair[1] - lost, -end.candidate

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
