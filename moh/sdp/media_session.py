"""The media session of one call: what was offered and answered, and the stream that plays (RFC 3264 §8, RFC 7088 §2.4).

The laws kept here: the version in ``o=`` counts up exactly when the server's description has changed. The tune goes on
at its position, whatever is negotiated in between. A refused offer changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple, Optional

from ..common.actions import Action, Address, StartStream, StopStream, Target
from ..common.codecs import Codec
from ..common.errors import Refusal
from .description import SessionDescription
from .offer_answer import NOWHERE, Choice
from .writer import Side, write_answer, write_offer

SHARED_PTIMES = (20, 40, 60)
"""Milliseconds of sound in a packet of a call that shares its port. The offer only wishes for a length (RFC 3264 §6.1).

In the shared stream all calls with the same codec and length share one wake-up for each packet. With few lengths the
number of wake-ups has a bound, whatever callers wish for.
"""


def shared_ptime(wanted: int) -> int:
    """The longest of ``SHARED_PTIMES`` up to ``wanted``, or the shortest of them if all are longer."""
    for ptime in reversed(SHARED_PTIMES):
        if ptime <= wanted:
            return ptime
    return SHARED_PTIMES[0]


def no_srtp() -> Refusal:
    """The response to an SRTP offer in a call that shares its port (RFC 3261 §20.43 for the Warning)."""
    why = "No exclusive port is left for SRTP; expected RTP/AVP"
    return Refusal(488, why, ("Warning", f'399 moh "{why}"'))


class Origin(NamedTuple):
    """What stays the same in all descriptions of one session: port, session number, SRTP key, codecs.

    ``shared`` says that other calls have the same port; then RTCP uses it too, and there is no SRTP. ``local_host``
    gives the local address from which media to a given host leaves; it raises ``Refusal`` 488 where there is no route.
    With ``two_way`` the server offers ``sendrecv``, and answers an offer of ``sendrecv`` with it (RFC 3264 §6.1): some
    PBXs take ``sendonly`` for hold, and play their own music. What the other side then sends is ignored.
    """

    port: int
    shared: bool
    session_id: int
    srtp_key: str
    codecs: tuple[Codec, ...]
    local_host: Callable[[str], str]
    two_way: bool = False


class Playing(NamedTuple):
    """The stream that plays: its target, the time of its start, and the second of the tune that it started at."""

    target: Target
    since: float
    position: float


class MediaSession:
    """Offer, answer and stream of one call. ``call`` is its name in actions; ``tune`` is the tune it plays.

    The session keeps a digest of the server's latest description. The text itself may be as long as the phone's offer.
    """

    __slots__ = (
        "_began", "_digest", "_local_host", "_playing", "_serial", "_version", "call", "origin", "position",
        "stream_open", "tune", "wanted",
    )  # fmt: skip

    def __init__(self, call: str, origin: Origin, tune: int) -> None:
        self.call = call
        self.tune = tune
        self.origin = origin
        self.stream_open = False
        """Whether an engine still has a stream of this call, so that the port is not free."""
        self.wanted: Optional[Choice] = None
        """What the latest offer and answer agreed on."""
        self.position = 0.0
        """The second of the tune at which the latest stream was stopped."""
        self._playing: Optional[Playing] = None
        self._serial = 0
        self._began = 0  # the serial of the latest stream whose first packet has left
        self._version = 0
        self._digest = b""
        self._local_host = ""

    @property
    def playing(self) -> bool:
        """Whether a stream was started and has not been stopped or reported as ended."""
        return self._playing is not None

    @property
    def starting(self) -> bool:
        """Whether a stream on a port of its own was started, and its first packet has not left yet."""
        return self._playing is not None and self._began != self._serial and not self.origin.shared

    @property
    def playing_since(self) -> Optional[float]:
        """When the stream that plays was started; ``None`` where none plays."""
        return self._playing.since if self._playing is not None else None

    def played(self, now: float) -> float:
        """The seconds of music so far."""
        return self.position if self._playing is None else self._playing.position + (now - self._playing.since)

    @property
    def ptime(self) -> int:
        """The milliseconds of music in a packet; 0 before anything is agreed."""
        return 0 if self.wanted is None else self._ptime(self.wanted)

    @property
    def destinations(self) -> set[str]:
        """The hosts to which music and its RTCP go, and those to which they will go when the ACK has come."""
        found: set[str] = set()
        if self.wanted is not None and self.wanted.playing:
            found |= {self.wanted.remote.host, self.wanted.remote_rtcp.host}
        if self._playing is not None:
            found |= {self._playing.target.remote.host, self._playing.target.remote_rtcp.host}
        return found

    # -- descriptions ----------------------------------------------------------------------------------------------

    def answer(self, session: SessionDescription, choice: Choice) -> bytes:
        """The answer to an offer. Raises ``Refusal`` 488 where this server has no route to the chosen address.

        Where nothing will be sent, nothing is refused.
        """
        if choice.crypto is not None and choice.playing and self.origin.shared:
            raise no_srtp()
        side = self._side(self._host_towards(choice))
        choice = choice._replace(ptime=self._ptime(choice), direction=self._direction(session, choice))
        return self._describe(
            side, lambda version: write_answer(session, choice, side, self.origin.session_id, version)
        )

    def offer(self, towards: str) -> bytes:
        """The offer for an INVITE from ``towards`` that has no offer: always with all codecs (RFC 7088 §4.1)."""
        side = self._side(self._local_host or self.origin.local_host(towards))
        origin, direction = self.origin, "sendrecv" if self.origin.two_way else "sendonly"
        return self._describe(
            side, lambda version: write_offer(side, origin.session_id, version, origin.codecs, direction)
        )

    def accept(self, choice: Choice) -> None:
        """Take over the answer to the latest offer of this server. Raises ``Refusal`` 488 as ``answer`` does."""
        self._local_host = self._host_towards(choice)
        self.wanted = choice

    def _host_towards(self, choice: Choice) -> str:
        """The local address for the chosen stream. If nothing will be sent, any address, preferably the latest."""
        if choice.playing:
            return self.origin.local_host(choice.remote.host)
        if self._local_host:
            return self._local_host
        try:
            return self.origin.local_host(choice.remote.host)
        except Refusal:
            return self.origin.local_host(NOWHERE.host)

    def _side(self, local_host: str) -> Side:
        port = self.origin.port
        return Side(Address(local_host, port), port if self.origin.shared else port + 1, self.origin.srtp_key)

    def _ptime(self, choice: Choice) -> int:
        """The length of the packets in milliseconds. A call on a port of its own gets the length that it asks for."""
        return shared_ptime(choice.ptime) if self.origin.shared else choice.ptime

    def _direction(self, session: SessionDescription, choice: Choice) -> str:
        """The direction to answer with; towards a stream on hold ``inactive``, since the other side wants nothing."""
        # an offer without a direction is sendrecv (RFC 8866 §6.7)
        both_ways = choice.playing and session.media[choice.place].direction in ("sendrecv", "")
        return "sendrecv" if both_ways and self.origin.two_way else choice.direction

    def _describe(self, side: Side, write: Callable[[int], bytes]) -> bytes:
        """The description that ``write`` makes, with the next version if it differs from the latest one."""
        description = write(self._version) if self._version else b""
        if not description or _digest(description) != self._digest:
            self._version += 1
            description = write(self._version)
            self._digest = _digest(description)
        self._local_host = side.local.host
        return description

    # -- the stream ------------------------------------------------------------------------------------------------

    def follow(self, now: float) -> list[Action]:
        """Start, move or stop the stream as the latest offer and answer agreed."""
        wanted = self.wanted
        if wanted is None or not wanted.playing:
            return self.stop(now)
        target = Target(
            wanted.remote,
            wanted.remote_rtcp,
            Address(self._local_host, self.origin.port),
            wanted.codec,
            wanted.payload_type,
            self._ptime(wanted),
            wanted.crypto.suite if wanted.crypto else "",
            self.origin.srtp_key if wanted.crypto else "",
        )
        if self._playing is not None and self._playing.target == target:
            return []
        self._pause(now)
        self._serial += 1
        self._playing = Playing(target, now, self.position)
        self.stream_open = True
        return [StartStream(self.call, self._serial, target, self.position, self.tune)]

    def stop(self, now: float) -> list[Action]:
        """Stop the stream; the tune stays at its position."""
        stopped: list[Action] = [StopStream(self.call)] if self._playing is not None else []
        self._pause(now)
        return stopped

    def began(self, serial: int) -> None:
        """Note that the first packet of the stream with this ``serial`` has left."""
        self._began = max(self._began, serial)  # a report of a stream that was replaced by another changes nothing

    def gone(self, serial: int, now: float) -> bool:
        """Note that the stream with this ``serial`` has ended. Return whether it should still be playing."""
        if serial != self._serial:
            return False  # a later stream was started since
        self.stream_open = False
        unasked = self._playing is not None
        self._pause(now)
        return unasked

    def abandon(self) -> None:
        """Note that the stream was ordered to stop, in a call that the server gives up."""
        self._playing = None

    def lost(self, serial: int) -> None:
        """Note that the stream with this ``serial`` has ended, in a call that the server gives up."""
        if serial == self._serial:
            self.stream_open, self._playing = False, None

    def _pause(self, now: float) -> None:
        if self._playing is not None:
            self.position = self.played(now)
            self._playing = None

    def summary(self) -> str:
        """What is played, to which address and from which port, for the log."""
        wanted = self.wanted
        if wanted is None:
            return "our offer sent, the music waits for the answer in the ACK"
        if not wanted.playing:
            return f"on hold, no music, port {self.origin.port}"
        secured = " by SRTP" if wanted.crypto else ""
        return f"{wanted.codec.name}{secured} to {wanted.remote} from port {self.origin.port}"


def _digest(description: bytes) -> bytes:
    return blake2b(description, digest_size=16).digest()
