"""What the core may ask of the shell, and the few nouns both need. Frozen, so that an action can be kept and compared.

The one law here: an action says *what*, never *how*; the core does not know which engine plays or which socket sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Union

from .codecs import Codec


class Address(NamedTuple):
    """A host, as a literal IP address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Flow(NamedTuple):
    """The way a message came: from whom, and to which of our own addresses. What goes back takes it the other way.

    An answer has to leave from the address that the request was sent to (RFC 3581 §4); on a host with several
    addresses only the message itself tells which that was.
    """

    remote: Address
    local: Address
    transport: str = "UDP"
    connection: int = 0
    """The shell's number of the TCP or TLS connection, which no other has; 0 for UDP."""

    @property
    def reliable(self) -> bool:
        """Whether the transport itself repeats what is lost (RFC 3261 §17)."""
        return self.transport != "UDP"


class Send(NamedTuple):
    """Put ``data`` on the wire once, towards ``to``, from the side of ``flow`` that is ours."""

    data: bytes
    to: Address
    flow: Flow


class Target(NamedTuple):
    """Where one caller's music goes, and in which shape.

    ``remote`` takes the RTP and ``remote_rtcp`` the RTCP; ``local`` is the address and the port that both the answer
    names and the RTP leaves from. ``payload_type`` is the offer's number for ``codec``, 0 to 127; ``ptime`` is the
    length of a packet in milliseconds.
    """

    remote: Address
    remote_rtcp: Address
    local: Address
    codec: Codec
    payload_type: int
    ptime: int
    srtp_suite: str = ""
    srtp_key: str = ""
    """What we encrypt with, in base64; both are empty for plain RTP."""

    def __repr__(self) -> str:
        """Without the key."""
        shown = [f"{name}={value!r}" for name, value in zip(self._fields, self) if name != "srtp_key"]
        return f"Target({', '.join(shown)})"


@dataclass(frozen=True)
class StartStream:
    """Play to ``target`` for ``call``, from ``position`` seconds into the endless tune.

    A call that plays already is moved: its former stream ends first. ``serial`` counts the starts of a call; the shell
    reports the end of the last of them, and of that alone, to ``UserAgent.stream_gone``.
    """

    call: str
    serial: int
    target: Target
    position: float
    tune: int = 0
    """Which of the tunes that the shell has had ready: a call keeps its own to the end."""


@dataclass(frozen=True)
class StopStream:
    """Stop playing for ``call``. The shell tells when its port is free again: ``UserAgent.stream_gone``."""

    call: str


@dataclass(frozen=True)
class Note:
    """A line for the log. ``level`` is a number of :mod:`logging`; ``about`` is a short name of the call, or empty."""

    level: int
    about: str
    text: str


class Resolve(NamedTuple):
    """Find the address of a host name without keeping anybody waiting, and tell ``UserAgent.resolved``.

    Where its turn comes late, ``UserAgent.unasked`` says whether anybody still waits for it.
    """

    name: str
    source: str
    """Who asks, as ``addresses.source_of`` has it."""
    stranger: bool
    """Whether he is a stranger: then those who are known shall not wait behind him, nor he behind them."""
    trusted: bool = False
    """Whether he is in a private network or one that the owner names: nor shall he wait behind anybody else."""


Action = Union[Send, StartStream, StopStream, Resolve, Note]
