"""`convai_coref`, a component of spaCy: `nlp.add_pipe("convai_coref")` behind a tagger and a parser.

    nlp = load_pipeline()  # the embedded parser and this component
    doc = nlp("My sister has a dog. She loves him.")
    doc._.coref_clusters[0].main, doc._.coref_resolved

The names are NeuralCoref's; what the attributes are is in `attributes`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly
from spacy.language import Language
from spacy.tokens import Doc, Span

from convai.core.errors import CheckpointError, ConvaiError, DataError
from convai.coref.attributes import NAME, SPEAKERS, register_extensions, speakers_of, store
from convai.coref.parsing.load import load_parser
from convai.coref.parsing.parse import check_length, document_of_doc
from convai.coref.rewrite import main_mention
from convai.coref.spacy_storage import FollowingGroup

if TYPE_CHECKING:
    from convai.coref.resolver import CorefResolver


class CorefComponent:
    """Doc → doc with clusters. The model is loaded with the first doc."""

    def __init__(
        self,
        *,
        model: str | None = None,
        conv_dict: dict[str, list[str]] | None = None,
        **settings: Any,
    ) -> None:
        """`model`: a model folder, None for the embedded one; `settings`: those of `ResolveSettings`."""
        self.model = model
        self.conv_dict = conv_dict
        self.settings = settings
        self._resolver: CorefResolver | None = None

    @property
    def resolver(self) -> CorefResolver:
        """The trained model. Raises ConvaiError where it is missing or a setting is out of its range."""
        if self._resolver is None:
            from convai.coref.checkpoint import load_resolver
            from convai.coref.resolver import ResolveSettings

            self._resolver = load_resolver(
                self.model, settings=ResolveSettings(**self.settings), conv_dict=self.conv_dict
            )
        return self._resolver

    def __call__(self, doc: Doc) -> Doc:
        """Find the clusters of `doc`. Raises ConvaiError where it has no tags or no parse."""
        if len(doc):
            _check_annotation(doc)
        document, tokens = document_of_doc(doc, speakers_of(doc))
        reading = self.resolver.read(document)
        mains = [main_mention(document, cluster) for cluster in reading.clusters]
        store(doc, tokens, reading.clusters, mains, reading.scores)
        return doc

    # -- serialisation: a model of one's own travels with the pipeline -----------------------------

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """The files of the model; nothing where it is the embedded one."""
        folder = self._own_folder()
        files = {} if folder is None else {path.name: path.read_bytes() for path in _files(folder)}
        return bytes(srsly.msgpack_dumps(files))

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> CorefComponent:
        """Take over the model of `to_bytes`. Raises CheckpointError for other bytes."""
        files = srsly.msgpack_loads(data)
        if not isinstance(files, dict):
            raise CheckpointError(f"{NAME}: these bytes hold no model; make them with to_bytes")
        if files:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in files.items():
                    (Path(folder) / Path(name).name).write_bytes(content)
                self._take(folder)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """As `to_bytes`, into a folder."""
        folder, out = self._own_folder(), Path(path)
        out.mkdir(parents=True, exist_ok=True)
        for file in () if folder is None else _files(folder):
            (out / file.name).write_bytes(file.read_bytes())

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> CorefComponent:
        """Take over the model of `to_disk`. Raises CheckpointError for a damaged one."""
        if Path(path).is_dir() and any(Path(path).iterdir()):
            self._take(str(path))
        return self

    def _take(self, folder: str) -> None:
        """Load the model from `folder` now: it may be gone later."""
        self.model, self._resolver = folder, None
        assert self.resolver is not None

    def _own_folder(self) -> Path | None:
        return None if self.model is None else self.resolver.source


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


@Language.factory(  # type: ignore[untyped-decorator]  # spaCy is optional: unknown to the checks
    NAME,
    default_config={
        "model": None,
        "greedyness": None,
        "max_dist": None,
        "max_dist_match": None,
        "blacklist": None,
        "store_scores": None,
        "conv_dict": None,
    },
    assigns=[
        "doc._.has_coref",
        "doc._.coref_clusters",
        "doc._.coref_resolved",
        "doc._.coref_scores",
        "span._.is_coref",
        "span._.coref_cluster",
        "token._.in_coref",
        "token._.coref_clusters",
    ],
    requires=["token.tag", "token.dep", "token.head"],
)
def create_component(
    nlp: Language,
    name: str,
    model: str | None,
    greedyness: float | None,
    max_dist: int | None,
    max_dist_match: int | None,
    blacklist: bool | None,
    store_scores: bool | None,
    conv_dict: dict[str, list[str]] | None,
) -> CorefComponent:
    """What `nlp.add_pipe("convai_coref", config={...})` makes; an option that is None has its default.

    `greedyness`, `max_dist`, `max_dist_match`, `blacklist` and `store_scores` are those of `ResolveSettings`.
    `conv_dict`: words that the model does not know, each with words that say what it is.
    """
    settings = {
        "greedyness": greedyness,
        "max_dist": max_dist,
        "max_dist_match": max_dist_match,
        "blacklist": blacklist,
        "store_scores": store_scores,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    return CorefComponent(model=model, conv_dict=conv_dict, **given)


# -- docs ------------------------------------------------------------------------------------------


def load_pipeline(parser: str | Path | None = None, **options: Any) -> Language:
    """A pipeline ready for use: a parser (None: the embedded one) and `convai_coref` with these options.

    Raises ConvaiError without spaCy, parser or model.
    """
    nlp = load_parser(parser)
    nlp.add_pipe(NAME, config=options)
    return nlp


def dialogue(nlp: Language, turns: Iterable[tuple[str, str]]) -> Doc:
    """A doc of `turns` (speaker, text), run through `nlp`, where "I" of one is "you" of the other.

    Raises ConvaiError where there are no turns with words, or one is longer than `nlp` takes.
    """
    docs, speakers = [], []
    for speaker, text in turns:
        check_length(nlp, text)
        doc = nlp.make_doc(text.strip())
        if len(doc):
            doc[0].is_sent_start = True
            docs.append(doc)
            speakers.append(speaker)
    if not docs:
        raise ConvaiError("a dialogue without a word; give turns with a text each")
    whole = Doc.from_docs(docs, ensure_whitespace=True)
    assert whole is not None
    said = []
    start = 0
    for doc, speaker in zip(docs, speakers, strict=True):
        whole[start].is_sent_start = True
        said.append(Span(whole, start, start + len(doc), label=speaker))
        start += len(doc)
    whole.spans[SPEAKERS] = FollowingGroup(whole, name=SPEAKERS, spans=said)
    return nlp(whole)


def _check_annotation(doc: Doc) -> None:
    for layer, needed in (("TAG", "tagger"), ("DEP", "parser")):
        if not doc.has_annotation(layer):
            raise DataError(
                f"{NAME}: this doc has no tags or no parse ({layer}); put a {needed} before {NAME} "
                'into the pipeline, as load_pipeline() and spacy.load("en_core_web_sm") have it'
            )


register_extensions()
