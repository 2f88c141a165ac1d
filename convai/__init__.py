"""convai: a persona chatbot that you own.

Importing this package does nothing heavy: torch is loaded by the commands that need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import ConvaiError

if TYPE_CHECKING:
    from convai.conversation.agent import Agent, load_agent

__version__ = "0.1.0"
__all__ = ["AGENT", "USER", "Agent", "ConvaiError", "Dialog", "Persona", "Turn", "load_agent"]


def __getattr__(name: str) -> Any:
    """Load the torch-dependent part of the public API on first use (PEP 562)."""
    if name in ("load_agent", "Agent"):
        from convai.conversation import agent

        return getattr(agent, name)
    raise AttributeError(f"module 'convai' has no attribute {name!r}")
