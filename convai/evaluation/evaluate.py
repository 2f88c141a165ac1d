"""ConvAI2's automatic metrics of a model on a file of dialogues, and the baselines it has to beat.

Zhang et al. 2018 ("Personalizing dialogue agents", section 5) and Dinan et al. 2019 ("The second
conversational intelligence challenge", section 4.1): hits@1 among 20 candidates, perplexity, F1; beside them
distinct-n (Li et al. 2016) and how often the model says the same thing again.

Every reply of the agent is measured by itself, after the true history. Nothing here is random but the
sampler and the draw of wrong replies, and both follow from the seed and the reply's number in the file: two
runs give the same figures, and the first dialogues of a file get the same replies alone as with the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from convai.conversation.agent import Agent
from convai.conversation.repeating import not_again
from convai.core.dialog import AGENT, USER, Dialog, Turn
from convai.core.errors import CheckpointError, DataError
from convai.core.evaluation_settings import EvaluateConfig
from convai.core.settings import DecodingConfig
from convai.engine import Finished, Request
from convai.engine.backends.precision import Requested
from convai.evaluation import baselines, metrics
from convai.evaluation.cached_trees import CachedTrees
from convai.evaluation.metrics import Mean, Repetition
from convai.evaluation.scoring import ReplyScores, score_windows
from convai.evaluation.windows import ReplyWindow, reply_windows
from convai.text.corpora import with_distractors
from convai.text.prompt import encode_dialogs
from convai.text.segments import EncodedDialog, build_prompt

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many replies are through, and of how many."""


def no_progress(what: str, done: int, of: int) -> None:
    """Shows nothing."""


@dataclass(slots=True)
class Evaluation:
    """Figures of one model on one file.

    `scores`: name → value, as in the last line of `convai evaluate`. `counts`: dialogues, replies measured,
    replies left out because the model has too few positions, their words, tokens (eos included) and UTF-8
    bytes. `replies`: what the model says in their place (empty unless F1 or distinct-n were asked for).
    """

    scores: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    replies: list[Finished] = field(default_factory=list)


def prepare(dialogs: Sequence[Dialog], config: EvaluateConfig, *, rank: bool) -> list[Dialog]:
    """The dialogues to measure; with `rank`, each reply with `config.candidates` - 1 wrong ones.

    The wrong replies are those of the file, each once and none that equals the right one; where it has none
    they are drawn from all of its other dialogues, so taking fewer dialogues does not change them. Raises
    DataError when there is no reply to measure, or none to draw.
    """
    chosen = dialogs[: config.dialogs or None]
    if not any(True for dialog in chosen for _ in dialog.replies()):
        raise DataError(
            "no reply of the agent that answers anything; check who speaks (speaker 1 is the agent)"
        )
    if not rank:
        return [_with_wrong(dialog, 0) for dialog in chosen]
    wrong = config.candidates - 1
    cut = [_with_wrong(dialog, wrong) for dialog in dialogs]
    try:
        return with_distractors(cut, wrong, config.seed)[: len(chosen)]
    except DataError as error:
        raise DataError(f"{error}, or leave hits out of --metrics") from None


def _with_wrong(dialog: Dialog, most: int) -> Dialog:
    turns = (
        replace(t, distractors=tuple(dict.fromkeys(d for d in t.distractors if d != t.text))[:most])
        for t in dialog.turns
    )
    return replace(dialog, turns=tuple(turns))


def evaluate(
    agent: Agent,
    dialogs: Sequence[Dialog],
    config: EvaluateConfig,
    *,
    histories: Sequence[Dialog] | None = None,
    progress: Progress = no_progress,
) -> Evaluation:
    """Measure `agent` on the replies of `dialogs` (see `prepare`), as far as `config.metrics` asks for.

    `histories`: the same dialogues, turn for turn, as the model is to read them before it replies. The model
    draws replies with `agent.decoding`. Raises DataError when no reply fits the model, and CheckpointError
    when its scores are no numbers.
    """
    chosen = config.chosen
    if "hits" not in chosen:
        dialogs = [_with_wrong(dialog, 0) for dialog in dialogs]
    encoded = list(encode_dialogs(agent.tokenizer, dialogs))
    positions = agent.positions
    shown = None if histories is None else list(encode_dialogs(agent.tokenizer, histories))
    windows = list(
        reply_windows(
            agent.tokenizer.frame,
            encoded,
            max_history=config.max_history,
            n_positions=positions,
            histories=shown,
        )
    )
    if not windows:
        raise DataError(
            f"no reply fits the model's {positions} positions with its persona and the utterance it answers; "
            "shorten the texts"
        )
    gold = [dialogs[window.dialog].turns[window.turn].text for window in windows]
    result = Evaluation()
    result.counts = {
        "dialogs": len(dialogs),
        "replies": len(windows),
        "left_out": sum(1 for dialog in dialogs for _ in dialog.replies()) - len(windows),
        "words": sum(len(text.split()) for text in gold),
        "tokens": sum(len(window.reply.ids) + 1 for window in windows),
        "bytes": sum(len(text.encode()) for text in gold),
    }
    if chosen & {"hits", "ppl"}:
        what = "ranking" if "hits" in chosen else "perplexity"
        given = score_windows(
            CachedTrees(
                agent.model,
                agent.tokenizer.frame.pad_id,
                batch_tokens=config.batch_tokens,
                precision=config.precision,
            ),
            agent.tokenizer.frame,
            windows,
            progress=lambda done: progress(what, done, len(windows)),
        )
        if "hits" in chosen:
            _add_hits(result, given)
        if "ppl" in chosen:
            _add_perplexities(result, given, agent.name)
    if chosen & {"f1", "distinct"}:
        result.replies = draw_replies(
            agent, encoded, windows, seed=config.seed, precision=config.precision, progress=progress
        )
        texts = [reply.text for reply in result.replies]
        if "f1" in chosen:
            result.scores["f1"] = mean_f1(texts, gold)
        if "distinct" in chosen:
            by_dialog: dict[int, list[str]] = {}
            for window, text in zip(windows, texts, strict=True):
                by_dialog.setdefault(window.dialog, []).append(text)
            result.scores |= variety(by_dialog.values())
    return result


def _add_hits(result: Evaluation, given: ReplyScores) -> None:
    ranked = [scores for scores in given.choices if scores]
    if not ranked:
        raise DataError(
            "no reply has a wrong one beside it, so hits@1 means nothing; add dialogues or candidates"
        )
    result.scores["hits@1"] = metrics.hits_at_k(ranked, [len(scores) - 1 for scores in ranked])
    result.scores["chance"] = sum(1 / len(scores) for scores in ranked) / len(ranked)
    result.counts |= {"ranked": len(ranked), "candidates": max(map(len, ranked))}


def _add_perplexities(result: Evaluation, given: ReplyScores, name: str) -> None:
    total, counts = math.fsum(given.nll), result.counts
    if not math.isfinite(total):
        raise CheckpointError(
            f"{name}: the model's scores are no finite numbers; its weights are damaged or the precision is "
            "too low (try --precision float32)"
        )
    result.scores["ppl"] = metrics.perplexity(total, sum(given.tokens))
    result.scores["word_ppl"] = metrics.perplexity(total, counts["words"])
    result.scores["bits_per_byte"] = metrics.bits_per_byte(total, counts["bytes"])


def mean_f1(guesses: Iterable[str], gold: Iterable[str]) -> float:
    """ConvAI2's F1, averaged over replies."""
    mean = Mean()
    for guess, answer in zip(guesses, gold, strict=True):
        mean.add(metrics.f1(guess, [answer]))
    return mean.value


def variety(conversations: Iterable[Sequence[str]]) -> dict[str, float]:
    """How much one speaker's replies differ, a list of them for each conversation.

    `distinct_1`, `distinct_2` over all of them; `repeated_replies` (a number), `repeated_reply_share` and
    `repeated_4gram_share`: what was said in an earlier reply of the same conversation.
    """
    replies = list(conversations)
    everything = [text for texts in replies for text in texts]
    again = sum(map(metrics.repetition_across_turns, replies), Repetition())
    return {
        "distinct_1": metrics.distinct_n(everything, 1),
        "distinct_2": metrics.distinct_n(everything, 2),
        "repeated_replies": again.repeated_replies,
        "repeated_reply_share": again.reply_share,
        "repeated_4gram_share": again.ngram_share,
    }


def numbered_seed(seed: int, number: int) -> int:
    """The seed of reply, or conversation, `number` of a run with `seed`: another one for every pair."""
    return (seed << 32) + number


def reply_request(
    agent: Agent, dialog: EncodedDialog, window: ReplyWindow, decoding: DecodingConfig
) -> Request:
    """What a chat would ask for in the window's place: all earlier turns of the agent count as said."""
    decode = agent.tokenizer.decode
    turns = dialog.turns[: window.turn]
    banned = not_again(
        agent.texts,
        [decode(turn.ids) for turn in turns if turn.speaker == AGENT],
        persona=[decode(ids) for ids in window.persona],
        partner=[decode(turn.ids) for turn in turns if turn.speaker != AGENT],
        n=decoding.no_repeat_own_ngram,
    )
    return Request(build_prompt(agent.tokenizer.frame, window.persona, window.history), decoding, banned)


def draw_replies(
    agent: Agent,
    dialogs: Sequence[EncodedDialog],
    windows: Sequence[ReplyWindow],
    *,
    seed: int,
    precision: Requested = "float32",
    progress: Progress = no_progress,
) -> list[Finished]:
    """What the model says in the place of each reply, drawn with the agent's own decoding settings."""
    requests = (
        reply_request(
            agent,
            dialogs[window.dialog],
            window,
            replace(agent.decoding, seed=numbered_seed(seed, window.number)),
        )
        for window in windows
    )
    finished = []
    with agent.exact_engine(precision) as engine:
        for reply in engine.map(requests):
            finished.append(reply)
            progress("replies", len(finished), len(windows))
    return finished


def baseline_scores(
    dialogs: Sequence[Dialog], train: Sequence[Dialog], *, orders: Sequence[int] = (1, 3, 5)
) -> dict[str, float]:
    """Scores of the baselines on the same replies and candidates (see `prepare`).

    Which words are rare or frequent is learnt from `train`; without it from what the partner says in the file
    itself, never from the replies that are to be found, and there are no n-gram models.
    """
    known = list(train)
    if not known:
        partner = [tuple(t for t in dialog.turns if t.speaker == USER) for dialog in dialogs]
        known = [Dialog(turns) for turns in partner]
    scores: dict[str, Any] = baselines.measure(dialogs, known, orders=orders if train else ())
    return scores | _partial_tfidf(dialogs, known)


def _partial_tfidf(dialogs: Sequence[Dialog], known: Sequence[Dialog]) -> dict[str, float]:
    """TF-IDF with the persona alone, and with the last turn alone: what each of them is worth."""
    ranker = baselines.TfidfRanker(turn.text for dialog in known for turn in dialog.turns)
    by_persona, by_history = [], []
    for dialog, i, turn in ((d, i, t) for d in dialogs for i, t in d.replies() if t.distractors):
        candidates = (turn.text, *turn.distractors)
        by_persona.append(ranker.scores(dialog.persona.sentences, (), candidates))
        by_history.append(ranker.scores((), _texts(dialog.turns[:i]), candidates))
    if not by_persona:
        return {}
    first = [0] * len(by_persona)
    return {
        "tfidf_persona_hits@1": metrics.hits_at_k(by_persona, first),
        "tfidf_history_hits@1": metrics.hits_at_k(by_history, first),
    }


def _texts(turns: Sequence[Turn]) -> list[str]:
    return [turn.text for turn in turns]
