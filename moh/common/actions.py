"""The actions that the core returns, and the data types that core and server share. Immutable, so they can be compared.

The law kept here: an action says *what*, never *how*; the core does not know which engine plays or which socket sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Optional, Union

from .codecs import Codec

PROBE = "health check"
"""In place of the id of a call: the stream by which the server finds out whether music leaves it. It is no call."""


class Address(NamedTuple):
    """A host, as a literal IP address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Flow(NamedTuple):
    """The path of a received message: its source, and the address of this server that it was sent to.

    A response has to leave from the address that the request was sent to (RFC 3581 §4). On a host with several
    addresses only the received message shows which one that was.
    """

    remote: Address
    local: Address
    transport: str = "UDP"
    connection: int = 0
    """The unique number of the TCP or TLS connection; 0 for UDP."""

    @property
    def reliable(self) -> bool:
        """Whether the transport itself repeats what is lost (RFC 3261 §17)."""
        return self.transport != "UDP"


class Send(NamedTuple):
    """Send ``data`` once to ``to``, from the local address of ``flow``."""

    data: bytes
    to: Address
    flow: Flow


class Target(NamedTuple):
    """Where the music of one call goes, and in which format.

    ``remote`` receives the RTP and ``remote_rtcp`` the RTCP. The RTP leaves from ``local``, which the SDP answer names.
    ``payload_type`` is the offer's number for ``codec``, 0 to 127. ``ptime`` is the length of a packet in milliseconds.
    """

    remote: Address
    remote_rtcp: Address
    local: Address
    codec: Codec
    payload_type: int
    ptime: int
    srtp_suite: str = ""
    srtp_key: str = ""
    """The key for outgoing packets, in base64; suite and key are empty for plain RTP."""

    def __repr__(self) -> str:
        """Leaves the key out."""
        shown = [f"{name}={value!r}" for name, value in zip(self._fields, self) if name != "srtp_key"]
        return f"Target({', '.join(shown)})"


class StartStream(NamedTuple):
    """Play to ``target`` for ``call``, from ``position`` seconds into the looped tune.

    The call's former stream, if there is one, ends first. ``serial`` counts the starts of a call: ``StreamEnded``
    reports the end of the latest one only.
    """

    call: str
    serial: int
    target: Target
    position: float
    tune: int = 0
    """The number of the tune; a call keeps its tune to its end."""


class StopStream(NamedTuple):
    """Stop playing for ``call``. ``StreamEnded`` follows when its port is free again."""

    call: str


class StreamEnded(NamedTuple):
    """An engine's report, not an action: the stream that ``StartStream`` with this ``serial`` began has ended."""

    call: str
    serial: int
    why: str
    hopeless: str = ""
    """Why another start would fail too, in two words ("port unreachable"); empty where another start may succeed."""


class StreamBegan(NamedTuple):
    """An engine's report: the first packet of the stream that ``StartStream`` with this ``serial`` began has left.

    Only streams on a port of their own are reported. ``at`` is when the engine noticed it; 0 where it does not say.
    """

    call: str
    serial: int
    at: float = 0.0


class Note(NamedTuple):
    """A line for the log. ``level`` is a number of :mod:`logging`; ``about`` is the number of the call, or empty."""

    level: int
    about: str
    text: str
    source: Optional[Address] = None
    """Where the message came from that the line is about; ``None`` where it is about none."""

    def __str__(self) -> str:
        return f"[{self.about[:8]}] {self.text}" if self.about else self.text


@dataclass(frozen=True)
class Fault:
    """An unexpected exception in one owner's turn, for the log. ``about`` says what was being done."""

    error: Exception
    about: str


class Trust(Enum):
    """How far a source address is trusted. The resolver has threads and a queue of its own for each kind."""

    UNVALIDATED = "unvalidated"
    """Nothing has proved that the source receives what is sent to its address."""
    VALIDATED = "validated"
    """The source has proved that it receives what is sent to its address, by an earlier call or by TCP."""
    TRUSTED = "trusted"
    """The source is in a private network or in one that the owner names."""


class Resolve(NamedTuple):
    """Look up the address of a host name in the background; ``UserAgent.resolved`` takes the result.

    Before the look-up starts, ``UserAgent.discard_unwanted`` says whether no request waits for the name any more.
    """

    name: str
    source: str
    """The source of the request, as ``addresses.source_of`` gives it; empty for all trusted sources together."""
    trust: Trust
    version: int = 0
    """The IP version of the address, 4 or 6; 0 for any."""


Action = Union[Send, StartStream, StopStream, Resolve, Note, Fault]
