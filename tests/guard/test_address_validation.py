"""What a stranger may cost: octets out for octets in, calls, datagrams; with literal clocks (RFC 9000 §8.1).

More than 300 lines, because what is limited is told here in one place.
"""

from __future__ import annotations

from typing import Optional

import pytest

from moh.common.actions import Action, Address, Flow, Send, Trust
from moh.common.addresses import networks
from moh.guard.address_validation import (
    MOST_CREDIT,
    MOST_SOURCES,
    MOST_STRANGERS,
    STRANGER,
    TRUSTED,
    AddressValidator,
    LruTable,
    RateLimiter,
    TokenBucket,
)
from moh.sip.message import Request
from moh.sip.parser import parse
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    PHONE,
    PUBLIC_FLOW,
    SERVER,
    ack,
    answered,
    bye,
    invite,
    lookup,
    make_agent,
    methods,
    music,
    notes,
    request,
    response,
    statuses,
    tag,
)

VICTIM = Flow(Address("198.51.100.7", 5060), SERVER)
MINIMAL = (
    "{method} sip:1@192.168.1.100 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK{number}\r\n"
    "From: <sip:1@1>;tag=1\r\nTo: <sip:1@1>\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\n"
)
SHORT_OFFER = "v=0\r\nc=IN IP4 198.51.100.7\r\nm=audio 4000 RTP/AVP 0\r\n"


def forged(method: str = "INVITE", body: str = "", number: int = 1, *lines: str) -> bytes:
    """As few octets as do: what an attacker sends in the name of his victim."""
    head = MINIMAL.format(method=method, number=number) + "".join(line + "\r\n" for line in lines)
    return f"{head}{'Content-Type: application/sdp' + chr(13) + chr(10) if body else ''}\r\n{body}".encode()


def life(agent: UserAgent, data: bytes, flow: Flow = VICTIM, repeats: tuple[float, ...] = ()) -> tuple[int, int]:
    """Octets in and octets out in the 100 s that begin with this message and its repeats."""
    taken = given = 0
    arrivals = [0.0, *repeats]
    now = 0.0
    while now < 100.0:
        actions: list[Action] = []
        if arrivals and arrivals[0] <= now:
            message = parse(data)
            assert message is not None
            arrivals.pop(0)
            taken += len(data)
            actions += agent.receive(message, flow, now)
        actions += agent.tick(now)
        given += sum(len(action.data) for action in actions if isinstance(action, Send))
        now += 0.25
    return taken, given


def caller(number: int, flow: Flow = PUBLIC_FLOW, body: str = OFFER) -> Request:
    return invite(
        body=body, call_id=f"Call-ID: {number}", via=f"Via: SIP/2.0/UDP {flow.remote.host};branch=z9hG4bK{number};rport"
    )


# -- octets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        forged(),
        forged(body=SHORT_OFFER),
        forged("INVITE", SHORT_OFFER.replace("AVP 0", "AVP 18")),  # refused, and the refusal repeated
        forged("OPTIONS"),
        forged("REGISTER"),
        forged("BYE"),
        forged("CANCEL"),
        forged("DANCE"),
        forged("INVITE", "", 1, "Require: a"),
        forged("INVITE", "", 1, "Contact: <sip:1@203.0.113.200>"),  # whom the BYE would go to
        b"OPTIONS\r\nv:SIP/2.0/UDP a\r\n\r\n",
    ],
    ids=lambda data: f"{data[:7].decode()}{len(data)}",
)
@pytest.mark.parametrize("repeats", [(), (0.5, 1.5, 3.5)])
def test_for_an_octet_in_a_strangers_name_at_most_three_leave(data: bytes, repeats: tuple[float, ...]) -> None:
    taken, given = life(make_agent(), data, VICTIM, repeats)
    assert given <= 3 * taken


def test_a_call_that_is_never_acknowledged_is_counted_once() -> None:
    agent = make_agent()
    life(agent, forged(body=SHORT_OFFER), VICTIM)
    del agent.tally.counts["not sent to a stranger"]
    assert agent.tally.counts == {"answered, not acknowledged yet": 1, "unacknowledged": 1, "ended by no ACK": 1}


def test_nor_more_in_the_name_of_a_phone_for_somebody_else() -> None:
    """From a private address with the Contact of a stranger, whom our BYE would go to."""
    agent = make_agent()
    message = invite(contact="Contact: <sip:201@198.51.100.7>")
    out = [*agent.receive(message, FLOW, now=0.0)]
    for now in range(1, 80):
        out += agent.tick(float(now))
    to_him = sum(len(action.data) for action in out if isinstance(action, Send) and action.to.host == "198.51.100.7")
    assert 0 < to_him <= 3 * message.size


def test_a_stranger_who_shows_that_he_hears_us_gets_all_that_the_rfc_says() -> None:
    agent = make_agent()
    answered(agent, flow=PUBLIC_FLOW)
    actions = agent.receive(caller(2), PUBLIC_FLOW, now=10.0)
    assert statuses(actions) == [180, 200]
    resent = []
    while agent.next_due is not None and agent.next_due < 42.0:
        now = agent.next_due
        resent += [now - 10] * len(statuses(agent.tick(now)))
    assert resent == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def test_an_hour_later_he_is_a_stranger_again() -> None:
    agent = make_agent()
    answered(agent, flow=PUBLIC_FLOW)
    assert statuses(agent.receive(caller(2), PUBLIC_FLOW, now=3599.0)) == [180, 200]
    assert statuses(agent.receive(caller(3), PUBLIC_FLOW, now=3601.0)) == [200]


def test_each_repeat_of_the_invite_pays_for_its_answer() -> None:
    """Without 180 he repeats it until he has the 200; so the network may lose a lot and the call comes about."""
    agent = make_agent()
    first = agent.receive(caller(1), PUBLIC_FLOW, now=0.0)
    for now in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5):
        agent.tick(now)
        assert 200 in statuses(agent.receive(caller(1), PUBLIC_FLOW, now))
    to_tag = tag(response(first))
    assert music(agent.receive(ack(to_tag, call_id="Call-ID: 1"), PUBLIC_FLOW, now=31.6)) != []


def test_a_lost_ack_is_asked_for_at_least_once_more() -> None:
    agent = make_agent()
    agent.receive(caller(1), PUBLIC_FLOW, now=0.0)
    assert statuses(agent.tick(0.5)) == [200]


def test_an_ack_with_a_guessed_tag_proves_nothing() -> None:
    agent = make_agent()
    agent.receive(caller(1), PUBLIC_FLOW, now=0.0)
    agent.receive(ack("guessed", call_id="Call-ID: 1"), PUBLIC_FLOW, now=0.1)
    assert not agent.guard.is_validated(PUBLIC_FLOW, now=0.2)


def test_by_tcp_everybody_is_known() -> None:
    agent = make_agent()
    tcp = Flow(PUBLIC_FLOW.remote, SERVER, "TCP", 1)
    assert statuses(agent.receive(caller(1), tcp, now=0.0)) == [180, 200]


def test_credit_is_bounded() -> None:
    guard = AddressValidator()
    for _ in range(100):
        guard.credit(VICTIM, 60_000, now=0.0)
    sent = 0
    while guard.may_send(Send(bytes(1000), VICTIM.remote, VICTIM), now=0.0):
        sent += 1000
    assert sent <= MOST_CREDIT


def test_nothing_goes_to_a_neighbour_of_ours_whom_a_stranger_names_in_via() -> None:
    agent = make_agent()
    via = "Via: SIP/2.0/UDP 198.51.100.7:53;branch=z9hG4bKm;maddr=192.168.1.60"
    out = agent.receive(invite(via=via), VICTIM, now=0.0)
    for now in range(1, 80):
        out += agent.tick(float(now))
    assert {action.to.host for action in out if isinstance(action, Send)} == {VICTIM.remote.host}


@pytest.mark.parametrize("source", ["198.51.100.7", "203.0.113.9"])
def test_whoever_makes_us_send_to_where_he_cannot_pays_for_it(source: str) -> None:
    guard, flow = AddressValidator(), Flow(Address(source, 5060), SERVER)
    guard.validate(PUBLIC_FLOW, PUBLIC_FLOW, now=0.0)  # the second of them is known
    guard.credit(flow, 100, now=0.0)
    assert guard.may_send(Send(bytes(300), PHONE, flow), now=0.0)
    assert not guard.may_send(Send(bytes(1), PHONE, flow), now=0.0)
    assert not guard.may_send(Send(bytes(1), Address("127.0.0.1", 53), FLOW), now=0.0), (
        "nor is our loopback free for a phone"
    )
    assert guard.may_send(Send(bytes(1000), PHONE, FLOW), now=0.0)


def test_addresses_of_one_subscriber_of_ipv6_are_one_source() -> None:
    guard = AddressValidator()
    one, other = (Flow(Address(host, 5060), SERVER) for host in ("2001:db8::1", "2001:db8::2:3"))
    guard.credit(one, 100, now=0.0)
    assert guard.may_send(Send(bytes(300), other.remote, other), now=0.0)
    assert not guard.may_send(Send(bytes(1), one.remote, one), now=0.0)


# -- the way back --------------------------------------------------------------------------------------------------

ATTACKER = Flow(Address("203.0.113.66", 5060), SERVER)


def to_host(actions: list[Action], host: str) -> list[Send]:
    return [action for action in actions if isinstance(action, Send) and action.to.host == host]


@pytest.mark.parametrize("method", ["ACK", "INFO", "OPTIONS", "UPDATE", "BYE"])
def test_a_callers_own_tag_proves_nothing_for_another_address(method: str) -> None:
    """He has it from an honest call and sends it once more, with his victim's address as the source."""
    agent = make_agent()
    to_tag = answered(agent, flow=ATTACKER)
    out = agent.receive(forged_in_call := request(method, to_tag=to_tag, cseq=f"CSeq: 131 {method}"), VICTIM, now=1.0)
    assert agent.guard.is_validated(ATTACKER, now=1.0) and not agent.guard.is_validated(VICTIM, now=1.0)
    invited = caller(2, VICTIM)
    out += agent.receive(invited, VICTIM, now=1.1)
    for tenth in range(12, 700):
        out += agent.tick(tenth / 10)
    given = sum(len(send.data) for send in to_host(out, VICTIM.remote.host))
    assert 0 < given <= 3 * (forged_in_call.size + invited.size)


@pytest.mark.parametrize("method", ["ACK", "BYE"])
def test_a_tag_that_our_bye_has_told_proves_nothing(method: str) -> None:
    """The BYE goes to the Contact; who wrote that there need not be who the INVITE seems to come from."""
    agent = make_agent()
    agent.receive(invite(contact=f"Contact: <sip:1@{ATTACKER.remote}>"), VICTIM, now=0.0)
    (told,) = to_host(agent.tick(32.0), ATTACKER.remote.host)
    message = parse(told.data)
    assert isinstance(message, Request) and message.method == "BYE"
    agent.receive(request(method, to_tag=message.from_.tag, cseq=f"CSeq: 131 {method}"), VICTIM, now=32.1)
    assert not agent.guard.is_validated(VICTIM, now=32.1)


def test_only_whose_invite_it_is_may_cancel_it_and_be_told_its_tag() -> None:
    """RFC 3261 §22.1. With the tag an ACK in the victim's name would have proved him, and started his music."""
    agent = make_agent()
    to_tag = tag(response(agent.receive(invite(), VICTIM, now=0.0)))
    cancel = request("CANCEL", via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKinvite1;rport")
    refusal = response(agent.receive(cancel, ATTACKER, now=0.1))
    assert refusal.status == 481 and tag(refusal) != to_tag
    answer = response(agent.receive(cancel, VICTIM, now=0.2))
    assert (answer.status, tag(answer)) == (200, to_tag)


def test_a_phone_whose_ack_takes_another_way_has_its_music_and_keeps_its_place() -> None:
    """A proxy has sent its INVITE, or the NAT before it has more than one address: neither is proved by that."""
    agent = make_agent(ports=(10000, 10100), shared=10100)
    to_tag = tag(response(agent.receive(invite(), PUBLIC_FLOW, now=0.0)))
    assert len(music(agent.receive(ack(to_tag), VICTIM, now=0.1))) == 1
    assert not agent.guard.is_validated(PUBLIC_FLOW, now=0.2) and not agent.guard.is_validated(VICTIM, now=0.2)
    for number, flow in enumerate(strangers(MOST_STRANGERS + 1), 1):
        agent.receive(caller(number, flow), flow, now=0.2)
    assert not agent._calls[to_tag].ended, "who no longer waits for an ACK makes no room for strangers"
    assert statuses(agent.receive(bye(to_tag), VICTIM, now=0.3)) == [200]


def test_one_subscriber_of_ipv6_may_acknowledge_from_another_address_of_his() -> None:
    agent = make_agent()
    one, other = (
        Flow(Address(host, 5060), Address("2001:db8::100", 5060)) for host in ("2001:db8:1::1", "2001:db8:1::2")
    )
    to_tag = tag(response(agent.receive(invite(), one, now=0.0)))
    agent.receive(ack(to_tag), other, now=0.1)
    assert agent.guard.is_validated(one, now=0.2)


def test_a_call_that_goes_on_elsewhere_proves_nothing_there() -> None:
    """A re-INVITE moves the call; our tag had been told before."""
    agent = make_agent()
    to_tag = answered(agent, flow=ATTACKER)
    agent.receive(
        invite(to_tag=to_tag, via="Via: SIP/2.0/UDP a;branch=z9hG4bKre", cseq="CSeq: 131 INVITE"), VICTIM, now=1
    )
    agent.receive(ack(to_tag, cseq="CSeq: 131 ACK"), VICTIM, now=1.1)
    assert not agent.guard.is_validated(VICTIM, now=1.2)


# -- calls ---------------------------------------------------------------------------------------------------------


def test_a_hundred_calls_at_once_of_a_pbx_are_taken() -> None:
    agent = make_agent(ports=(10000, 12000))
    tags = [tag(response(agent.receive(caller(number), PUBLIC_FLOW, now=0.0))) for number in range(100)]
    for number, to_tag in enumerate(tags):
        agent.receive(ack(to_tag, call_id=f"Call-ID: {number}"), PUBLIC_FLOW, now=0.1)
    assert agent.calls == 100


def test_a_source_that_never_acknowledges_gets_503_and_nothing_is_kept_of_it() -> None:
    agent = make_agent(ports=(10000, 12000))
    for number in range(STRANGER.unacknowledged):
        assert statuses(agent.receive(caller(number), PUBLIC_FLOW, now=0.0)) == [200]
    transactions = len(agent._transactions)
    answer = response(agent.receive(caller(1000), PUBLIC_FLOW, now=0.1))
    assert (answer.status, answer.first("retry-after")) == (503, "5")
    assert len(agent._transactions) == transactions
    assert statuses(agent.receive(caller(1001, VICTIM), VICTIM, now=0.2)) == [200], "others are welcome"
    agent.tick(32.0)
    assert statuses(agent.receive(caller(1002), PUBLIC_FLOW, now=32.1)) == [200]


def test_of_all_strangers_the_oldest_makes_room_and_one_who_acknowledges_has_his_place() -> None:
    agent = make_agent(ports=(10000, 14000))
    honest = answered(agent, flow=Flow(Address("203.0.113.250", 5060), SERVER))
    for number in range(MOST_STRANGERS + 200):
        flow = Flow(Address(f"198.51.{number // 250}.{number % 250}", 5060), SERVER)
        assert statuses(agent.receive(caller(number, flow), flow, now=number / 100)) == [200]
    assert agent.calls == MOST_STRANGERS + 1
    assert honest in agent._calls and not agent._calls[honest].ended
    agent.tick(100.0)
    assert agent.calls == 1 and not agent.guard._waiting and not agent.guard._strangers and not agent.guard._of_source


def strangers(count: int) -> list[Flow]:
    return [Flow(Address(f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}", 5060), SERVER) for n in range(count)]


def most_kept(agent: UserAgent) -> int:
    """Entries of the agent's fullest table."""
    woken = len(agent._schedule) - len(agent._calls)
    mine = (len(agent._calls), len(agent._dialogs), len(agent._transactions), len(agent._merged), len(agent._waiting))
    return max(woken, len(agent.guard._strangers), *mine)


def test_what_a_flood_of_strangers_leaves_behind_has_an_end() -> None:
    """Of those who made room nothing is kept, neither the call nor what would know its INVITE again."""
    agent = make_agent(ports=(10000, 10100), shared=10100)
    for number, flow in enumerate(strangers(4 * MOST_STRANGERS)):
        agent.receive(caller(number, flow), flow, now=number / 1000)
        assert most_kept(agent) <= MOST_STRANGERS
    agent.tick(100.0)
    agent.tick(200.0)
    assert most_kept(agent) == 0


def test_who_made_room_hears_bye_and_may_call_again() -> None:
    agent = make_agent(ports=(10000, 10100), shared=10100)
    first, *rest = strangers(MOST_STRANGERS + 1)
    agent.guard.credit(first, 10_000, now=0.0)  # he has sent enough before to pay for it
    to_tag = tag(response(agent.receive(caller(0, first), first, now=0.0)))
    for number, flow in enumerate(rest, 1):
        actions = agent.receive(caller(number, flow), flow, now=0.1)
    assert methods(actions) == ["BYE"] and response(actions).status == 200
    assert agent.receive(ack(to_tag, call_id="Call-ID: 0"), first, now=0.2) == []
    assert statuses(agent.receive(caller(0, first), first, now=0.5)) == [200], "its repeat is a call of its own"


@pytest.mark.parametrize("number", [1, 2], ids=["by its body", "by Require"])
def test_of_a_strangers_invite_that_is_refused_nothing_is_kept(number: int) -> None:
    agent = make_agent()
    refused = (
        forged("INVITE", SHORT_OFFER.replace("AVP 0", "AVP 18"))
        if number == 1
        else forged("INVITE", "", 1, "Require: a")
    )
    message = parse(refused)
    assert isinstance(message, Request)
    first = response(agent.receive(message, VICTIM, now=0.0))
    assert most_kept(agent) == 0
    again = response(agent.receive(message, VICTIM, now=0.5))
    assert (again.status, tag(again)) == (first.status, tag(first)), "as RFC 3261 §8.2.7 has it"
    assert agent.tick(40.0) == []


def test_who_is_known_hears_a_refusal_until_he_acknowledges_it() -> None:
    agent = make_agent()
    answered(agent, flow=PUBLIC_FLOW)  # an ACK that only he can have sent
    unfit = OFFER.replace("RTP/AVP 0 8 101", "RTP/AVP 18")
    assert statuses(agent.receive(caller(7, PUBLIC_FLOW, unfit), PUBLIC_FLOW, now=1.0)) == [488]
    assert statuses(agent.tick(1.5)) == [488]


def test_a_stranger_who_cancels_while_a_name_is_looked_up_hears_487_and_is_forgotten() -> None:
    agent = make_agent()
    named_host = SHORT_OFFER.replace("198.51.100.7", "held.example")
    invited, cancelled = parse(forged("INVITE", named_host)), parse(forged("CANCEL"))
    assert isinstance(invited, Request) and isinstance(cancelled, Request)
    agent.guard.credit(VICTIM, 10_000, now=0.0)
    assert statuses(agent.receive(invited, VICTIM, now=0.0)) == [100]
    assert statuses(agent.receive(cancelled, VICTIM, now=0.1)) == [200, 487]
    assert agent.resolved(lookup("held.example", VICTIM, Trust.UNVALIDATED), "198.51.100.7", now=0.2) == []
    assert not agent._waiting and not agent._merged
    agent.tick(32.2)
    assert most_kept(agent) == 0


def test_500_calls_a_second_of_one_private_address_are_taken() -> None:
    agent = make_agent(ports=(10000, 14000))
    for number in range(5000):
        now = number / 500
        to_tag = tag(response(agent.receive(caller(number, FLOW), FLOW, now)))
        assert to_tag
        names = {"call_id": f"Call-ID: {number}", "via": f"Via: SIP/2.0/UDP a;branch=z9hG4bKb{number};rport"}
        agent.receive(ack(to_tag, **names), FLOW, now)
        assert statuses(agent.receive(bye(to_tag, **names), FLOW, now)) == [200]
        agent.stream_gone(to_tag, 1, "ended", now=now)
    assert agent.tally.counts == {"ended by BYE": 5000}


@pytest.mark.parametrize(("host", "rate"), [("203.0.113.9", STRANGER.calls), ("192.168.1.50", TRUSTED.calls)])
def test_calls_have_a_rate(host: str, rate: tuple[float, float]) -> None:
    guard = AddressValidator()
    peer = guard.peer(Flow(Address(host, 5060), SERVER), now=0.0)
    assert [guard.call_refusal(peer, now=0.0) for _ in range(int(rate[1]))] == [""] * int(rate[1])
    assert guard.call_refusal(peer, now=0.0) == f"More than {rate[0]:.0f} calls a second from this address"
    assert guard.call_refusal(peer, now=1.0) == ""


def test_networks_that_the_owner_names_may_do_as_much_as_private_ones() -> None:
    guard = AddressValidator(networks("203.0.113.0/24"))
    peer = guard.peer(PUBLIC_FLOW, now=0.0)
    assert peer.trust is Trust.TRUSTED and not peer.validated
    assert not any(guard.call_refusal(peer, now=0.0) for _ in range(1000))


# -- scanners ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["friendly-scanner", "sipcli/v1.8", "VaxSIPUserAgent/3.1", "sundayddr", "pplsip"])
def test_a_scanner_hears_nothing_and_has_one_line(name: str) -> None:
    agent = make_agent()
    first = agent.receive(request("OPTIONS", f"User-Agent: {name}"), PUBLIC_FLOW, now=50.0)
    assert statuses(first) == [] and notes(first) == [f"not answered: {name!r} from 203.0.113.9:5062"]
    for again in range(1000):
        assert agent.receive(request("REGISTER", f"User-Agent: {name}"), PUBLIC_FLOW, now=50 + again / 1000) == []
    assert agent.tally.drain(now=61.0) == "1000 scanner (last 203.0.113.9)"
    assert statuses(agent.receive(request("OPTIONS", f"User-Agent: {name}"), FLOW, now=61.0)) == [200], "at home"


def test_calls_that_are_never_acknowledged_have_a_line_or_two() -> None:
    agent = make_agent(ports=(10000, 12000))
    told: list[str] = []
    for number in range(100):
        told += notes(agent.receive(caller(number), PUBLIC_FLOW, now=50.0))
    told += notes(agent.tick(now=90.0))
    assert [text.split(" ")[0] for text in told] == ["answered", "ended"]
    assert agent.tally.drain(now=100.0).startswith("99 answered, not acknowledged yet (last 203.0.113.9), 99 ")


def test_refusals_are_counted_by_names_of_ours_alone() -> None:
    agent = make_agent()
    for number in range(100):
        agent.receive(request(f"DANCE{number}"), FLOW, now=1.0)
    assert agent.tally.counts == {"other 405": 100}


# -- datagrams -----------------------------------------------------------------------------------------------------

OPTIONS = b"OPTIONS sip:1@192.168.1.100 SIP/2.0\r\n"
INVITE = b"INVITE sip:1@192.168.1.100 SIP/2.0\r\n"


def gate(allowed: str = "", known: Optional[str] = None) -> RateLimiter:
    return RateLimiter(networks(allowed), lambda host, now: host == known, 0.0)


def passed(gate: RateLimiter, hosts: list[str], data: bytes, rate: int, seconds: float = 10.0) -> float:
    """How many datagrams a second pass of so many, in turn from these hosts, after the first burst."""
    count = 0
    for number in range(int(rate * seconds)):
        now = number / rate
        count += not gate.refusal(hosts[number % len(hosts)], data, now) and now >= seconds / 2
    return count / (seconds / 2)


def test_of_20000_options_a_second_a_few_are_looked_at() -> None:
    assert passed(gate(), ["203.0.113.9"], OPTIONS, 20_000, 4.0) <= STRANGER.others[0] * 1.1
    assert passed(gate(), ["127.0.0.1"], OPTIONS, 20_000, 4.0) <= TRUSTED.others[0] * 1.1


def test_of_20000_from_everywhere_as_well() -> None:
    hosts = [f"198.{second}.{third}.7" for second in range(100) for third in range(200)]
    assert passed(gate(), hosts, OPTIONS, 20_000, 4.0) <= 210
    assert passed(gate(), hosts, INVITE, 20_000, 6.0) <= 1050


def test_meanwhile_who_is_known_or_at_home_is_let_in() -> None:
    door = gate(known="203.0.113.9")
    for number in range(50_000):
        door.refusal(f"198.51.{number % 199}.{number % 251}", INVITE, now=number / 20_000)
    assert door.refusal("203.0.113.9", INVITE, now=2.5) == ""
    assert door.refusal("192.168.1.50", OPTIONS, now=2.5) == ""


def test_500_calls_a_second_from_one_private_address_pass() -> None:
    door = gate()
    for number in range(15_000):
        assert door.refusal("127.0.0.1", INVITE, now=number / 1500) == ""


def test_a_hundred_calls_of_a_public_pbx_pass_and_their_ends_as_well() -> None:
    door = gate()
    assert not any(door.refusal("203.0.113.9", INVITE, now=0.0) for _ in range(500))


def test_whom_the_owner_has_not_named_is_not_looked_at() -> None:
    door = gate("192.168.0.0/16, 203.0.113.0/24, 2001:db8::/32")
    assert door.refusal("198.51.100.7", INVITE, now=0.0) == "not in MOH_ALLOW"
    assert door.refusal("10.0.0.1", INVITE, now=0.0) == "not in MOH_ALLOW"
    assert door.refusal("2001:db9::1", INVITE, now=0.0) == "not in MOH_ALLOW"
    for host in ("192.168.1.1", "::ffff:192.168.1.1", "203.0.113.9", "2001:db8::1"):
        assert door.refusal(host, INVITE, now=0.0) == ""


def test_a_flood_from_everywhere_leaves_no_trace_and_keeps_nobody_out_who_is_known() -> None:
    guard = AddressValidator()
    guard.validate(PUBLIC_FLOW, PUBLIC_FLOW, now=0.0)
    door = RateLimiter((), guard.is_host_validated, now=0.0)
    refused = [door.refusal(f"198.18.{n // 250}.{n % 250}", OPTIONS, now=0.0) for n in range(1000)]
    assert sum(map(bool, refused)) == 600 and len(door._sources) == 400
    for host in ("203.0.113.9", "192.168.1.1"):
        assert door.refusal(host, OPTIONS, now=0.0) == "" and door.is_known(host, now=0.0)
    assert door.refusal("198.51.100.7", INVITE, now=0.0) == "" and not door.is_known("198.51.100.7", now=0.0)


def test_all_private_sources_together_may_ask_so_often_and_call_in_spite_of_it() -> None:
    door = gate()
    refused = [door.refusal(f"10.1.{n // 250}.{n % 250}", OPTIONS, now=0.0) for n in range(5000)]
    assert sum(map(bool, refused)) == 3000
    assert door.refusal("10.9.9.9", INVITE, now=0.0) == ""
    assert door.refusal("10.9.9.9", OPTIONS, now=1.0) == ""


def test_who_is_named_has_more_and_all_others_are_let_in() -> None:
    door = gate("203.0.113.9, 0.0.0.0/0, ::/0")
    assert [door.refusal("203.0.113.9", OPTIONS, now=0.0) for _ in range(300)] == [""] * 300
    assert door.refusal("198.51.100.7", OPTIONS, now=0.0) == ""
    assert any(door.refusal("198.51.100.7", OPTIONS, now=0.0) for _ in range(300))


def test_keep_alives_are_nothing() -> None:
    assert gate().refusal("192.168.1.50", b"\r\n\r\n", now=0.0) == "too short"


def test_tables_are_bounded() -> None:
    door, guard = gate(), AddressValidator()
    for number in range(2 * MOST_SOURCES):
        host = f"198.51.{number // 250}.{number % 250}"
        door.refusal(host, OPTIONS, now=number / 100)
        flow = Flow(Address(host, 1), SERVER)
        guard.credit(flow, 100, now=0.0)
        guard.validate(flow, flow, now=0.0)
    assert len(door._sources) == len(guard._accounts) == len(guard._proved) == MOST_SOURCES


def test_what_was_used_last_is_kept() -> None:
    recent: LruTable[int] = LruTable(2)
    for key in ("a", "b"):
        recent.put(key, 1)
    recent.get("a")
    recent.put("c", 1)
    assert (recent.peek("a"), recent.peek("b"), recent.peek("c")) == (1, None, 1)


def test_a_bucket_fills_up_to_its_brim() -> None:
    bucket = TokenBucket(10.0, 2.0, now=0.0)
    assert [bucket.acquire(now) for now in (0.0, 0.0, 0.0, 0.1, 0.1, 60.0, 60.0, 60.0)] == [
        True, True, False, True, False, True, True, False,
    ]  # fmt: skip
