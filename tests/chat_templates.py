"""Chat templates in the ways of published models, and small tokenizers that go with them."""

from __future__ import annotations

import dataclasses
import tempfile
from functools import cache
from pathlib import Path

import tokenizers
import transformers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from convai.text.chat_files import ChatFiles
from convai.text.tokenizer import Tokenizer
from tests.tokenizer_kinds import TEXTS

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""With a system prompt of its own where there is none (SmolLM2, Qwen 2)."""

LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim }}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
"""A date in the system block, trimmed contents, a token that begins everything."""

GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
"""No place for a system prompt, and a strict order of the speakers."""

GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {{- message['content'] | trim }}
    {{- '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
"""
"""The persona in front of the first message."""

BARE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST]' + message['content'] + '[/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant') }}"
    "{% endif %}{% endfor %}"
)
"""Nothing opens the agent's turn but the end of the user's, as in Mistral's (without its blanks)."""

THINKING = """{%- for message in messages %}
    {%- if message.role == 'assistant' and loop.last %}
        {{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' + message.content + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""
"""The last reply written in another way than those before (Qwen 3)."""

TEMPLATES = {
    "chatml": CHATML,
    "llama": LLAMA,
    "gemma2": GEMMA2,
    "gemma3": GEMMA3,
    "bare": BARE,
    "thinking": THINKING,
}

CONTROL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<|pad|>"}

SPECIAL = (
    *("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<s>", "</s>", "<|pad|>"),
)


@cache
def byte_level() -> tokenizers.Tokenizer:
    """Byte-level BPE as GPT-2's, that keeps upper case, with the control tokens of every template."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    made.add_special_tokens(list(SPECIAL))
    # what some tokenizers add as if it were text
    made.add_tokens([AddedToken("<think>", special=False), AddedToken("\n\n\n", special=False)])
    return made


@cache
def sentence_piece() -> tokenizers.Tokenizer:
    """As Gemma's: blanks are `▁`, and a character without a token is spelt in bytes."""
    letters = "▁abcdefghijklmnopqrstuvwxyzHI.,!?'\n"
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = [("▁", "h"), ("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("▁", "hello")]
    vocab = {piece: id for id, piece in enumerate([*pieces, *("".join(pair) for pair in merges)])}
    model = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    made = tokenizers.Tokenizer(model)
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(list(SPECIAL))
    made.add_tokens([AddedToken("▁▁", normalized=False), AddedToken("<table>", normalized=False)])
    return made


BACKENDS = {"byte-level": byte_level, "sentencepiece": sentence_piece}


def chat_files(name: str) -> ChatFiles:
    """The template and its control tokens; a reply may end with </s> as well."""
    return ChatFiles(TEMPLATES[name], CONTROL, (byte_level().token_to_id("</s>"),))


@cache
def chat_kind(name: str, backend: str = "byte-level") -> Tokenizer:
    """A tokenizer in the frame of one of TEMPLATES."""
    ends = (BACKENDS[backend]().token_to_id("</s>"),)
    return Tokenizer(BACKENDS[backend](), chat=dataclasses.replace(chat_files(name), stop_ids=ends))


@cache
def stock(name: str) -> transformers.PreTrainedTokenizerFast:
    """transformers' own tokenizer with that template, read from the folder that `save` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        chat_kind(name).save(Path(folder))
        return transformers.AutoTokenizer.from_pretrained(folder)


def chat_bytes() -> Tokenizer:
    """A token a byte in ChatML: 256 bytes, and the control tokens behind them."""
    plain = Tokenizer.byte_level()
    backend = tokenizers.Tokenizer.from_str(plain.to_json())
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return Tokenizer(backend, chat=ChatFiles(CHATML))
