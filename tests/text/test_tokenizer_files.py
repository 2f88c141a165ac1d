from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, GPT2Tokenizer, OpenAIGPTTokenizer

from convai.core.errors import CheckpointError
from convai.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.tokenizer_kinds import KINDS, kind, publish, texts

FAMILIES = {"gpt2": GPT2Tokenizer, "openai-gpt": OpenAIGPTTokenizer}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders as `gpt2` and `openai-gpt` were published."""
    return {name: publish(name, tmp_path_factory.mktemp(name)) for name in FAMILIES}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders that we saved, each with the config.json of a model, which transformers looks at too."""
    folders = {name: tmp_path_factory.mktemp(f"saved-{name}") for name in KINDS}
    for name, folder in folders.items():
        kind(name).save(folder)
        family = name if name in FAMILIES else "gpt2"
        (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved tokenizer to damage."""
    kind("own").save(tmp_path)
    return tmp_path


# -- ours, read by us and by transformers


@pytest.mark.parametrize("name", KINDS)
def test_saved_and_loaded_is_the_same(saved: dict[str, Path], name: str) -> None:
    assert Tokenizer.load(saved[name]).fingerprint == kind(name).fingerprint
    tokenizer, added = Tokenizer.load_pretrained(str(saved[name]))
    assert (tokenizer.fingerprint, added) == (kind(name).fingerprint, 0)


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_transformers_gives_the_same_ids(saved: dict[str, Path], name: str, data: st.DataObject) -> None:
    theirs, ours = stock(saved[name]), kind(name)
    text = data.draw(texts)
    ids = theirs(text)["input_ids"]
    assert ids == ours.encode(text)
    if name != "openai-gpt":
        assert theirs.decode(ids, skip_special_tokens=True).lstrip(" ") == ours.decode(ids)


@pytest.mark.parametrize("name", KINDS)
def test_transformers_knows_the_special_tokens(saved: dict[str, Path], name: str) -> None:
    theirs, ours = stock(saved[name]), kind(name)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (
        *(ours.bos_id, ours.eos_id, ours.pad_id),
    )
    assert theirs.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == sorted(ours.special_ids)[-5:]
    assert len(theirs) == ours.vocab_size
    assert {ours.bos_id, ours.speaker1_id, ours.speaker2_id} <= set(theirs.all_special_ids)


def test_saved_again_by_transformers_still_loads(saved: dict[str, Path], tmp_path: Path) -> None:
    stock(saved["own"]).save_pretrained(tmp_path)
    for text in ("hi , you ! <eos>", "I’m Ada"):
        assert Tokenizer.load(tmp_path).encode(text) == kind("own").encode(text)


def test_an_interrupted_save_leaves_the_old_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        kind("bytes").save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_saving_makes_the_folder_and_files_others_may_read(tmp_path: Path) -> None:
    kind("bytes").save(tmp_path / "a" / "b")
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["tokenizer.json", "tokenizer_config.json"]
    assert (tmp_path / "a" / "b" / "tokenizer.json").stat().st_mode & 0o777 == 0o644


# -- other people's


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
def test_published_files_give_their_ids(published: dict[str, Path], name: str, data: st.DataObject) -> None:
    text = data.draw(texts)
    # They take these for control tokens, which is what we never do.
    assume("<|endoftext|>" not in text and "<unk>" not in text)
    theirs = FAMILIES[name].from_pretrained(str(published[name]))
    assert kind(name).encode(text) == theirs(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", FAMILIES)
def test_special_tokens_are_added_behind_the_vocabulary(published: dict[str, Path], name: str) -> None:
    size = len(json.loads((published[name] / "vocab.json").read_text(encoding="utf-8")))
    tokenizer, added = Tokenizer.load_pretrained(published[name])
    assert added == 5
    assert tokenizer.vocab_size == size + 5
    assert tokenizer.bos_id == size


@pytest.mark.parametrize("name", FAMILIES)
def test_tokenizer_json_of_transformers_is_the_same(
    published: dict[str, Path], name: str, tmp_path: Path
) -> None:
    FAMILIES[name].from_pretrained(str(published[name])).save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    tokenizer, added = Tokenizer.load_pretrained(tmp_path)
    assert added == 5
    assert (tokenizer.special_ids, tokenizer.unk_id) == (kind(name).special_ids, kind(name).unk_id)
    for text in ("Hello , I ' m Ada <eos> <|endoftext|> <unk>!", "don't"):
        assert tokenizer.encode(text) == kind(name).encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == kind(name).decode(kind(name).encode(text))


def test_prefix_space_of_tokenizer_config_is_kept(tmp_path: Path) -> None:
    publish("gpt2", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    tokenizer, _ = Tokenizer.load_pretrained(tmp_path)
    assert tokenizer.encode("bread") == kind("gpt2").encode(" bread") != kind("gpt2").encode("bread")


def test_tokens_of_added_tokens_json_keep_their_ids(tmp_path: Path) -> None:
    publish("openai-gpt", tmp_path)
    size = kind("openai-gpt").vocab_size - 5
    theirs = dict(
        zip(("<pad>", "<speaker2>", "<speaker1>", "<eos>", "<bos>"), range(size, size + 5), strict=True)
    )
    (tmp_path / "added_tokens.json").write_text(json.dumps(theirs))
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.vocab_size) == (size, size + 4, size + 5)
    assert tokenizer.special_ids.isdisjoint(tokenizer.encode("<eos> <speaker1>"))


def test_added_tokens_json_beside_tokenizer_json_may_say_the_same(folder: Path) -> None:
    own = kind("own")
    (folder / "added_tokens.json").write_text(json.dumps({"<bos>": own.bos_id, "<pad>": own.pad_id}))
    assert Tokenizer.load(folder).fingerprint == own.fingerprint


def test_only_missing_special_tokens_are_added(tmp_path: Path) -> None:
    publish("gpt2", tmp_path)
    size = kind("gpt2").vocab_size - 5
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<pad>": size}))
    tokenizer, added = Tokenizer.load_pretrained(tmp_path)
    assert (added, tokenizer.pad_id, tokenizer.bos_id, tokenizer.vocab_size) == (4, size, size + 1, size + 5)


# -- damage: one line that names the place and the mend


def test_an_untuned_model_is_named_as_such(published: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.load(published["gpt2"])
    message = str(caught.value)
    assert message.startswith(
        f"{published['gpt2']}: the tokenizer has no <bos> <eos> <speaker1> <speaker2> <pad>"
    )
    assert f"convai train DATA --model {published['gpt2']}" in message


@pytest.mark.parametrize("load", [Tokenizer.load, Tokenizer.load_pretrained])
def test_missing(tmp_path: Path, load) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CheckpointError, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: missing; copy"):
        load(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(CheckpointError, match=r"merges\.txt: missing; copy"):
        load(tmp_path)


@given(share=st.floats(0, 0.999))
def test_cut_short(saved: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    whole = (saved["own"] / "tokenizer.json").read_bytes()
    folder = tmp_path_factory.getbasetemp() / "cut"
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"tokenizer\.json(:\d+)?: .*copy") as caught:
        Tokenizer.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00binary", "tokenizer.json: not a text file"),
        (b"[1, 2]", "tokenizer.json: expected a JSON object"),
        (b"{}", "tokenizer.json: not a tokenizer"),
        (b"[" * 100_000, "tokenizer.json:1: cut short or damaged JSON"),
        (b'{"version": "1.0", "model": {"type": "BPE", "vocab": 3}}', "tokenizer.json: not a tokenizer"),
    ],
)
def test_damaged(folder: Path, content: bytes, message: str) -> None:
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.load(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}, "a WordLevel tokenizer; use"),
        ({"continuing_subword_prefix": "##"}, "continuing_subword_prefix; use"),
    ],
)
def test_another_kind_of_model(folder: Path, change: dict[str, object], message: str) -> None:
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    spec["model"] = change if "type" in change else spec["model"] | change
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.load(folder)


def test_unreadable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", denied)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: Permission denied"):
        Tokenizer.load(folder)


def test_another_kind_of_decoder(folder: Path) -> None:
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(spec | {"decoder": None}))
    with pytest.raises(CheckpointError, match="neither byte-level nor </w> tokens"):
        Tokenizer.load(folder)


def test_settings_that_cut_or_pad_are_dropped(folder: Path) -> None:
    backend = kind("own")._backend.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(2)
    backend.enable_padding(length=50)
    backend.save(str(folder / "tokenizer.json"))
    text = "a lighthouse keeper lives here"
    assert Tokenizer.load(folder).encode(text) == kind("own").encode(text)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("vocab.json", "{", "vocab.json:1: cut short"),
        ("vocab.json", '{"a": "b"}', "vocab.json: expected one token id for each token"),
        ("vocab.json", '{"a": 0, "b": 0}', "vocab.json: expected one token id for each token"),
        ("vocab.json", '{"a": -1}', "vocab.json: expected one token id for each token"),
        ("vocab.json", '{"a": 4294967296}', "vocab.json"),
        ("vocab.json", '{"a": 7}', "ids have gaps"),
        ("merges.txt", "#version: 0.2\nh e\nl\n", "merges.txt:3: expected two tokens"),
        ("merges.txt", "#version: 0.2\nx1 y1\n", "merges.txt: does not belong to vocab.json"),
        ("added_tokens.json", '{"<eos>": 3}', "added_tokens.json: <eos> has id 3 here"),
        ("added_tokens.json", '{"<eos>": "3"}', "added_tokens.json: expected a token id"),
        ("tokenizer_config.json", "[", "tokenizer_config.json:1: cut short"),
    ],
)
def test_damaged_published_files(tmp_path: Path, file: str, content: str, message: str) -> None:
    publish("gpt2", tmp_path)
    (tmp_path / file).write_text(content)
    if file == "vocab.json":
        (tmp_path / "merges.txt").write_text("")
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.load_pretrained(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def stock(folder: Path):  # type: ignore[no-untyped-def]
    """What transformers makes of the folder, loaded once."""
    if folder not in _loaded:
        _loaded[folder] = AutoTokenizer.from_pretrained(str(folder))
    return _loaded[folder]


_loaded: dict[Path, object] = {}
