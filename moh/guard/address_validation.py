"""Source address validation, and limits for sources that are not validated yet (RFC 3261 §26.1.5, RFC 9000 §8.1).

By UDP a sender can write any source address. The law kept here is QUIC's anti-amplification limit: until a public
source address is validated, at most ``AMPLIFICATION_LIMIT`` octets leave for it for each octet that came from it:
responses, their retransmissions and the server's BYE together. A source is validated when it sends back what only the
receiver at its address can have read: the tag in a response. Private addresses need no validation: a packet from the
internet that bears one passes no router, and a response to it stays in the private network.

All tables are bounded; the source that was seen least recently is forgotten first.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from ..common.actions import Flow, Send, Trust
from ..common.addresses import is_private, out_of_reach, source_of
from .allowances import MAX_SOURCES, Allowance, Allowances
from .rate_limit import LruTable, TokenBucket

AMPLIFICATION_LIMIT = 3
"""Octets that may be sent for each octet received, before the source address is validated (RFC 9000 §8.1)."""
MAX_CREDIT = 1 << 16
"""Octets that may be sent to an unvalidated source at most, however much came from it."""
VALIDATION_LIFETIME = 3600.0
"""Seconds for which a source address stays validated."""
MAX_UNVALIDATED_CALLS = 512
"""Calls of unvalidated sources that may wait for their ACK at the same time; beyond that the oldest is ended."""
SCANNERS = ("friendly-scanner", "sipvicious", "sipcli", "sundayddr", "vaxsipuseragent", "pplsip", "friendly-request")
"""How the User-Agent of well-known scanners begins. This is a cheap hint only: a scanner may send any User-Agent."""


class Peer(NamedTuple):
    """What is known about the source of a message when the message comes; looked up once for each message."""

    flow: Flow
    source: str
    """The source as ``addresses.source_of`` gives it."""
    validated: bool
    """Whether a response by this flow surely reaches the sender of the message."""
    allowance: Allowance

    @property
    def trust(self) -> Trust:
        """How far the source is trusted. A source in a network that the owner names is trusted before validation."""
        if self.allowance.trusted:
            return Trust.TRUSTED
        return Trust.VALIDATED if self.validated else Trust.UNVALIDATED


class Account:
    """What is kept for one source: the octets that may still be sent to it, and the rate of its calls."""

    __slots__ = ("calls", "credit")

    def __init__(self, allowance: Allowance, now: float) -> None:
        self.credit = 0
        self.calls = TokenBucket(*allowance.calls, now)


class AddressValidator:
    """Keeps the validated source addresses, and limits the octets and calls of the others.

    Part of the core: called under the core's lock, except for ``is_host_validated``.
    """

    def __init__(self, allowances: Optional[Allowances] = None) -> None:
        self._allowances = allowances or Allowances()
        self._validated_until: LruTable[float] = LruTable(MAX_SOURCES)
        self._accounts: LruTable[Account] = LruTable(MAX_SOURCES)
        self._unacknowledged: dict[str, str] = {}  # the source of each call that waits for its ACK
        self._unvalidated: dict[str, str] = {}  # the part of them with an unvalidated source, the oldest call first
        self._unacknowledged_of: dict[str, int] = {}  # by source: how many of its calls wait for their ACK

    # -- validation ------------------------------------------------------------------------------------------------

    def credit(self, flow: Flow, octets: int, now: float) -> None:
        """Note that a message of this number of octets came by ``flow``."""
        if flow.reliable:
            return
        account = self._account(flow.remote.host, now)
        if account.credit < MAX_CREDIT:
            account.credit = min(MAX_CREDIT, account.credit + AMPLIFICATION_LIMIT * octets)

    def peer(self, flow: Flow, now: float) -> Peer:
        """What is known about the source of ``flow``."""
        host = flow.remote.host
        source = source_of(host)
        validated = flow.reliable or is_private(host) or (self._validated_until.peek(source) or 0.0) > now
        return Peer(flow, source, validated, self._allowances.of(host))

    def validate(self, flow: Flow, invited_by: Flow, now: float) -> bool:
        """Note a message by ``flow`` that has the tag of a call whose INVITE came by ``invited_by``.

        Return whether the message validates the source of ``flow``. It does only if the INVITE came from the same
        address, because the tag was sent there. From another address the tag proves nothing: a caller can send its own
        tag in a packet with a victim's source address, or give the tag to others. So a phone that sends the ACK itself
        while its proxy sent the INVITE, or whose address has changed since, gets its music and can end its call; but
        neither address is validated until an INVITE and its ACK come from the same address.
        """
        host = flow.remote.host
        if is_private(host) or source_of(host) != source_of(invited_by.remote.host):
            return False
        self._validated_until.put(source_of(host), now + VALIDATION_LIFETIME)
        return True

    def is_validated(self, flow: Flow, now: float) -> bool:
        """Whether a response by ``flow`` surely reaches the sender."""
        return flow.reliable or self.is_host_validated(flow.remote.host, now)

    def is_host_validated(self, host: str, now: float) -> bool:
        """Whether ``host`` is private, or was validated within ``VALIDATION_LIFETIME``. Any thread may call this."""
        return is_private(host) or (self._validated_until.peek(source_of(host)) or 0.0) > now

    def may_send(self, send: Send, now: float) -> bool:
        """Whether ``send`` may leave. A packet to an unvalidated address takes its octets from the source's credit.

        The source is that of the packet's flow. A packet to a private address that this source could not reach itself
        takes them too. ``answer_address`` and ``Dialog`` make no such packet; the credit would bound it.
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

    # -- calls -----------------------------------------------------------------------------------------------------

    def call_refusal(self, peer: Peer, now: float) -> str:
        """Return why one more call of ``peer`` is refused; empty where it is accepted.

        An accepted call uses up a token of the rate at which its source may call.
        """
        allowance = peer.allowance
        if self._unacknowledged_of.get(peer.source, 0) >= allowance.unacknowledged:
            return f"{allowance.unacknowledged} calls of this address wait for their ACK"
        if not self._account(peer.flow.remote.host, now).calls.acquire(now):
            return f"More than {allowance.calls[0]:.0f} calls a second from this address"
        return ""

    def call_answered(self, call: str, peer: Peer) -> Optional[str]:
        """Note that ``call`` was answered and waits for its ACK.

        Return the oldest such call if now too many calls of unvalidated sources wait: that call has to end.
        """
        self._unacknowledged[call] = peer.source
        self._unacknowledged_of[peer.source] = self._unacknowledged_of.get(peer.source, 0) + 1
        if peer.validated:
            return None
        self._unvalidated[call] = peer.source
        return next(iter(self._unvalidated)) if len(self._unvalidated) > MAX_UNVALIDATED_CALLS else None

    def call_acknowledged_or_ended(self, call: str) -> None:
        """Note that the ACK of a call has come, or that the call has ended.

        The ACK counts from any address, because its sender knows the tag. Otherwise the call of a phone whose ACK takes
        another path than its INVITE would end as soon as too many calls of unvalidated sources wait.
        """
        source = self._unacknowledged.pop(call, None)
        self._unvalidated.pop(call, None)
        if source is not None:
            self._unacknowledged_of[source] -= 1
            if not self._unacknowledged_of[source]:
                del self._unacknowledged_of[source]

    def _account(self, host: str, now: float) -> Account:
        source = source_of(host)
        account = self._accounts.get(source)
        if account is None:
            account = self._accounts.put(source, Account(self._allowances.of(host), now))
        return account


def is_scanner(user_agent: str) -> bool:
    """Whether a User-Agent header field is that of one of the ``SCANNERS``."""
    return user_agent.lower().startswith(SCANNERS)
