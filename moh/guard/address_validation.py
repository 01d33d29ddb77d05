"""Who has shown that he is where he says, and what all others may cost (RFC 3261 §26.1.5, RFC 9000 §8.1).

Whoever sends by UDP may write any source address. So the law kept here: towards a public address that never repeated
to us what only its owner can have read, at most ``FACTOR`` octets leave for each octet that came, in all: answers,
their repeats and our BYE. Addresses of private networks are exempt: a packet of the internet that bears one reaches
no router's inside, and what we send there stays there.

All tables are bounded; whoever was heard of longest ago is forgotten first. More than 300 lines, because what anybody
may cost is to be read in one place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Optional, TypeVar

from ..common.actions import Flow, Send, Trust
from ..common.addresses import Network, is_private, out_of_reach, source_of, within
from ..common.counters import Counters

FACTOR = 3
"""Octets out for each octet in, before the way back is proved: as QUIC has it."""
MOST_CREDIT = 1 << 16
"""Octets that a source may have in hand."""
PROOF_LASTS = 3600.0
"""Seconds for which a source is known after it has shown that our answers reach it."""
MOST_SOURCES = 4096
"""Sources that are remembered, of each kind."""
MOST_STRANGERS = 512
"""Calls of strangers that may wait for their ACK, of all of them together: the oldest makes room for the next."""
STRANGERS = ((1000.0, 2000.0), (200.0, 400.0))
"""What all strangers may do together, datagrams that belong to calls and others, by seconds and at once."""
HOUSE = (1000.0, 2000.0)
"""What all private and named sources may do together that belongs to no call: a thousand phones ask once a minute."""
OF_CALLS = frozenset((b"INVI", b"ACK ", b"BYE ", b"CANC", b"UPDA", b"INFO", b"SIP/"))
"""How a datagram begins that may belong to a call."""
SHORTEST = 16
"""Octets of the shortest datagram that can be a message; keep-alives are shorter, and nobody answers them by UDP."""
SCANNERS = ("friendly-scanner", "sipvicious", "sipcli", "sundayddr", "vaxsipuseragent", "pplsip", "friendly-request")
"""How User-Agents begin that look for open servers. Who wants to hide has another: it is the cheapest hint only."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Allowance:
    """What one source may do: datagrams that belong to calls and others, calls, each by seconds and at once."""

    datagrams: tuple[float, float]
    others: tuple[float, float]
    calls: tuple[float, float]
    unacknowledged: int
    """Calls that wait for their first ACK."""
    names: int
    """Host names that are looked up at once. Each may hold a thread of the resolver's for as long as its DNS server is
    silent, so for whom we do not trust it is half of them."""


STRANGER = Allowance(datagrams=(100, 1000), others=(10, 50), calls=(20, 200), unacknowledged=128, names=4)
"""Anybody on the internet. A PBX may well take 100 calls at once from hold to hold, and two messages later again."""
TRUSTED = Allowance(datagrams=(4000, 8000), others=(200, 400), calls=(1000, 2000), unacknowledged=1024, names=16)
"""Private networks and those that the owner names: 500 calls a second are 1500 datagrams."""


class Peer(NamedTuple):
    """The source of one message, looked up once: what is known of it when the message comes."""

    flow: Flow
    source: str
    """The source as ``addresses.source_of`` has it."""
    validated: bool
    """Whether what is sent back by this flow surely reaches the sender."""
    allowance: Allowance

    @property
    def trust(self) -> Trust:
        """How far it is trusted. A source in a network that the owner names is trusted before it is validated."""
        if self.allowance is TRUSTED:
            return Trust.TRUSTED
        return Trust.VALIDATED if self.validated else Trust.UNVALIDATED


class LruTable(Generic[Value]):
    """A table that holds at most ``most`` keys: the one that was longest not used goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Optional[Value]:
        """The value of ``key``, which counts as a use."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def peek(self, key: Hashable) -> Optional[Value]:
        """The value of ``key``, which counts as nothing; for any thread."""
        return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> Value:
        """Set the value of ``key``; gives it back."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        return value


class TokenBucket:
    """A bucket of tokens: ``rate`` come back each second, ``burst`` at the most are in it."""

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._when = burst, now

    def acquire(self, now: float) -> bool:
        """Take a token; whether there was one."""
        if not self.available(now):
            return False
        self._tokens -= 1
        return True

    def available(self, now: float) -> bool:
        """Whether there is a token."""
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate)
        self._when = now
        return self._tokens >= 1

    def reserve(self, now: float, most: float) -> float:
        """Take a token, be there one or not; the seconds until it is there. No more than ``most`` are ever owed."""
        self.available(now)
        self._tokens = max(-most, self._tokens - 1)
        return max(0.0, -self._tokens / self._rate)


class Account:
    """What is remembered of one source: octets that it has paid for, and how fast it calls."""

    __slots__ = ("calls", "credit")

    def __init__(self, calls: TokenBucket) -> None:
        self.credit = 0
        self.calls = calls


class AddressValidator:
    """Keeps account of all sources, for the core."""

    def __init__(self, trusted: tuple[Network, ...] = ()) -> None:
        """``trusted`` are the networks that the owner names, beside the private ones."""
        self._trusted = named(trusted)
        self._proved: LruTable[float] = LruTable(MOST_SOURCES)
        self._accounts: LruTable[Account] = LruTable(MOST_SOURCES)
        self._waiting: dict[str, str] = {}  # calls that no ACK has come for, and their sources
        self._strangers: dict[str, str] = {}  # those of them whose way back is not proved, the oldest first
        self._of_source: dict[str, int] = {}

    # -- the way back ----------------------------------------------------------------------------------------------

    def credit(self, flow: Flow, octets: int, now: float) -> None:
        """A message of so many octets came by ``flow``."""
        if not flow.reliable:
            account = self._account(flow.remote.host, now)
            account.credit = min(MOST_CREDIT, account.credit + FACTOR * octets)

    def peer(self, flow: Flow, now: float) -> Peer:
        """What is known of the source of ``flow``."""
        host = flow.remote.host
        return Peer(flow, source_of(host), self.is_validated(flow, now), allowance_of(host, self._trusted))

    def validate(self, flow: Flow, invited_by: Flow, now: float) -> bool:
        """What came by ``flow`` held the tag of a call whose INVITE came by ``invited_by``: our answer was read there.

        Returns whether the source of ``flow`` is validated by that.

        That is a proof for the source of the INVITE alone, to which the tag was sent, and only if this comes from there
        as well: the caller may write a victim's address over a request with his own tag, or tell it to anybody. So a
        phone whose proxy sends the INVITE and which sends the ACK itself, or whose address has changed since, has its
        music and ends its call as ever, but neither address is known by that: what goes there is paid by what comes,
        as any stranger's, until a call comes and is acknowledged from one address.
        """
        host = flow.remote.host
        if source_of(host) == source_of(invited_by.remote.host) and not is_private(host):
            self._proved.put(source_of(host), now + PROOF_LASTS)
            return True
        return False

    def is_validated(self, flow: Flow, now: float) -> bool:
        """Whether what we send back surely reaches the one who asks."""
        return flow.reliable or self.is_host_validated(flow.remote.host, now)

    def is_host_validated(self, host: str, now: float) -> bool:
        """Whether ``host`` is private, or has proved lately that it gets our answers. May be asked by any thread."""
        return is_private(host) or (self._proved.peek(source_of(host)) or 0.0) > now

    def may_send(self, send: Send, now: float) -> bool:
        """Whether this may leave; what goes to whom we do not know is paid by the source of its flow.

        So is what goes to a private address because of somebody who could not send there himself. Nothing should, as
        ``reply.answer_address`` and ``Dialog`` have it; if anything does, it is bounded.
        """
        if send.flow.reliable:
            return True
        if self.is_host_validated(send.to.host, now) and not out_of_reach(send.to.host, send.flow.remote.host):
            return True
        account = self._account(send.flow.remote.host, now)
        if account.credit < len(send.data):
            return False
        account.credit -= len(send.data)
        return True

    # -- how many calls --------------------------------------------------------------------------------------------

    def call_refusal(self, peer: Peer, now: float) -> str:
        """Why the next call of ``peer`` is one too many; empty where it is accepted, and then it counts."""
        allowance = peer.allowance
        if self._of_source.get(peer.source, 0) >= allowance.unacknowledged:
            return f"{allowance.unacknowledged} calls of this address wait for their ACK"
        if not self._account(peer.flow.remote.host, now).calls.acquire(now):
            return f"More than {allowance.calls[0]:.0f} calls a second from this address"
        return ""

    def call_opened(self, call: str, peer: Peer) -> Optional[str]:
        """A call was answered and waits for its ACK; returns the unvalidated call that has to make room for it."""
        self._waiting[call] = peer.source
        self._of_source[peer.source] = self._of_source.get(peer.source, 0) + 1
        if peer.validated:
            return None
        self._strangers[call] = peer.source
        return next(iter(self._strangers)) if len(self._strangers) > MOST_STRANGERS else None

    def call_closed(self, call: str) -> None:
        """The ACK of a call has come, or the call has ended.

        From wherever it came: who knows the tag has it from the reader of our answer, and a call that goes on does not
        wait any more. Else a phone whose ACK takes another way than its INVITE would have to make room for strangers.
        """
        source = self._waiting.pop(call, None)
        self._strangers.pop(call, None)
        if source is not None:
            self._of_source[source] -= 1
            if not self._of_source[source]:
                del self._of_source[source]

    def _account(self, host: str, now: float) -> Account:
        source = source_of(host)
        account = self._accounts.get(source)
        if account is None:
            account = self._accounts.put(source, Account(TokenBucket(*allowance_of(host, self._trusted).calls, now)))
        return account


class RateLimiter:
    """What may come in at all, judged by its source and its first octets alone: for the shell, before all reading.

    ``reaches`` tells of a host whether its way back is proved: who is known has his own allowance only, all strangers
    have one together as well. So a flood from many forged addresses keeps out strangers, and nobody else.
    """

    def __init__(self, allowed: tuple[Network, ...], reaches: Callable[[str, float], bool], now: float) -> None:
        self.tally = Counters()
        """What has been turned away."""
        self._allowed = allowed
        self._trusted = named(allowed)
        self._reaches = reaches
        self._sources: LruTable[SourceState] = LruTable(MOST_SOURCES)
        self._strangers = tuple(TokenBucket(*limit, now) for limit in STRANGERS)
        self._house = TokenBucket(*HOUSE, now)

    def refusal(self, host: str, data: bytes, now: float) -> str:
        """Why a datagram of ``host`` is not looked at; empty for one that is welcome."""
        source = source_of(host)
        kind = 0 if data[:4] in OF_CALLS else 1
        visitor = self._sources.get(source)
        if visitor is None:
            if not (self._allowed or self._strangers[kind].available(now) or self.is_known(host, now)):
                return RATES[kind]  # nothing is kept of him: in a flood from everywhere this is the way of nearly all
            visitor = self._sources.put(source, self._admitted(host, now))
        if not visitor.allowed:
            return "not in MOH_ALLOW"
        if len(data) < SHORTEST:
            return TOO_SHORT
        if not visitor.buckets[kind].acquire(now):
            return RATES[kind]
        if visitor.trusted:
            return "" if kind == 0 or self._house.acquire(now) else RATES[kind]
        return "" if self._reaches(host, now) or self._strangers[kind].acquire(now) else RATES[kind]

    def is_known(self, host: str, now: float) -> bool:
        """Whether ``host`` is private or named by the owner, or has proved that our answers reach it."""
        return self._reaches(host, now) or within(host, self._trusted)

    def allows(self, host: str) -> bool:
        """Whether ``host`` is in the networks that may call."""
        return not self._allowed or within(host, self._allowed)

    def _admitted(self, host: str, now: float) -> SourceState:
        allowance = allowance_of(host, self._trusted)
        buckets = (TokenBucket(*allowance.datagrams, now), TokenBucket(*allowance.others, now))
        return SourceState(self.allows(host), allowance is TRUSTED, buckets)


class SourceState(NamedTuple):
    """What the gate remembers of one source."""

    allowed: bool
    trusted: bool
    buckets: tuple[TokenBucket, TokenBucket]


TOO_SHORT = "too short"
RATES = ("too many messages", "too many messages that belong to no call")


def named(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """Those of the owner's networks that name somebody: 0.0.0.0/0 lets everybody in and trusts nobody."""
    return tuple(network for network in networks if network.prefixlen)


def allowance_of(host: str, trusted: tuple[Network, ...]) -> Allowance:
    """What ``host`` may do: as much as one of our own networks where it is in one, or the owner has named it."""
    return TRUSTED if is_private(host) or within(host, trusted) else STRANGER


def is_scanner(user_agent: str) -> bool:
    """Whether a User-Agent calls itself one of ``SCANNERS``."""
    return user_agent.lower().startswith(SCANNERS)
