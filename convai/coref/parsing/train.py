"""Training the parser: tagger, dependencies and entities on one encoder, with spaCy's own components."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.coref.parsing.examples import batches, epoch
from convai.coref.parsing.load import require_spacy
from convai.coref.parsing.score import SPEED, score_parser
from convai.coref.parsing.settings import ParserSettings
from convai.coref.parsing.treebank import Annotated

if TYPE_CHECKING:
    from spacy.language import Language

NAME: Final = "coref_parser"
_LISTENER: Final = {"@architectures": "spacy.Tok2VecListener.v1", "upstream": "tok2vec"}


def new_pipeline(settings: ParserSettings) -> Language:
    """An untrained English pipeline: tok2vec, tagger, parser, ner."""
    import spacy
    from spacy.attrs import ORTH

    nlp = spacy.blank("en", meta={"name": NAME, "version": "1.0.0"})
    encoder = {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": settings.width,
            "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
            "rows": list(settings.rows),
            "include_static_vectors": False,
        },
        "encode": {
            "@architectures": "spacy.MaxoutWindowEncoder.v2",
            "width": settings.width,
            "depth": settings.depth,
            "window_size": 1,
            "maxout_pieces": 3,
        },
    }
    listener = {**_LISTENER, "width": settings.width}
    # spaCy's exceptions give "n't" the norm "not", but only to text that its tokenizer cuts: words that are
    # given, as a treebank's or a column file's, are to look the same
    nlp.tokenizer.rules = {
        text: [{ORTH: piece[ORTH]} for piece in pieces] for text, pieces in nlp.tokenizer.rules.items()
    }
    nlp.add_pipe("tok2vec", config={"model": encoder})
    tagger = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}
    nlp.add_pipe("tagger", config={"model": tagger})
    for name, kind, extra in (("parser", "parser", False), ("ner", "ner", True)):
        transitions = {
            "@architectures": "spacy.TransitionBasedParser.v2",
            "state_type": kind,
            "extra_state_tokens": extra,
            "hidden_width": settings.hidden,
            "maxout_pieces": 2,
            "use_upper": True,
            "tok2vec": listener,
        }
        nlp.add_pipe(name, config={"model": transitions})
    return nlp


def train_parser(
    settings: ParserSettings,
    sentences: list[Annotated],
    dev: dict[str, list[Annotated]],
    out: Path,
    *,
    report: Callable[[dict[str, Any]], None] = lambda _scores: None,
    progress: bool = True,
) -> Language:
    """Train on `sentences` and write the pipeline to `out` after every epoch, whole or not at all.

    `report` is given each epoch's number and the scores on `dev` (file → sentences). Raises ConvaiError
    without spaCy, and OSError.
    """
    require_spacy()
    from spacy.util import fix_random_seed
    from thinc.api import Adam, warmup_linear
    from tqdm import tqdm

    fix_random_seed(settings.seed)
    rng = random.Random(settings.seed)
    nlp = new_pipeline(settings)

    def drawn() -> list[Any]:
        return epoch(nlp.vocab, sentences, rng, longest=settings.text_sentences, lower=settings.lower)

    first = drawn()
    nlp.initialize(lambda: first)
    total = settings.epochs * (1 + sum(len(s.words) for s in sentences) // settings.batch_words)
    optimizer = Adam(
        warmup_linear(settings.learning_rate, settings.warmup_steps, total),
        L2=0.01,
        grad_clip=1.0,
        use_averages=True,
    )
    for number in range(1, settings.epochs + 1):
        examples = first if number == 1 else drawn()
        steps = list(batches(examples, settings.batch_words))
        losses: dict[str, float] = {}
        for batch in tqdm(steps, desc=f"epoch {number}/{settings.epochs}", disable=not progress or None):
            nlp.update(batch, sgd=optimizer, drop=settings.dropout, losses=losses)
            optimizer.step_schedules()
        with nlp.use_params(optimizer.averages):
            scores = {name: score_parser(nlp, held) for name, held in dev.items()}
            for held in scores.values():
                del held[SPEED]  # says more of the moment than of the parser
            nlp.meta["performance"] = scores
            save_parser(nlp, out, settings)
        report({"epoch": number, "losses": {k: round(v, 1) for k, v in losses.items()}, "dev": scores})
    return nlp


def save_parser(nlp: Language, out: Path, settings: ParserSettings) -> None:
    """Write `nlp` without the words that it met in training; an earlier folder is replaced at the end."""
    fresh = new_pipeline(settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        whole, lean = Path(temporary) / "whole", Path(temporary) / "lean"
        nlp.to_disk(whole)
        fresh.from_disk(whole, exclude=["vocab", "tokenizer"])
        for labels in nlp.pipe_labels.values():
            for label in labels:
                fresh.vocab.strings.add(label)
        fresh.meta["performance"] = nlp.meta["performance"]
        fresh.to_disk(lean)
        meta = json.loads((lean / "meta.json").read_text(encoding="utf-8"))
        (lean / "meta.json").write_text(
            json.dumps(meta, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        if out.exists():
            out.rename(Path(temporary) / "earlier")
        shutil.move(lean, out)
