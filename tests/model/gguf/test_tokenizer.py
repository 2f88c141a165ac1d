"""The tokenizer rebuilt from a GGUF file gives the ids that the model was trained with."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer

from convai.core.errors import CheckpointError
from convai.model.gguf.container import open_gguf
from convai.model.gguf.tokenizer import read_tokenizer, tokenizer_files
from tests.model.gguf.files import CONTROL, tiny_model, trained_tokenizer, write_gguf

PIECES = [
    *"abcXYZ'.,!?-_/\\\"<>|{}[]()#@&%$ \t\n",
    " the", "weather", "'s", "'ll", "n't", " 2", "13", "3.14", "½", "٣", "Ⅷ", "  ", "   ", "\r\n", "\u00a0",
    "é", "e\u0301", "ß", "İ", "日本語", "한국어", "🙂", "👩‍👩‍👧", "🏳️‍🌈",
    "\u200b", "\ufeff", "�", "\x00", "\x7f",
    *CONTROL, "<|im_", "end|>", "<bos>",
]  # fmt: skip


def nasty_lines(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(PIECES, k=rng.randint(1, 12))) for _ in range(count)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    model = tiny_model("llama")
    return {pre: write_gguf(folder / f"{pre}.gguf", model, pre=pre) for pre in ("smollm", "gpt-2", "other")}


def test_the_ids_are_those_of_the_tokenizer_that_was_written(files: dict[str, Path]) -> None:
    original, again = trained_tokenizer(), read_tokenizer(open_gguf(files["smollm"]))
    for line in nasty_lines(3000):
        expected = original.encode(line, add_special_tokens=False).ids
        assert again.encode(line, add_special_tokens=False).ids == expected, repr(line)
        assert again.decode(expected, skip_special_tokens=False) == line.encode().decode("utf-8")


def test_digits_stand_alone_with_the_blanks_before_them_apart(files: dict[str, Path]) -> None:
    smollm, gpt2 = (read_tokenizer(open_gguf(files[pre])) for pre in ("smollm", "gpt-2"))
    words = [
        [word for word, _ in backend.pre_tokenizer.pre_tokenize_str("a  27")] for backend in (smollm, gpt2)
    ]
    assert words == [["a", "ĠĠ", "2", "7"], ["a", "Ġ", "Ġ27"]]


def test_the_ids_are_what_transformers_reads_from_the_file(files: dict[str, Path]) -> None:
    """In GPT-2's rules to the id; transformers does not know SmolLM's, which differ before numbers only."""
    for pre in ("gpt-2", "smollm"):
        theirs = transformers.AutoTokenizer.from_pretrained(files[pre].parent, gguf_file=files[pre].name)
        ours = read_tokenizer(open_gguf(files[pre]))
        lines = nasty_lines(1000)
        if pre == "smollm":
            lines = [line for line in lines if not any(char.isnumeric() for char in line)]
        assert len(lines) > 300
        for line in lines:
            expected = theirs(line, add_special_tokens=False)["input_ids"]
            assert ours.encode(line, add_special_tokens=False).ids == expected, repr(line)


def test_gemma_s_ids_are_what_transformers_reads_from_the_file(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "gemma.gguf", tiny_model("gemma3_text"))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    ours = read_tokenizer(open_gguf(path))
    assert ours.encode("the weather").tokens == ["<bos>", "the", "▁wea", "the", "r"]
    for line in [*nasty_lines(1000), "the weather  and   then", " whether an ant", "ééé ingenue"]:
        expected = theirs(line, add_special_tokens=False)["input_ids"]
        assert ours.encode(line, add_special_tokens=False).ids == expected, repr(line)
        assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=True)


def test_the_files_load_in_transformers(files: dict[str, Path], tmp_path: Path) -> None:
    for name, text in tokenizer_files(open_gguf(files["smollm"])).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for line in nasty_lines(200):
        assert loaded(line)["input_ids"] == ours.encode(line).ids
    chat = [{"role": "user", "content": "hi"}]
    assert loaded.apply_chat_template(chat, tokenize=False) == "<|im_start|>user\nhi<|im_end|>\n"
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (1, 2, 2)
    generation = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert (generation.bos_token_id, generation.eos_token_id) == (1, 2)


def test_unsupported_rules_are_named_with_those_that_are_supported(files: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match=r"'other'.*gpt-2, smollm, llama-bpe, qwen2"):
        read_tokenizer(open_gguf(files["other"]))


def test_a_file_that_names_no_rules_is_refused_but_for_gpt2(tmp_path: Path) -> None:
    gpt2 = write_gguf(tmp_path / "gpt2.gguf", tiny_model("gpt2"), pre=None)
    assert read_tokenizer(open_gguf(gpt2)).encode("a 27", add_special_tokens=False).ids
    llama = write_gguf(tmp_path / "llama.gguf", tiny_model("llama"), pre=None)
    with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\.pre"):
        read_tokenizer(open_gguf(llama))


def test_merges_that_do_not_fit_are_one_line(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(files["smollm"].read_bytes().replace("Ġ t".encode(), b"zz t", 1))
    with pytest.raises(CheckpointError, match="merges that do not fit"):
        read_tokenizer(open_gguf(path))
