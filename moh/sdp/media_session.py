"""The music of one call: what was offered and answered, and what plays because of it (RFC 3264 §8, RFC 7088 §2.4).

The laws kept here: ``o=`` counts up exactly when what we say has changed; the tune goes on where it was, whatever is
negotiated in between; an offer that is refused has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from ..common.actions import Action, Address, StartStream, StopStream, Target
from ..common.codecs import Codec
from ..common.errors import Refusal
from .description import SessionDescription
from .offer_answer import Choice, Side, write_answer, write_offer


def no_srtp() -> Refusal:
    """What an offer of SRTP gets where no stream of one's own is left (RFC 3261 §20.43 for the Warning)."""
    why = "No stream of one's own is left for SRTP; expected RTP/AVP"
    return Refusal(488, why, ("Warning", f'399 moh "{why}"'))


@dataclass(frozen=True)
class Origin:
    """What stays the same in all we say in a session: our ports, the session's number, our key for SRTP.

    ``local_host`` tells which address of ours media to a given host leaves from; it raises ``Refusal`` 488 where there
    is no way. Calls that have one ``port`` together have RTCP on it as well, and no SRTP.
    """

    port: int
    shared: bool
    session_id: int
    srtp_key: str
    codecs: tuple[Codec, ...]
    local_host: Callable[[str], str]


@dataclass(frozen=True)
class Playing:
    """What plays now, since when, and from which second of the tune."""

    target: Target
    since: float
    position: float


class MediaSession:
    """Offer, answer and stream of one call, called ``call`` by the shell; it hears ``tune`` to its end."""

    def __init__(self, call: str, origin: Origin, tune: int) -> None:
        self.call = call
        self.tune = tune
        self.origin = origin
        self.stream_open = False
        """Whether the shell still has a stream of ours, so that the port is not free."""
        self.wanted: Optional[Choice] = None
        """What the latest offer and answer agreed on."""
        self.position = 0.0
        """Seconds into the tune where it was stopped."""
        self._playing: Optional[Playing] = None
        self._serial = 0
        self._version = 0
        self._said = b""
        self._told = ""

    @property
    def playing(self) -> bool:
        """Whether a stream plays, as far as we know."""
        return self._playing is not None

    # -- what we say -----------------------------------------------------------------------------------------------

    def answer(self, session: SessionDescription, choice: Choice) -> bytes:
        """Our answer to an offer. Raises ``Refusal`` 488 where no address of ours leads to what was chosen."""
        if choice.crypto is not None and self.origin.shared:
            raise no_srtp()
        ours = self._side(self.origin.local_host(choice.remote.host))
        return self._say(ours, lambda version: write_answer(session, choice, ours, self.origin.session_id, version))

    def offer(self, towards: str) -> bytes:
        """Our offer for an INVITE that carried none, from ``towards``: all codecs, each time (RFC 7088 §4.1)."""
        ours = self._side(self._told or self.origin.local_host(towards))
        codecs = self.origin.codecs
        return self._say(ours, lambda version: write_offer(ours, self.origin.session_id, version, codecs))

    def _side(self, local_host: str) -> Side:
        port = self.origin.port
        return Side(Address(local_host, port), port if self.origin.shared else port + 1, self.origin.srtp_key)

    def _say(self, ours: Side, write: Callable[[int], bytes]) -> bytes:
        if write(self._version) != self._said:
            self._version += 1
            self._said = write(self._version)
        self._told = ours.local.host
        return self._said

    # -- what we do ------------------------------------------------------------------------------------------------

    def follow(self, now: float) -> list[Action]:
        """Make the music follow what was agreed: start it, move it, or stop it."""
        wanted = self.wanted
        if wanted is None or not wanted.playing:
            return self.stop(now)
        target = Target(
            wanted.remote,
            wanted.remote_rtcp,
            Address(self._told, self.origin.port),
            wanted.codec,
            wanted.payload_type,
            wanted.ptime,
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
        """Silence; the tune waits where it is."""
        stopped: list[Action] = [StopStream(self.call)] if self._playing is not None else []
        self._pause(now)
        return stopped

    def gone(self, serial: int, now: float) -> bool:
        """The stream of that ``serial`` is no more; whether that was one which should be playing."""
        if serial != self._serial:
            return False  # a later one has been started since
        self.stream_open = False
        unasked = self._playing is not None
        self._pause(now)
        return unasked

    def _pause(self, now: float) -> None:
        if self._playing is not None:
            self.position = self._playing.position + (now - self._playing.since)
            self._playing = None

    def summary(self) -> str:
        """For the log: what is played to whom, from where."""
        wanted = self.wanted
        if wanted is None:
            return "our offer sent, the music waits for the answer in the ACK"
        if not wanted.playing:
            return f"on hold, no music, port {self.origin.port}"
        secured = " by SRTP" if wanted.crypto else ""
        return f"{wanted.codec.name}{secured} to {wanted.remote} from port {self.origin.port}"
