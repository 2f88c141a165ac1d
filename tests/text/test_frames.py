"""A dialogue in a template's frame is what the template itself writes, and nothing typed opens a turn."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import CheckpointError
from convai.text.chat_files import ChatFiles
from convai.text.prompt import encode_persona, encode_turns
from convai.text.segments import EncodedTurn, build_prefix, build_prompt
from convai.text.tokenizer import Tokenizer
from tests.chat_templates import (
    BACKENDS,
    CHATML,
    SPECIAL,
    TEMPLATES,
    byte_level,
    chat_bytes,
    chat_kind,
    stock,
)
from tests.tokenizer_kinds import texts

said = (
    st.text(st.sampled_from("abcdehilnorstu ABHIO.,!?'-0123456789éß🙂"), min_size=1, max_size=24)
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)
"""What people write, on one line."""

typed = st.lists(
    st.one_of(texts, st.sampled_from([*SPECIAL, "<think>", "<bos>", "<|im_", "start|>", "user\n", "\n\n"])),
    max_size=6,
).map("".join)
"""Text made of control tokens and their parts."""


def plain(persona: list[str], turns: list[str], *, merged: bool) -> list[dict[str, str]]:
    """The messages that transformers is given."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
    block = "\n".join(persona)
    if persona and merged:
        messages[0]["content"] = f"{block}\n\n{messages[0]['content']}"
    elif persona:
        messages.insert(0, {"role": "system", "content": block})
    return messages


def encoded(tokenizer: Tokenizer, turns: list[str]) -> list[EncodedTurn]:
    return encode_turns(tokenizer, [Turn(i % 2, text) for i, text in enumerate(turns)])


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"thinking"}))
@given(persona=st.lists(said, min_size=1, max_size=4), turns=st.lists(said, min_size=1, max_size=6))
def test_a_dialogue_is_what_the_template_writes(name: str, persona: list[str], turns: list[str]) -> None:
    """The ids of transformers' apply_chat_template, with the template's own rules for blanks and order."""
    tokenizer = chat_kind(name)
    written = encode_persona(tokenizer, Persona(tuple(persona)))
    messages = plain(persona, turns, merged=name in ("gemma2", "bare"))
    options = {"tokenize": True, "date_string": "26 Jul 2024"}
    whole = stock(name).apply_chat_template(messages, **options)["input_ids"]
    assert build_prefix(tokenizer.frame, written, encoded(tokenizer, turns)).ids == whole
    if len(turns) % 2:  # the agent's turn
        prompt = build_prompt(tokenizer.frame, written, encoded(tokenizer, turns))
        asked = stock(name).apply_chat_template(messages, add_generation_prompt=True, **options)
        assert prompt.ids == asked["input_ids"]


def test_a_template_with_another_last_reply_writes_every_reply_as_those_before() -> None:
    tokenizer = chat_kind("thinking")
    turns = ["hi", "hello", "how are you?"]
    written = build_prefix(tokenizer.frame, [], encoded(tokenizer, turns[:2])).ids
    whole = stock("thinking").apply_chat_template(plain([], turns, merged=False), tokenize=True)["input_ids"]
    assert whole[: len(written)] == written


@pytest.mark.parametrize("name", TEMPLATES)
def test_nobody_has_no_block_and_no_default_prompt(name: str) -> None:
    tokenizer = chat_kind(name)
    frame = tokenizer.frame
    prompt = build_prompt(frame, [], encoded(tokenizer, ["hi"]))
    assert prompt.ids == [
        *frame.start,
        *frame.openings[USER],
        *tokenizer.encode("hi"),
        *frame.closings[USER],
        *frame.openings[AGENT],
    ]
    assert "helpful" not in tokenizer.decode(prompt.ids)


def test_the_pieces_of_chatml() -> None:
    tokenizer = chat_bytes()
    frame, start, end = tokenizer.frame, 261, 262
    assert frame.start == ()
    assert frame.before_persona == (start, *b"system\n")
    assert frame.after_persona == (end, *b"\n")
    assert frame.openings == ((start, *b"user\n"), (start, *b"assistant\n"))
    assert frame.closings == ((end, *b"\n"), (end, *b"\n"))
    assert (frame.end_id, frame.stop_ids, frame.segments) == (end, (end,), (ord("u"), ord("a")))
    written = build_prompt(frame, [[*b"a"], [*b"b"]], [EncodedTurn(USER, [*b"hi"])])
    blocks = (b"system\na\nb", b"user\nhi")
    assert written.ids == [
        *(id for block in blocks for id in (start, *block, end, *b"\n")),
        start,
        *b"assistant\n",
    ]
    assert [written.ids[i] for i, turn in enumerate(written.turn) if turn == 0] == [*b"ab"]
    assert [written.ids[i] for i, turn in enumerate(written.turn) if turn == 1] == [*b"hi"]
    agents = len(b"\x00system\na\nb\x00\n")
    users = len(b"\x00user\nhi\x00\n")
    assert written.segments == [ord("a")] * agents + [ord("u")] * users + [ord("a")] * len(b"\x00assistant\n")


def test_a_persona_before_a_turn_of_the_agents() -> None:
    """Where it belongs into the user's first turn, and that is not there, it has one to itself."""
    tokenizer = chat_kind("gemma3")
    frame = tokenizer.frame
    persona = [tokenizer.encode("i bake.")]
    begun = build_prefix(frame, persona, [EncodedTurn(AGENT, tokenizer.encode("hi"))]).ids
    opening = [
        *frame.start,
        *frame.openings[USER],
        *persona[0],
        *frame.closings[USER],
        *frame.openings[AGENT],
    ]
    assert begun[: len(opening)] == opening
    asked = build_prompt(frame, persona, [], USER).ids
    assert asked == [*frame.start, *frame.openings[USER], *persona[0], *frame.after_persona]


def test_every_end_of_the_generation_config_ends_a_reply() -> None:
    ids = {byte_level().token_to_id("</s>"), byte_level().token_to_id("<|im_end|>")}
    assert set(chat_kind("chatml").frame.stop_ids) == ids
    assert chat_kind("chatml").frame.end_id == byte_level().token_to_id("<|im_end|>")


# -- typed text


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["chatml", "gemma3"])
@given(persona=st.lists(typed, max_size=2), turns=st.lists(typed, min_size=1, max_size=3))
def test_nothing_typed_is_a_control_id(name: str, backend: str, persona: list[str], turns: list[str]) -> None:
    """The control ids of a dialogue are those of one in which nobody says anything."""
    tokenizer = chat_kind(name, backend)
    for text in (*persona, *turns):
        assert tokenizer.special_ids.isdisjoint(tokenizer.encode(text))
    dialog = Dialog(tuple(Turn(i % 2, text) for i, text in enumerate(turns)))
    written = build_prompt(
        tokenizer.frame, tokenizer.encode_batch(persona), encode_turns(tokenizer, dialog.turns)
    )
    silent = build_prompt(
        tokenizer.frame, [[] for _ in persona], [EncodedTurn(t.speaker, []) for t in dialog.turns]
    )
    controls = [id for id in written.ids if id in tokenizer.special_ids]
    assert controls == [id for id in silent.ids if id in tokenizer.special_ids]


@pytest.mark.parametrize("backend", BACKENDS)
@given(text=typed.map(lambda text: text.lstrip(" ").encode("utf-8", "ignore").decode()))
def test_text_comes_back_whole_and_in_pieces(backend: str, text: str) -> None:
    """Upper case, blanks and characters of several tokens included; what is shown early is never half one."""
    tokenizer = chat_kind("chatml", backend)
    ids = tokenizer.encode(text)
    if "▁" not in text:  # SentencePiece knows it from a blank no more
        assert tokenizer.decode(ids) == text
    stream = tokenizer.stream()
    pieces = [stream.push(id) for id in ids]
    assert "".join([*pieces, stream.finish()]) == tokenizer.decode(ids)
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_half_a_character_waits_for_the_other_half() -> None:
    tokenizer = chat_bytes()
    stream = tokenizer.stream()
    assert [stream.push(byte) for byte in "é!".encode()] == ["", "é", "!"]


# -- files


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_saved_tokenizer_is_the_same(name: str, tmp_path: Path) -> None:
    tokenizer = chat_kind(name)
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    again = copy.deepcopy(loaded)  # as pickle, for a data loader's worker
    for other in (loaded, again):
        assert other.frame == tokenizer.frame
        assert other.fingerprint == tokenizer.fingerprint
        assert other.encode("<|im_end|>Hi") == tokenizer.encode("<|im_end|>Hi")


def test_a_base_is_tuned_in_the_frame_that_is_asked_for(tmp_path: Path) -> None:
    chat_kind("chatml").save(tmp_path)
    own, added = Tokenizer.load_pretrained(tmp_path)
    assert (own.frame, added) == (chat_kind("chatml").frame, 0)
    blog, added = Tokenizer.load_pretrained(tmp_path, "blog")
    assert (blog.frame.name, added) == ("blog", 5)
    assert blog.vocab_size == own.vocab_size + 5
    blog.save(tmp_path)  # tuned in it, it stays in it
    assert Tokenizer.load(tmp_path).frame == blog.frame
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="no chat template; use --frame blog"):
        Tokenizer.load_pretrained(tmp_path, "template")


def test_the_layouts_in_which_templates_are_published(tmp_path: Path) -> None:
    tokenizer = chat_kind("chatml")
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    template = config.pop("chat_template")
    named = [{"name": "tools", "template": "{{ none }}"}, {"name": "default", "template": template}]
    ends = {"content": "</s>", "lstrip": False}
    for values in ({"chat_template": named}, {"chat_template": template, "eos_token": ends}):
        path.write_text(json.dumps(config | values))
        assert Tokenizer.load(tmp_path).frame == tokenizer.frame
    path.write_text(json.dumps(config | {"chat_template": "{{ none }}"}))
    (tmp_path / "chat_template.jinja").write_text(template)
    assert Tokenizer.load(tmp_path).frame == tokenizer.frame
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "end"}')
    with pytest.raises(CheckpointError, match=r"generation_config.json: eos_token_id='end'; use a token id"):
        Tokenizer.load(tmp_path)


UNUSABLE = {
    "damaged": ("{% for %}", "is damaged"),
    "silent": ("hello", "does not write every turn once"),
    "refusing": ("{{ raise_exception('no') }}", r"refuses a dialogue \(no\)"),
    "twice": (CHATML + CHATML, "does not write every turn once"),
    "no end": (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}",
        "ends a reply without a control token",
    ),
    "numbered": (
        "{% for m in messages %}{{ '<s>' ~ loop.index ~ m['role'] ~ m['content'] ~ '</s>' }}{% endfor %}",
        "opens turns in different ways",
    ),
    "last closed otherwise": (
        "{% for m in messages %}{{ '<s>' + m['role'] + m['content'] + ('<|pad|>' if loop.last else '</s>') }}"
        "{% endfor %}",
        "closes the user's turns in different ways",
    ),
    "shouting": (
        "{% for m in messages %}{{ '<s>' + m['role'] + '\n' + m['content'].replace('H', 'h') + '</s>' }}"
        "{% endfor %}",
        "its pieces do not add up to",
    ),
    "blanks that a word takes over": (
        "{% for m in messages %}{{ '<s>' + m['role'] + ' ' + m['content'] + '</s>' }}{% endfor %}",
        "its pieces do not add up to",
    ),
    "endless": ("{% for i in range(10 ** 9) %}{{ i }}{% endfor %}", "refuses a dialogue"),
    "prying": ("{{ ''.__class__.__mro__ }}", "refuses a dialogue"),
}


@pytest.mark.parametrize(("template", "told"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_template_of_no_use_is_one_clear_line(template: str, told: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^there: the chat template .*{told}.*--frame blog\)$"):
        Tokenizer(byte_level(), chat=ChatFiles(template, {"bos_token": "<s>"}), where="there")
