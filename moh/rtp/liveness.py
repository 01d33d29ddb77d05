"""When a receiver counts as gone: after ICMP, ARP or routing errors, or after its RTCP BYE. The caller gives the time.

The law kept here: no single report ends a call. A phone may be about to open its port or to change its codec, and a
cable may be plugged in again.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..common.actions import Address

PORT_UNREACHABLE_TIMEOUT = 2.0
"""Seconds of ICMP "port unreachable" after which a receiver is dropped."""
HOST_UNREACHABLE_TIMEOUT = 30.0
"""Seconds of "host unreachable" or "network unreachable" after which a receiver is dropped."""
BYE_TIMEOUT = 7.0
"""Seconds without RTCP after an RTCP BYE until a receiver is dropped. A receiver that has only changed its SSRC sends a
report after 6.2 s at the latest (RFC 3550 §6.3.1)."""
PORT_ERROR_GAP = 3.0
"""Seconds without "port unreachable" after which its streak starts again: some hosts report only one a second."""
HOST_ERROR_GAP = 8.0
"""Seconds without "host unreachable" after which its streak starts again. Linux reports a missing ARP answer every 3 s.
A router reports only one lost packet a second, which may be a packet to another receiver."""
SEND_ERROR_GAP = 1.5
"""Seconds without an error of the send call itself after which that streak starts again: the kernel reports each
packet, and the errors are polled twice a second."""
REACHABLE_AFTER = 5.0
"""Seconds without an error, probes included, after which an unreachable receiver gets music again."""
PROBE_INTERVAL = 2.0
"""Seconds between the probes that are sent to an unreachable receiver."""


class Verdict(NamedTuple):
    """Why a receiver is dropped: a sentence for the log, and two words for the counter; as in ``StreamEnded``."""

    why: str
    hopeless: str


BYE_RECEIVED = Verdict("the receiver sent RTCP BYE", "RTCP BYE")


def port_unreachable(address: Address, seconds: float) -> Verdict:
    """The verdict on a receiver whose host has reported ICMP "port unreachable" for ``seconds``."""
    return Verdict(f"port unreachable at {address} for {seconds:.0f} s (ICMP)", "port unreachable")


def host_unreachable(address: Address) -> Verdict:
    """The verdict on a receiver that no packet has reached for ``HOST_UNREACHABLE_TIMEOUT``."""
    why = f"host unreachable at {address} for {HOST_UNREACHABLE_TIMEOUT:.0f} s (ICMP, ARP or no route)"
    return Verdict(why, "host unreachable")


class Streak:
    """Repeated errors about one address. A gap of more than ``gap`` seconds starts the streak again."""

    __slots__ = ("_first", "_gap", "_last")

    def __init__(self, now: float, gap: float = PORT_ERROR_GAP) -> None:
        self._first = self._last = now
        self._gap = gap

    def extend(self, now: float) -> float:
        """Note one more error; returns the seconds since the first error of the streak."""
        if now - self._last > self._gap:
            self._first = now
        self._last = now
        return now - self._first


class Unreachable:
    """The state of an unreachable receiver: it gets probes instead of music.

    Packets to a host that does not answer ARP wait in the kernel and block the socket for all other receivers.
    """

    __slots__ = ("_last_error", "_last_probe", "_since", "_without_arp")

    def __init__(self, now: float) -> None:
        self._since = self._last_error = self._last_probe = now
        self._without_arp = False

    def note_error(self, now: float) -> None:
        """Note one more error report from the network."""
        self._last_error = now

    def timed_out(self, now: float) -> bool:
        """Whether the receiver is to be dropped."""
        return now - self._since >= HOST_UNREACHABLE_TIMEOUT

    def is_reachable(self, answers_arp: Optional[bool], now: float) -> bool:
        """Whether the receiver gets music again. ``answers_arp`` is ``None`` where the kernel's table does not say."""
        if answers_arp is False:  # counts as an error report: of many unreachable hosts Linux reports only a few
            self._without_arp, self._last_error = True, now
        return (self._without_arp and answers_arp is True) or now - self._last_error >= REACHABLE_AFTER

    def probe_due(self, now: float) -> bool:
        """Return whether a probe is due. If so, note that it is sent now: the caller has to send it."""
        due = now - self._last_probe >= PROBE_INTERVAL
        if due:
            self._last_probe = now
        return due
