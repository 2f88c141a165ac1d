"""The table of dialogue formats: who reads one, who writes it, what its files are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.text.corpora import (
    captions,
    collections_json,
    csv_tables,
    examples_text,
    exchanges,
    exported,
    jsonl,
    kobold,
    listed,
    marked_text,
    messenger_json,
    messengers,
    oasst,
    openai_messages,
    parlai_dialog,
    parlai_json,
    parlai_text,
    personachat_json,
    plain_text,
    plays,
    roleplay,
    sharegpt,
    sillytavern,
    template_text,
    timed_text,
)
from convai.text.corpora.notes import Notes


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write dialogues down. `render` is None where the format is only read."""

    name: str
    description: str
    extensions: tuple[str, ...]
    parse: Callable[[Path, Notes], Iterator[tuple[int, Dialog]]]
    render: Callable[[Iterable[Dialog]], Iterator[str]] | None = None


FORMATS: Final[dict[str, Format]] = {
    f.name: f
    for f in (
        Format(
            "jsonl",
            "this project's own JSON Lines; holds everything",
            (".jsonl", ".ndjson"),
            jsonl.parse,
            jsonl.render,
        ),
        Format(
            "personachat",
            "PERSONA-CHAT as JSON: personality, utterances, candidates (the last one is the reply)",
            (".json",),
            personachat_json.parse,
            personachat_json.render,
        ),
        Format(
            "parlai",
            "ParlAI / ConvAI2 text: numbered lines, persona lines, partner<TAB>reply",
            (".txt",),
            parlai_text.parse,
            parlai_text.render,
        ),
        Format(
            "openai",
            "OpenAI messages, a JSON object a line; the system message is the persona",
            (),
            openai_messages.parse,
            openai_messages.render,
        ),
        Format("sharegpt", "ShareGPT conversations, JSON or a JSON object a line", (), sharegpt.parse),
        Format(
            "alpaca",
            "an exchange an entry: instruction, input, output, history; prompt, completion; question, answer",
            (),
            exchanges.parse,
        ),
        Format(
            "preference",
            "a chosen and a rejected reply: the gold one, and a wrong one beside it",
            (),
            exchanges.parse_preferences,
        ),
        Format("lists", "JSON lists of texts that take turns, or of exchanges", (), listed.parse),
        Format(
            "transcript",
            "text, or JSON with a 'text', in the marks of a chat template or behind names",
            (),
            template_text.parse,
        ),
        Format(
            "examples",
            "example dialogues of a character: {{user}}: and {{char}}:, <START> or END_OF_DIALOG between",
            (),
            examples_text.parse,
        ),
        Format("oasst", "OpenAssistant's trees: the path of the best-ranked answers", (), oasst.parse),
        Format(
            "parlai-json", "Multi-Session Chat's and Blended Skill Talk's own JSON", (), parlai_json.parse
        ),
        Format(
            "topical-chat",
            "Topical-Chat's own JSON: conversations by name",
            (),
            collections_json.parse_topical,
        ),
        Format(
            "multiwoz",
            "MultiWOZ's JSON of any version, and CamRest's: what the user and the system say",
            (),
            collections_json.parse_multiwoz,
        ),
        Format("conversation", "conversations as convai exports them", (), exported.parse),
        Format("sillytavern", "SillyTavern's chats: a header, then a message a line", (), sillytavern.parse),
        Format("roleplay", "chats of CharacterAI, Agnai, RisuAI, PIPPA", (), roleplay.parse),
        Format("kobold", "saves of KoboldAI and KoboldCpp", (), kobold.parse),
        Format(
            "telegram", "Telegram's export of a chat, or of all, as JSON", (), messenger_json.parse_telegram
        ),
        Format("facebook", "Messenger's and Instagram's export as JSON", (), messenger_json.parse_facebook),
        Format("discord", "DiscordChatExporter's JSON", (), messenger_json.parse_discord),
        Format("slack", "Slack's export: a list of messages", (), messenger_json.parse_slack),
        Format("signal", "signal-export's messages, one a line", (), messenger_json.parse_signal),
        Format("whatsapp", "WhatsApp's export of a chat as text", (), messengers.parse_whatsapp),
        Format("timed", "text with a time before every turn; logs of chat rooms", (), timed_text.parse),
        Format("captions", "captions (WebVTT, SRT) that say who speaks", (".vtt",), captions.parse),
        Format(
            "play",
            "plays and screenplays: names in capitals, or on lines of their own, before speeches",
            (".fountain",),
            plays.parse,
        ),
        Format(
            "parlai-dialog", "ParlAI's dialog format: text, labels, episode_done", (), parlai_dialog.parse
        ),
        Format("dailydialog", "a dialogue a line, __eou__ behind each turn", (), marked_text.parse),
        Format(
            "csv",
            "a table of chats (Persona, chat), of turns (conversation, speaker, text) or of exchanges",
            (".csv", ".tsv"),
            csv_tables.parse,
        ),
        Format("text", "plain text: a turn a line, a blank line between dialogues", (), plain_text.parse),
    )
}


def named(name: str, *, to_write: bool = False) -> Format:
    """The format of that name. Raises DataError, listing the names, for an unknown one."""
    usable = [f.name for f in FORMATS.values() if f.render or not to_write]
    if name not in usable:
        what = "cannot be written" if name in FORMATS else "is unknown"
        raise DataError(f"format '{name}' {what}; use one of {', '.join(usable)}")
    return FORMATS[name]
