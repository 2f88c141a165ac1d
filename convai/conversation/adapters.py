"""Models beside an agent's own, from folders: checked at once, loaded when a reply asks for them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from convai.conversation.agent import Agent, Voice, load_agent, load_voice
from convai.core.errors import SettingsError
from convai.core.settings import EngineConfig
from convai.engine import Engine
from convai.engine.adapters import Adapters
from convai.engine.apart import Apart
from convai.engine.handshake import identity, prompts_of
from convai.engine.port import Port
from convai.engine.wire import Identity
from convai.model.folder import model_folder


class Computing(NamedTuple):
    """An agent, what computes for it, and the folders of the adapters that it can load."""

    agent: Agent
    own: Engine
    engine: Port
    """`own`, with adapters beside it where there are some."""
    folders: Mapping[str, Path]

    def identity(self) -> Identity:
        """Who this is to doors elsewhere."""
        agent = self.agent
        return identity(agent.name, agent.tokenizer, agent.model, self.own.precision, self.folders)


def start(
    model: str | Path | None,
    config: EngineConfig,
    *,
    context: int | None = None,
    adapters: Sequence[str] = (),
    loaded: int = 2,
) -> Computing:
    """Load an agent, and start its engine.

    With `adapters`, folders or names of models with the same tokenizer, a request may ask for one of them by
    its name; `loaded` of them are in memory at a time. Raises as `load_agent`, and SettingsError for one that
    does not take the same prompts.
    """
    agent = load_agent(model, context=context)
    folders = _folders(agent, adapters, context)
    own = agent.engine(config).start()
    load = {name: partial(_load, folder, config, context) for name, folder in folders.items()}
    return Computing(agent, own, Adapters(own, load, most=loaded) if load else own, folders)


def start_apart(
    model: str | Path | None,
    config: EngineConfig,
    *,
    context: int | None = None,
    adapters: Sequence[str] = (),
    loaded: int = 2,
    threads: int = 1,
) -> tuple[Voice, Apart]:
    """As `start`, in a process of its own with so many `threads`; here is only what a conversation needs."""
    load = partial(start, model, config, context=context, adapters=adapters, loaded=loaded)
    voices: list[Voice] = []

    def expected() -> Identity:
        voices.append(voice := load_voice(model, context=context))
        return identity(voice.name, voice.tokenizer)

    engine = Apart(load, expected, threads=threads)
    [voice] = voices
    return voice.within(engine.limits), engine


def _load(folder: Path, config: EngineConfig, context: int | None) -> Port:
    return load_agent(folder, context=context).engine(config).start()


def _folders(agent: Agent, adapters: Sequence[str], context: int | None) -> Mapping[str, Path]:
    folders: dict[str, Path] = {}
    for given in adapters:
        folder = model_folder(given).resolve()
        voice = load_voice(folder, context=context)
        wrong = ""
        if voice.name == agent.name or voice.name in folders:
            wrong = f"there are two models called {voice.name}; rename one of the folders"
        elif prompts_of(voice.tokenizer) != prompts_of(agent.tokenizer):
            wrong = f"its tokens are not those of {agent.name}; give models of the same base"
        elif voice.positions < agent.positions:
            wrong = f"it takes {voice.positions} positions, {agent.name} {agent.positions}; see --context"
        if wrong:
            raise SettingsError(f"--adapters {given}: {wrong}")
        folders[voice.name] = folder
    return folders
