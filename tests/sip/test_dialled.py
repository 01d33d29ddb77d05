"""A name that was dialled behind a bridge: name and port go into Contact, the address into c= (RFC 3261 §12.1.1)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Optional

import pytest

from moh.common.actions import Action, Address, Flow, Note, Resolve, Trust
from moh.guard.allowances import TRUSTED_ALLOWANCE
from moh.guard.media_policy import MediaPolicy
from moh.sip.dialled import KEPT_FOR, KNOWN_FOR, MAX_NAMES, UNKNOWN_FOR, DialledNames
from moh.sip.message import Request
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    ack,
    bye,
    invite,
    lookup,
    make_agent,
    methods,
    music,
    notes,
    request,
    response,
    sent,
    statuses,
    tag,
)

OWN = Address("172.18.0.2", 5060)
BRIDGE = FLOW._replace(local=OWN)
INTERNET = Flow(Address("203.0.113.9", 5062), OWN)
ASKED = Resolve("moh.lan", "", Trust.TRUSTED, 4)
"""The look-up of ``moh.lan`` for all trusted callers together."""


def agent_in_a_container() -> UserAgent:
    return make_agent(bridge=OWN.host, destinations=MediaPolicy())


def dialling(uri: str = "sip:123@moh.lan:6060", number: int = 1, body: str = OFFER) -> Request:
    via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{number};rport"
    return invite(uri=uri, via=via, call_id=f"Call-ID: {number}", body=body)


def lookups(actions: Iterable[Action]) -> list[Resolve]:
    return [action for action in actions if isinstance(action, Resolve)]


def contact(actions: Iterable[Action]) -> str:
    """Return the URI in the Contact of the last response."""
    return (response(actions).first("contact") or "").partition(">")[0].lstrip("<")


def origin(actions: Iterable[Action]) -> str:
    """Return the address in c= of the last response."""
    return response(actions).body.decode().partition("c=IN IP4 ")[2].partition("\r\n")[0]


def test_the_invite_gets_100_until_the_name_has_an_address_and_the_call_is_as_any_other() -> None:
    agent = agent_in_a_container()
    actions = agent.receive(dialling(), BRIDGE, now=0.0)
    assert (statuses(actions), lookups(actions)) == ([100], [ASKED])
    actions = agent.resolved(ASKED, "192.168.1.100", now=0.1)
    assert statuses(actions) == [180, 200]
    assert (contact(actions), origin(actions)) == ("sip:moh@moh.lan:6060", "192.168.1.100")
    to_tag = tag(response(actions))
    assert agent.receive(ack(to_tag, call_id="Call-ID: 1", uri=contact(actions)), BRIDGE, now=0.2) == []
    assert statuses(agent.receive(bye(to_tag, call_id="Call-ID: 1"), BRIDGE, now=9.0)) == [200]
    assert agent.calls == 0


def test_our_own_requests_name_us_as_the_caller_does() -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    agent.resolved(ASKED, "192.168.1.100", now=0.1)
    (own,) = [message for message in sent(agent.close(0.0, now=1.0)) if isinstance(message, Request)]
    assert own.via.sent_by == "moh.lan:6060"
    assert own.first("contact") == "<sip:moh@moh.lan:6060>"


def test_a_call_by_tcp_says_so_in_its_contact() -> None:
    agent = agent_in_a_container()
    way = BRIDGE._replace(transport="TCP", connection=7)
    agent.receive(dialling("sip:123@moh.lan:6060;transport=tcp"), way, now=0.0)
    actions = agent.resolved(ASKED, "192.168.1.100", now=0.1)
    assert (contact(actions), origin(actions)) == ("sip:moh@moh.lan:6060;transport=tcp", "192.168.1.100")


def test_the_next_callers_do_not_wait_until_the_address_is_old() -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    agent.resolved(ASKED, "192.168.1.100", now=0.1)
    actions = agent.receive(dialling("sip:123@MOH.lan:5060", number=2), BRIDGE, now=0.1 + KNOWN_FOR - 1)
    assert (statuses(actions), lookups(actions)) == ([180, 200], [])
    assert (contact(actions), origin(actions)) == ("sip:moh@MOH.lan:5060", "192.168.1.100")
    assert lookups(agent.receive(dialling(number=3), BRIDGE, now=0.1 + KNOWN_FOR)) == [ASKED]


def test_a_thousand_phones_at_once_have_one_look_up() -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    for number in range(2, 10):
        way = BRIDGE._replace(remote=Address(f"192.168.1.{number}", 5062))
        assert lookups(agent.receive(dialling(number=number), way, now=0.0)) == []
    actions = agent.resolved(ASKED, "192.168.1.100", now=0.1)
    assert statuses(actions) == [180, 200] * 9


@pytest.mark.parametrize("found_at", [0.3, None])
def test_a_name_without_an_address_is_in_contact_all_the_same_and_the_owner_is_told(found_at: Optional[float]) -> None:
    """``None``: the DNS server is silent, so that the call goes on after two seconds."""
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    if found_at is None:
        assert statuses(agent.tick(now=1.9)) == []
        actions = agent.tick(now=2.0)
    else:
        actions = agent.resolved(ASKED, "", now=found_at)
    assert statuses(actions) == [180, 200]
    assert (contact(actions), origin(actions)) == ("sip:moh@moh.lan:6060", OWN.host)
    warnings = [action.text for action in actions if isinstance(action, Note) and action.level == logging.WARNING]
    assert warnings == [
        "192.168.1.50:5062 dialled 'moh.lan'. This server finds no IP address for that name, so its answer says that "
        "the music comes from 172.18.0.2; set MOH_ADVERTISED_ADDRESS to an address of this machine that phones can "
        "reach"
    ]


def test_it_is_remembered_for_a_while_that_a_name_has_no_address() -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    agent.resolved(ASKED, "", now=0.1)
    actions = agent.receive(dialling(number=2), BRIDGE, now=1.0)
    assert (statuses(actions), lookups(actions)) == ([180, 200], [])
    assert len(notes(actions)) == 1, "the warning came with the first call"
    assert lookups(agent.receive(dialling(number=3), BRIDGE, now=0.1 + UNKNOWN_FOR)) == [ASKED]


@pytest.mark.parametrize("silent", [False, True])
def test_the_former_address_stays_in_use_while_look_ups_fail(silent: bool) -> None:
    """The DNS server is ``silent``, or answers that it has failed."""
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    agent.resolved(ASKED, "192.168.1.100", now=0.0)
    later = KNOWN_FOR + 10.0
    actions = agent.receive(dialling(number=2), BRIDGE, now=later)
    assert (statuses(actions), lookups(actions)) == ([100], [ASKED])
    actions = agent.tick(now=later + 2.0) if silent else agent.resolved(ASKED, "", now=later + 2.0)
    assert (statuses(actions), origin(actions)) == ([180, 200], "192.168.1.100")
    assert not any("no address here" in note for note in notes(actions))
    if silent:
        assert agent.resolved(ASKED, "", now=later + 2.0) == []
    actions = agent.receive(dialling(number=3), BRIDGE, now=later + 1.0 + UNKNOWN_FOR)
    assert (statuses(actions), origin(actions)) == ([180, 200], "192.168.1.100"), "no look-up at each call"
    asking_again = agent.receive(dialling(number=4), BRIDGE, now=later + 2.0 + UNKNOWN_FOR)
    assert lookups(asking_again) == [ASKED]
    actions = agent.resolved(ASKED, "192.168.1.101", now=later + 3.0 + UNKNOWN_FOR)
    assert origin(actions) == "192.168.1.101"


def test_the_former_address_is_in_use_where_too_many_names_are_looked_up() -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    agent.resolved(ASKED, "192.168.1.100", now=0.0)
    for number in range(TRUSTED_ALLOWANCE.names):
        agent.receive(dialling(f"sip:123@silent{number}.lan", number=100 + number), BRIDGE, now=KNOWN_FOR)
    actions = agent.receive(dialling(number=2), BRIDGE, now=KNOWN_FOR)
    assert (lookups(actions), origin(actions)) == ([], "192.168.1.100")


def test_an_address_that_comes_too_late_is_for_the_next_call() -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    agent.tick(now=2.0)
    assert agent.resolved(ASKED, "192.168.1.100", now=5.0) == []
    assert origin(agent.receive(dialling(number=2), BRIDGE, now=6.0)) == "192.168.1.100"


def test_a_name_in_the_offer_is_looked_up_first_and_both_have_one_deadline() -> None:
    agent = agent_in_a_container()
    named = OFFER.replace("192.168.1.77", "held.lan")
    assert agent.receive(dialling(body=named), BRIDGE, now=0.0)[-1] == lookup("held.lan")
    assert agent.resolved(lookup("held.lan"), "192.168.1.77", now=3.0) == [ASKED], "and no second 100"
    assert agent.next_due == 4.0
    actions = agent.tick(now=4.0)
    assert statuses(actions) == [180, 200] and len(music(actions)) == 1
    assert contact(actions) == "sip:moh@moh.lan:6060"


def test_two_calls_whose_offers_wait_share_the_look_up_of_the_dialled_name() -> None:
    agent = agent_in_a_container()
    named = OFFER.replace("192.168.1.77", "held.lan")
    for number in (1, 2):
        agent.receive(dialling(number=number, body=named), BRIDGE, now=0.0)
    assert agent.resolved(lookup("held.lan"), "192.168.1.77", now=0.1) == [ASKED]
    assert statuses(agent.resolved(ASKED, "192.168.1.100", now=0.2)) == [180, 200] * 2


def test_a_call_that_would_be_refused_causes_no_look_up() -> None:
    agent = agent_in_a_container()
    bad = agent.receive(dialling(body="v=0\nm=video 9 RTP/AVP 34\n"), BRIDGE, now=0.0)
    assert (statuses(bad), lookups(bad)) == ([488], [])
    agent.close(0.0, now=1.0)
    stopping = agent.receive(dialling(number=2), BRIDGE, now=2.0)
    assert (statuses(stopping), lookups(stopping)) == ([503], [])


def test_cancel_ends_the_wait() -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    cancel = request(
        "CANCEL", uri="sip:123@moh.lan:6060", via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK1;rport"
    )
    assert statuses(agent.receive(cancel, BRIDGE, now=0.5)) == [200, 487]
    assert agent.resolved(ASKED, "192.168.1.100", now=1.0) == [] and agent.idle


def test_too_many_names_at_once_are_not_looked_up_and_refuse_no_call() -> None:
    agent = agent_in_a_container()
    for number in range(TRUSTED_ALLOWANCE.names):
        agent.receive(dialling(f"sip:123@silent{number}.lan", number=100 + number), BRIDGE, now=0.0)
    actions = agent.receive(dialling(), BRIDGE, now=0.1)
    assert (statuses(actions), lookups(actions)) == ([180, 200], [])
    assert (contact(actions), origin(actions)) == ("sip:moh@moh.lan:6060", OWN.host)


# -- callers on the internet -----------------------------------------------------------------------------------------


def test_a_name_of_an_unvalidated_source_is_not_looked_up() -> None:
    agent = agent_in_a_container()
    body = OFFER.replace("192.168.1.77", INTERNET.remote.host)
    actions = agent.receive(dialling(body=body), INTERNET, now=0.0)
    assert (statuses(actions), lookups(actions)) == ([200], [])
    assert contact(actions) == "sip:moh@moh.lan:6060"
    agent.receive(ack(tag(response(actions)), call_id="Call-ID: 1"), INTERNET, now=0.2)
    asked = lookups(agent.receive(dialling(number=2, body=body), INTERNET, now=1.0))
    assert asked == [Resolve("moh.lan", INTERNET.remote.host, Trust.VALIDATED, 4)], "its ACK has validated it"
    actions = agent.resolved(asked[0], "198.51.100.1", now=1.1)
    assert (contact(actions), origin(actions)) == ("sip:moh@moh.lan:6060", "198.51.100.1")


@pytest.mark.parametrize("inwards", ["10.0.0.7", "192.168.1.100", "127.0.0.1"])
def test_a_caller_on_the_internet_does_not_learn_an_inward_address(inwards: str) -> None:
    agent = agent_in_a_container()
    body = OFFER.replace("192.168.1.77", INTERNET.remote.host)
    way = INTERNET._replace(transport="TCP", connection=1)
    (asked,) = lookups(agent.receive(dialling(body=body), way, now=0.0))
    actions = agent.resolved(asked, inwards, now=0.1)
    assert statuses(actions) == [180, 200]
    assert inwards.encode() not in b"".join(message.body for message in sent(actions))
    assert origin(actions) == OWN.host


def test_a_failed_look_up_for_a_public_caller_leaves_trusted_phones_their_own() -> None:
    """A caller outside can fill the resolver's queue for validated sources, so that its look-ups fail at once."""
    agent = agent_in_a_container()
    body = OFFER.replace("192.168.1.77", INTERNET.remote.host)
    way = INTERNET._replace(transport="TCP", connection=1)
    (asked,) = lookups(agent.receive(dialling(body=body), way, now=0.0))
    agent.resolved(asked, "", now=0.1)
    assert lookups(agent.receive(dialling(number=2), BRIDGE, now=1.0)) == [ASKED]


@pytest.mark.parametrize(("known", "named"), [("198.51.100.1", "198.51.100.1"), ("192.168.1.100", OWN.host)])
def test_an_unvalidated_source_profits_from_the_look_up_for_a_trusted_phone(known: str, named: str) -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    agent.resolved(ASKED, known, now=0.1)
    body = OFFER.replace("192.168.1.77", INTERNET.remote.host)
    assert origin(agent.receive(dialling(number=2, body=body), INTERNET, now=1.0)) == named


# -- the ACK that never comes ----------------------------------------------------------------------------------------


def expire(agent: UserAgent) -> list[Action]:
    """Run all timers of the 32 s in which an ACK may come. Return the actions of the last one."""
    actions: list[Action] = []
    while agent.next_due is not None and agent.next_due <= 32.0:
        actions = agent.tick(agent.next_due)
    return actions


def test_a_missing_ack_is_a_warning_with_the_facts_once_for_each_caller() -> None:
    agent = agent_in_a_container()
    for number in (1, 2):
        agent.receive(dialling("sip:123@172.18.0.2", number=number), BRIDGE, now=0.0)
    other = BRIDGE._replace(remote=Address("192.168.1.60", 5062))
    agent.receive(dialling("sip:123@172.18.0.2", number=3), other, now=0.0)
    assert [note for note in notes(expire(agent)) if "(no ACK)" in note] == [
        f"{caller}:5062 did not confirm the call (no ACK). The answer names sip:moh@172.18.0.2:5060. If {caller} "
        "cannot reach that address, set MOH_ADVERTISED_ADDRESS to an address of this machine that phones can reach"
        for caller in ("192.168.1.50", "192.168.1.60")
    ]


def test_the_warning_shows_an_advertised_address_that_was_set() -> None:
    agent = make_agent(advertised="192.168.9.9")
    agent.receive(invite(), FLOW, now=0.0)
    assert (
        "names sip:moh@192.168.9.9:5060. If 192.168.1.50 cannot reach that address, set "
        "MOH_ADVERTISED_ADDRESS, which is 192.168.9.9, to" in notes(expire(agent))[-1]
    )


@pytest.mark.parametrize(("uri", "warned"), [("sip:123@198.51.100.1", 0), ("sip:123@172.18.0.2", 1)])
def test_for_scanners_there_is_one_warning_and_only_if_none_of_them_can_reach_us(uri: str, warned: int) -> None:
    agent = agent_in_a_container()
    for number in range(1, 4):
        way = INTERNET._replace(remote=Address(f"203.0.113.{number}", 5062))
        agent.receive(dialling(uri, number=number, body=OFFER.replace("192.168.1.77", way.remote.host)), way, now=0.0)
    assert sum("did not confirm the call" in note for note in notes(expire(agent))) == warned


def test_a_call_that_gets_its_ack_causes_no_warning() -> None:
    agent = agent_in_a_container()
    agent.receive(dialling(), BRIDGE, now=0.0)
    actions = agent.resolved(ASKED, "192.168.1.100", now=0.1)
    agent.receive(ack(tag(response(actions)), call_id="Call-ID: 1"), BRIDGE, now=0.2)
    assert notes(expire(agent)) == [] and methods(agent.close(0.0, now=40.0)) == ["BYE"]


# -- the names that are remembered -----------------------------------------------------------------------------------


def test_the_names_are_bounded_and_each_ip_version_has_its_own() -> None:
    names = DialledNames()
    names.learn(ASKED, "192.168.1.100", now=0.0)
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=1.0) == "192.168.1.100"
    assert names.address("moh.lan", 6, Trust.TRUSTED, now=1.0) is None
    for number in range(MAX_NAMES):
        names.learn(ASKED._replace(name=f"{number}.lan"), "192.168.1.1", now=0.0)
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=1.0) is None


def test_results_for_public_callers_neither_replace_nor_flush_those_for_trusted_callers() -> None:
    names = DialledNames()
    names.learn(ASKED, "192.168.1.100", now=0.0)
    outside = ASKED._replace(source="203.0.113.9", trust=Trust.VALIDATED)
    names.learn(outside, "198.51.100.66", now=1.0)
    for number in range(MAX_NAMES):
        names.learn(outside._replace(name=f"{number}.lan"), "198.51.100.1", now=1.0)
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=2.0) == "192.168.1.100"
    assert names.address("0.lan", 4, Trust.VALIDATED, now=2.0) == "198.51.100.1"
    assert names.address("0.lan", 4, Trust.TRUSTED, now=2.0) is None
    assert names.needs_look_up("0.lan", 4, Trust.TRUSTED, now=2.0)


def test_questions_of_public_callers_do_not_count_as_a_use_of_a_trusted_result() -> None:
    """Otherwise such a caller could decide which names of the trusted callers are forgotten."""
    names = DialledNames()
    names.learn(ASKED, "192.168.1.100", now=0.0)
    for number in range(MAX_NAMES - 1):
        names.learn(ASKED._replace(name=f"{number}.lan"), "192.168.1.1", now=0.0)
    assert names.address("moh.lan", 4, Trust.VALIDATED, now=1.0) == "192.168.1.100"
    names.learn(ASKED._replace(name="one.more.lan"), "192.168.1.1", now=1.0)
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=2.0) is None


def test_a_look_up_that_found_nothing_does_not_replace_an_address() -> None:
    names = DialledNames()
    names.learn(ASKED, "192.168.1.100", now=0.0)
    names.learn(ASKED, "", now=1.0)
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=2.0) == "192.168.1.100"
    assert not names.needs_look_up("moh.lan", 4, Trust.TRUSTED, now=KNOWN_FOR - 1)
    names.learn(ASKED, "", now=KNOWN_FOR)
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=KNOWN_FOR + 1) == "192.168.1.100"
    assert not names.needs_look_up("moh.lan", 4, Trust.TRUSTED, now=KNOWN_FOR + UNKNOWN_FOR - 1)
    assert names.needs_look_up("moh.lan", 4, Trust.TRUSTED, now=KNOWN_FOR + UNKNOWN_FOR)


def test_an_address_that_no_look_up_finds_any_more_is_forgotten_after_a_day() -> None:
    names = DialledNames()
    names.learn(ASKED, "192.168.1.100", now=0.0)
    names.learn(ASKED, "", now=KEPT_FOR - 1)
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=KEPT_FOR - 0.5) == "192.168.1.100"
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=KEPT_FOR) == ""
    names.learn(ASKED, "", now=KEPT_FOR + UNKNOWN_FOR)
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=KEPT_FOR + UNKNOWN_FOR) == ""
    assert names.address("moh.lan", 4, Trust.TRUSTED, now=KEPT_FOR + 2 * UNKNOWN_FOR) is None
