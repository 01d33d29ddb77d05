"""Checkpoints of a call: an exception in a turn undoes all that the turn has changed, since its actions are lost."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from ..sdp.media_session import MediaSession
from .call import Call

Checkpoint = tuple[tuple[Any, ...], tuple[Any, ...]]
"""The attributes of a call and of its media session at one moment."""


def _attributes(kind: type) -> tuple[str, ...]:
    """The names of the attributes of a class with ``__slots__``, which a compiled class has under another name."""
    names: tuple[str, ...] = getattr(kind, "__mypyc_attrs__", ()) or getattr(kind, "__slots__")  # noqa: B009
    return names


CALL = _attributes(Call)
MEDIA_SESSION = _attributes(MediaSession)
_read_call = attrgetter(*CALL)
_read_media_session = attrgetter(*MEDIA_SESSION)


def checkpoint(call: Call) -> Checkpoint:
    """Return a checkpoint by which ``restore`` can undo all later changes to ``call``."""
    return _read_call(call), _read_media_session(call.media)


def restore(call: Call, former: Checkpoint) -> None:
    """Undo all changes to ``call`` since the checkpoint ``former``."""
    own, media = former
    for name, value in zip(CALL, own):
        setattr(call, name, value)
    for name, value in zip(MEDIA_SESSION, media):
        setattr(call.media, name, value)
