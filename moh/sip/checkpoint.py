"""Checkpoints of a call: an exception in a turn undoes all that the turn has changed, since its actions are lost."""

from __future__ import annotations

from typing import Any

from .call import Call

Checkpoint = tuple[dict[str, Any], dict[str, Any]]
"""The attributes of a call and of its media session at one moment."""


def checkpoint(call: Call) -> Checkpoint:
    """Return a checkpoint by which ``restore`` can undo all later changes to ``call``."""
    return {name: getattr(call, name) for name in Call.__slots__}, vars(call.media).copy()


def restore(call: Call, former: Checkpoint) -> None:
    """Undo all changes to ``call`` since the checkpoint ``former``."""
    own, media = former
    for name, value in own.items():
        setattr(call, name, value)
    vars(call.media).update(media)
