"""How fast may be read what comes by TCP and TLS: for the shell, a message before it is looked at (RFC 3261 §26.1.5).

The rates are those of the ``guard``, but nothing is dropped: there everybody surely is who he is, and a stream waits
where nobody reads it. So each message takes its place behind those before it, and its connection is not read on until
its turn has come. The law kept here: nobody is asked to wait for more than all connections that there can be, so who
connects anew all the time keeps nobody waiting for what he has left behind.
"""

from __future__ import annotations

from ..common.addresses import Network, source_of
from .address_validation import OF_CALLS, RateLimiter

MOST_WAITING = 256
"""Messages that can wait at once: one of each connection, by TCP and by TLS."""
OF_NONE = 1
"""The kind of a message that belongs to no call."""


class StreamRateLimiter(RateLimiter):
    """As the gate, with tables of its own; by TCP everybody is known, so strangers differ by their rates only."""

    def __init__(self, allowed: tuple[Network, ...], now: float) -> None:
        """``allowed`` are the networks that the owner names; ``now`` as everywhere in seconds of one clock."""
        super().__init__(allowed, lambda host, now: True, now)

    def delay(self, host: str, data: bytes, now: float) -> float:
        """Let a message of ``host`` take its place; gives the seconds that it has to wait there, mostly 0.0.

        Keep-alives, and reads that bring no whole message (``data`` is empty), count as if they belonged to a call,
        since their rate is the higher one. All private and named sources have a rate together for what belongs to no
        call, all others for both kinds: whoever has a network of IPv6 has thousands of sources.
        """
        kind = 0 if data[:4] in OF_CALLS or data[:1] in (b"", b"\r") else OF_NONE
        source = source_of(host)
        visitor = self._sources.get(source) or self._sources.put(source, self._admitted(host, now))
        buckets = [visitor.buckets[kind]]
        if not visitor.trusted:
            buckets.append(self._strangers[kind])
        elif kind == OF_NONE:
            buckets.append(self._house)
        return max(bucket.reserve(now, MOST_WAITING) for bucket in buckets)
