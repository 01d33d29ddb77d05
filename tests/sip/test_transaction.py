"""Server and client transactions against RFC 3261 §17 and RFC 6026, with literal clocks."""

from __future__ import annotations

import pytest

from moh.common.actions import Send
from moh.sip.timers import T4, TRANSACTION_LIFE
from moh.sip.transaction import NEXT, Answer, ClientTransaction, ServerTransaction, State, transaction_key
from tests.support.ladder import FLOW, PHONE, ack, bye, invite, ok_to, request

INVITE = invite()


def opened(method: str = "INVITE") -> ServerTransaction:
    return ServerTransaction(("branch", "host", method), method, "tag", FLOW, PHONE)


def times_of_sending(transaction: ServerTransaction, until: float) -> list[float]:
    """Wake the transaction whenever it wants, as the shell does; when it sent something."""
    times = []
    while (due := transaction.next_due) is not None and due <= until:
        if transaction.tick(due):
            times.append(due)
    return times


def test_a_refusal_is_resent_from_t1_doubling_to_t2_until_timer_h() -> None:
    transaction = opened()
    transaction.respond(Answer(488, "tag"), INVITE, now=0.0)
    assert times_of_sending(transaction, 100.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert transaction.state is State.GONE


def test_the_ack_to_a_refusal_ends_retransmission_and_timer_i_the_transaction() -> None:
    transaction = opened()
    transaction.respond(Answer(488, "tag"), INVITE, now=0.0)
    transaction.acknowledge(now=0.7)
    assert transaction.state.value == "confirmed"
    assert transaction.repeat_answer(INVITE) == []
    assert transaction.next_due == 0.7 + T4
    assert times_of_sending(transaction, 100.0) == []
    assert transaction.state is State.GONE


def test_an_accepted_invite_absorbs_retransmissions_until_timer_l() -> None:
    transaction = opened()
    transaction.respond(Answer(180, "tag"), INVITE, now=0.0)
    transaction.respond(Answer(200, "tag"), INVITE, now=0.0)
    assert transaction.repeat_answer(INVITE) == [Send(Answer(200, "tag").write(INVITE, FLOW), PHONE, FLOW)]
    assert times_of_sending(transaction, 31.9) == [], "resending a 2xx is the call's work"
    assert transaction.tick(32.0) == []
    assert transaction.state is State.GONE


def test_a_retransmitted_invite_gets_its_180_again() -> None:
    transaction = opened()
    assert transaction.repeat_answer(INVITE) == []
    transaction.respond(Answer(180, "tag"), INVITE, now=0.0)
    assert transaction.repeat_answer(INVITE) == [Send(Answer(180, "tag").write(INVITE, FLOW), PHONE, FLOW)]


def test_a_bye_is_answered_again_until_timer_j() -> None:
    transaction = opened("BYE")
    transaction.respond(Answer(200, "tag"), INVITE, now=1.0)
    assert transaction.repeat_answer(INVITE) == [Send(Answer(200, "tag").write(INVITE, FLOW), PHONE, FLOW)]
    assert transaction.next_due == 1.0 + TRANSACTION_LIFE
    transaction.tick(33.0)
    assert transaction.state is State.GONE
    assert transaction.repeat_answer(INVITE) == []


def test_an_ack_changes_nothing_in_accepted() -> None:
    transaction = opened()
    transaction.respond(Answer(200, "tag"), INVITE, now=0.0)
    transaction.acknowledge(now=1.0)
    assert (transaction.state, transaction.next_due) == (State.ACCEPTED, 32.0)


EVENTS = sorted({event for _, event in NEXT})


@pytest.mark.parametrize("event", EVENTS)
def test_nothing_happens_after_the_end(event: str) -> None:
    assert (State.GONE, event) not in NEXT


def test_each_state_but_the_last_has_a_transition() -> None:
    for state in State:
        leaving = {after for (before, _), after in NEXT.items() if before is state and after is not state}
        assert bool(leaving) == (state is not State.GONE)


def test_a_late_tick_skips_missed_retransmissions() -> None:
    transaction = opened()
    transaction.respond(Answer(488, "tag"), INVITE, now=0.0)
    assert len(transaction.tick(9.0)) == 1
    assert transaction.next_due == 11.5


def test_ack_and_invite_of_one_branch_are_one_transaction_and_cancel_finds_it() -> None:
    via = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKsame;rport"
    key = transaction_key(invite(via=via))
    assert transaction_key(ack("t", via=via)) == key
    cancel = request("CANCEL", via=via)
    assert transaction_key(cancel) != key
    assert transaction_key(cancel, "INVITE") == key


def test_the_same_branch_from_another_sent_by_is_another_transaction() -> None:
    one = invite(via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKsame")
    other = invite(via="Via: SIP/2.0/UDP 192.168.1.51:5062;branch=z9hG4bKsame")
    assert transaction_key(one) != transaction_key(other)


def test_without_the_magic_cookie_the_rules_of_rfc_2543_hold() -> None:
    old = "Via: SIP/2.0/UDP 192.168.1.50:5062"
    assert transaction_key(invite(via=old)) == transaction_key(invite(via=old))
    assert transaction_key(ack("tag", via=old)) == transaction_key(invite(via=old))
    assert transaction_key(bye("t", via=old)) != transaction_key(bye("t", via=old, cseq="CSeq: 132 BYE"))


def client() -> ClientTransaction:
    return ClientTransaction("z9hG4bKours", Send(b"BYE", PHONE, FLOW), now=0.0)


def test_our_bye_is_resent_until_timer_f() -> None:
    transaction = client()
    assert transaction.start() == [Send(b"BYE", PHONE, FLOW)]
    times = []
    while (due := transaction.next_due) is not None:
        if transaction.tick(due):
            times.append(due)
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert (transaction.done, transaction.status) == (True, 408)


def test_a_final_answer_ends_our_bye() -> None:
    transaction = client()
    transaction.handle_response(ok_to(bye("t")))
    assert (transaction.done, transaction.status, transaction.next_due) == (True, 200, None)
    assert transaction.tick(0.5) == []
