"""Rate limits by source: token buckets, and the limiters of datagrams and of streams.

The law kept here: each source has its own buckets, and all unvalidated sources together share further ones. So a flood
from many forged addresses delays or rejects unvalidated sources only (RFC 3261 §26.1.5). All tables are bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, Optional, TypeVar

from ..common.addresses import is_loopback, source_of
from ..common.counters import Counters
from .allowances import MAX_SOURCES, Allowances

UNVALIDATED_LIMITS = ((1000.0, 2000.0), (200.0, 400.0))
"""What all unvalidated sources may send together, for ``IN_CALL`` and for ``OTHER``: messages a second, and burst."""
TRUSTED_LIMIT = (1000.0, 2000.0)
"""What all trusted sources may send together outside calls: a thousand phones may each send a request once a second."""
IN_CALL, OTHER = 0, 1
"""The two kinds of messages: those that may belong to a call, and all others. Each kind has its own buckets."""
CALL_STARTS = frozenset((b"INVI", b"ACK ", b"BYE ", b"CANC", b"UPDA", b"INFO", b"SIP/"))
"""The first four octets of messages that may belong to a call."""
MIN_MESSAGE = 16
"""Octets of the shortest datagram that can be a message. Keep-alives are shorter; by UDP they get no answer."""
MAX_QUEUED = 256
"""Messages that can wait at the same time: one for each TCP connection and one for each TLS connection."""
TOO_SHORT = "too short"
TOO_MANY = ("too many messages", "too many messages that belong to no call")
"""Why a message is rejected, for ``IN_CALL`` and for ``OTHER``."""

Value = TypeVar("Value")


def is_this_machine(host: str, local: str) -> bool:
    """Whether a datagram from ``host`` to the address ``local`` was sent by this machine: over loopback or to itself.

    The kernel drops datagrams from the network that have such a source address.
    """
    return host == local or is_loopback(host)


class LruTable(Generic[Value]):
    """A table with a bound: beyond ``max_keys`` the key that was used least recently is dropped."""

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Optional[Value]:
        """Return the value of ``key``. The call counts as a use of ``key``."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def peek(self, key: Hashable) -> Optional[Value]:
        """Return the value of ``key``. The call does not count as a use. Any thread may call this."""
        return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> Value:
        """Set the value of ``key``, and return the value."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._max_keys:
            self._values.popitem(last=False)
        return value


class TokenBucket:
    """A token bucket: ``rate`` tokens are added each second, up to ``burst``."""

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._when = burst, now

    def acquire(self, now: float) -> bool:
        """Take a token if there is one. Return whether a token was taken."""
        if not self.available(now):
            return False
        self._tokens -= 1
        return True

    def available(self, now: float) -> bool:
        """Whether there is a token."""
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate)
        self._when = now
        return self._tokens >= 1

    def reserve(self, now: float, max_debt: float) -> float:
        """Take a token, even from an empty bucket. Return the seconds until the bucket would have had that token.

        The bucket owes ``max_debt`` tokens at most.
        """
        self.available(now)
        self._tokens = max(-max_debt, self._tokens - 1)
        return max(0.0, -self._tokens / self._rate)


class SourceState(NamedTuple):
    """What a limiter keeps for one source."""

    allowed: bool
    """Whether the source is in ``MOH_ALLOW``."""
    trusted: bool
    buckets: tuple[TokenBucket, TokenBucket]
    """One for ``IN_CALL``, one for ``OTHER``."""


class SourceTable:
    """The buckets of both limiters: those of each source, and those that sources share."""

    def __init__(self, allowances: Allowances, now: float) -> None:
        self.open_to_all = not allowances.allowed
        """Whether every source may call."""
        self._allowances = allowances
        self._sources: LruTable[SourceState] = LruTable(MAX_SOURCES)
        self.unvalidated = tuple(TokenBucket(*limit, now) for limit in UNVALIDATED_LIMITS)
        """The buckets that all unvalidated sources share: one for ``IN_CALL``, one for ``OTHER``."""
        self.trusted = TokenBucket(*TRUSTED_LIMIT, now)
        """The bucket that all trusted sources share, for ``OTHER``."""

    def __len__(self) -> int:
        return len(self._sources)

    def find(self, source: str) -> Optional[SourceState]:
        """The state of ``source``, which is a key from ``addresses.source_of``; ``None`` for a new source."""
        return self._sources.get(source)

    def add(self, source: str, host: str, now: float) -> SourceState:
        """Add a new source, and return its state."""
        allowance = self._allowances.of(host)
        buckets = (TokenBucket(*allowance.in_call, now), TokenBucket(*allowance.other, now))
        state = SourceState(self._allowances.may_call(host), allowance.trusted, buckets)
        return self._sources.put(source, state)


class RateLimiter:
    """Accepts or rejects a datagram by its source address and its first octets, before it is parsed."""

    def __init__(self, allowances: Allowances, is_validated: Callable[[str, float], bool], now: float) -> None:
        """``is_validated`` gets a host and the time, and says whether the host is private or validated.

        A validated source is limited by its own allowance only; all others share ``UNVALIDATED_LIMITS`` as well.
        """
        self.tally = Counters()
        """Counts the rejected datagrams."""
        self._is_validated = is_validated
        self._allowances = allowances
        self._sources = SourceTable(allowances, now)

    def refusal(self, host: str, data: bytes, now: float, local: str = "") -> str:
        """Why a datagram from ``host`` to the address ``local`` is rejected; empty where it is accepted.

        OPTIONS from this machine itself is the health check. It is accepted whatever ``MOH_ALLOW`` names, and also in a
        flood.
        """
        sources = self._sources
        is_health_check = data[:8] == b"OPTIONS " and is_this_machine(host, local)
        kind = IN_CALL if data[:4] in CALL_STARTS else OTHER
        source = source_of(host)
        state = sources.find(source)
        if state is None:
            full = sources.open_to_all and not sources.unvalidated[kind].available(now)
            if full and not is_health_check and not self.is_known(host, now):
                return TOO_MANY[kind]  # no state is kept: in a flood from everywhere nearly all datagrams end here
            state = sources.add(source, host, now)
        if not (state.allowed or is_health_check):
            return "not in MOH_ALLOW"
        if len(data) < MIN_MESSAGE:
            return TOO_SHORT
        if not state.buckets[kind].acquire(now):
            return TOO_MANY[kind]
        if state.trusted or is_health_check:
            return "" if kind == IN_CALL or sources.trusted.acquire(now) else TOO_MANY[kind]
        accepted = self._is_validated(host, now) or sources.unvalidated[kind].acquire(now)
        return "" if accepted else TOO_MANY[kind]

    def is_known(self, host: str, now: float, local: str = "") -> bool:
        """Whether ``host`` is validated, private, in a network that the owner names, or this machine."""
        return self._is_validated(host, now) or self._allowances.is_named(host) or is_this_machine(host, local)

    def allows(self, host: str) -> bool:
        """Whether ``host`` is in the networks that may call."""
        return self._allowances.may_call(host)


class StreamRateLimiter:
    """Delays messages by TCP and TLS, where nothing is dropped: a connection is not read until its message may pass.

    TCP validates each source. But a sender that has a large IPv6 network can come as thousands of sources, so all
    public sources share ``UNVALIDATED_LIMITS`` here too. The law kept here: no message waits longer than ``MAX_QUEUED``
    messages take. This also bounds the delay that a source causes which reconnects all the time and leaves messages of
    closed connections behind.
    """

    def __init__(self, allowances: Allowances, now: float) -> None:
        self.tally = Counters()
        """Counts the delayed messages."""
        self._sources = SourceTable(allowances, now)

    def delay(self, host: str, data: bytes, now: float) -> float:
        """Reserve a place for a message from ``host``. Return the seconds that the message has to wait, mostly 0.0.

        Keep-alives, and reads without a whole message (``data`` is empty), count as ``IN_CALL``, whose rate is higher.
        """
        kind = IN_CALL if data[:4] in CALL_STARTS or data[:1] in (b"", b"\r") else OTHER
        source = source_of(host)
        state = self._sources.find(source) or self._sources.add(source, host, now)
        buckets = [state.buckets[kind]]
        if not state.trusted:
            buckets.append(self._sources.unvalidated[kind])
        elif kind == OTHER:
            buckets.append(self._sources.trusted)
        return max(bucket.reserve(now, MAX_QUEUED) for bucket in buckets)
