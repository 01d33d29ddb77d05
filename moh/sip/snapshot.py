"""What is known of a call at one moment, as plain data: for the log, and for whatever shows the calls elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..common.actions import Address
from ..rtp.reception import Reception
from .call import Call
from .dialog import caller_of

WAITING, PLAYING, ON_HOLD, ENDED = "waits for the ACK", "plays", "on hold, no music", "ended"
"""The states of a call, in words for the owner."""


@dataclass(frozen=True)
class CallSnapshot:
    """One call. Times are in seconds."""

    id: str
    age: float
    """Since the call was answered."""
    source: Address
    """Where the caller's requests come from."""
    transport: str
    """UDP, TCP or TLS."""
    from_field: bytes
    """The From of the caller; ``caller`` reads it, which takes longer than all the rest."""
    name: str
    """The name of the music that plays; empty for the default."""
    dialled: str
    """The name that the caller dialled, ``MOST_OCTETS`` at most."""
    state: str
    """One of the four states of this module."""
    played: float
    """The music so far."""
    codec: str
    ptime: int
    """Milliseconds of music in a packet."""
    receiver: Optional[Address]
    """Where the music goes; ``None`` where none is wanted."""
    port: int
    """The port that it comes from."""
    shared: bool
    """Whether other calls have the same port."""
    encrypted: bool
    """Whether the music is SRTP: then the receiver's reports cannot be read."""
    reception: Reception
    """What the receiver has reported."""
    reported_before: Optional[float]
    """How long ago the latest report came; ``None`` where none has come."""
    heard: str
    """The same in words."""

    @property
    def ended(self) -> bool:
        """Whether the call has ended and only waits for its BYE or its stream."""
        return self.state == ENDED

    @property
    def caller(self) -> str:
        """The user and host of the caller, as it names itself."""
        return caller_of(self.from_field)


def snapshot(call: Call, now: float) -> CallSnapshot:
    """The state of ``call`` now. This takes some microseconds."""
    media, wanted, reception = call.media, call.media.wanted, call.reception
    wants_music = wanted is not None and wanted.playing
    if call.ended:
        state = ENDED
    elif media.playing:
        state = PLAYING
    else:
        state = WAITING if wants_music or wanted is None else ON_HOLD
    return CallSnapshot(
        id=call.id,
        age=call.age(now),
        source=call.dialog.flow.remote,
        transport=call.dialog.flow.transport,
        from_field=call.dialog.from_field,
        name=call.selection.name,
        dialled=call.selection.dialled,
        state=state,
        played=media.played(now),
        codec=wanted.codec.name if wanted is not None and wants_music else "",
        ptime=media.ptime,
        receiver=wanted.remote if wanted is not None and wants_music else None,
        port=media.origin.port,
        shared=media.origin.shared,
        encrypted=wanted is not None and wanted.crypto is not None,
        reception=reception,
        reported_before=now - reception.at if reception.reports else None,
        heard=call.heard,
    )
