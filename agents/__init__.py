"""Agents and sessions: conversations that survive crashes, and effects carried out after them."""

from understudy.agents._agent import Agent
from understudy.agents._effects import EffectHandler, EffectRejected
from understudy.agents._errors import (
    AgentCrash,
    CursorAhead,
    HostStopped,
    InvalidClient,
    InvalidMessageId,
    InvalidSessionKey,
    InvalidText,
    SessionError,
    TextTooLong,
    TurnFailed,
    UnknownAgent,
)
from understudy.agents._feed import Attachment
from understudy.agents._frames import Answer
from understudy.agents._host import SessionHost, SessionInfo
from understudy.agents._key import SessionKey
from understudy.agents._message import Exchange, Message
from understudy.agents._session_event import SessionEvent
from understudy.agents._turn import Turn
from understudy.agents._turn_context import TurnContext

__all__ = [
    "Agent",
    "AgentCrash",
    "Answer",
    "Attachment",
    "CursorAhead",
    "EffectHandler",
    "EffectRejected",
    "Exchange",
    "HostStopped",
    "InvalidClient",
    "InvalidMessageId",
    "InvalidSessionKey",
    "InvalidText",
    "Message",
    "SessionError",
    "SessionEvent",
    "SessionHost",
    "SessionInfo",
    "SessionKey",
    "TextTooLong",
    "Turn",
    "TurnContext",
    "TurnFailed",
    "UnknownAgent",
]
