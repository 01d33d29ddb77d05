"""What the doctor reads in the state of a server."""

from __future__ import annotations

from typing import Any

import pytest

from moh.common.config import Settings
from moh.doctor.calls import call_findings, host_of
from moh.doctor.finding import Finding
from moh.doctor.texts import level, words

NOW = 1_790_000_000.0
Json = dict[str, Any]


def state(**parts: Any) -> Json:
    """The state of a server that started 100 s ago, with these parts in place of the usual ones."""
    totals = {"calls": [], "last_call": None, "rejected": {}, "unexpected_errors": 0, **parts.pop("totals", {})}
    base = {"now": NOW, "started": NOW - 100, "calls": {"now": 0, "listed": []}, "ended": [], "refusals": []}
    return {**base, "totals": totals, **parts}


def row(**parts: Any) -> Json:
    """A call, as the state lists it."""
    return {
        "caller": "alice@192.168.1.50", "source": "192.168.1.50:5062", "played": 30.0, "port": 10000,
        "receiver": "192.168.1.77:4000", "answered": NOW - 60, "loss": None,
        "heard": "the receiver reported 0 % lost, jitter 2 ms", **parts,
    }  # fmt: skip


def ended(reason: str, why: str, ago: float = 5.0, **parts: Any) -> Json:
    return row(ended=NOW - ago, reason=reason, why=why, **parts)


def refused(reason: str, text: str, source: str = "192.168.1.9", ago: float = 5.0, count: int = 3) -> Json:
    return {"reason": reason, "text": text, "source": source, "at": NOW - ago, "count": count}


def found(state: Json, **environment: str) -> dict[str, Finding]:
    findings = call_findings(Settings.from_environment(environment), state)
    return {each.id: each for each in findings}


def what(each: Finding) -> str:
    return words(each, "en").what


def why(each: Finding) -> str:
    return words(each, "en").why


def test_the_last_call_and_the_number_of_calls() -> None:
    totals = {"last_call": NOW - 125.0, "calls": [{"codec": "PCMU", "count": 3}, {"codec": "G722", "count": 4}]}
    (only,) = found(state(totals=totals, calls={"now": 2, "listed": []})).values()
    assert what(only) == "The last call came 2 min 5 s ago; 7 since the start, 2 now."


def test_a_test_call_of_this_machine_is_not_the_last_call() -> None:
    test = ended("BYE", "BYE from the caller", test=True, answered=NOW - 9)
    totals = {"last_call": NOW - 9, "calls": [{"codec": "PCMU", "count": 1}]}
    assert set(found(state(totals=totals, ended=[test]))) == {"calls-none"}
    totals["calls"] = [{"codec": "PCMU", "count": 2}]
    phone = ended("BYE", "BYE from the caller", caller="201@192.0.2.9", source="192.0.2.9:5062", answered=NOW - 60)
    each = found(state(totals=totals, ended=[test, phone]))["calls"]
    assert what(each) == "The last call came 1 min ago; 1 since the start, 0 now."


def test_what_receivers_report() -> None:
    totals = {"last_call": NOW - 9, "calls": [{"codec": "PCMU", "count": 3}]}
    rows = [ended("BYE", "BYE", loss=loss, answered=NOW - 60) for loss in (0.0, 0.02, None)]
    each = found(state(totals=totals, ended=rows))["reports"]
    assert what(each) == "The receivers of 2 calls have reported that music arrives; on average 1.0 % was lost."


def test_no_call_since_the_start() -> None:
    (only,) = found(state()).values()
    assert (only.id, what(only)) == ("calls-none", "No phone has called since the start, 1 min 40 s ago.")


G729 = "refused 'INVITE' from 192.168.1.9:5062: 488 No stream to play to: formats are '18 101'; expected one of PCMU"


@pytest.mark.parametrize(
    ("source", "ago", "expected"),
    [
        ("192.168.1.9", 5.0, "error"), ("192.168.1.9", 3599.0, "error"), ("192.168.1.9", 3601.0, "warning"),
        ("203.0.113.7", 5.0, "note"), ("fd00::7", 5.0, "error"),
    ],
)  # fmt: skip
def test_a_refusal_is_an_error_where_one_of_the_own_phones_had_it_lately(
    source: str, ago: float, expected: str
) -> None:
    each = found(state(refusals=[refused("INVITE 488", G729, source, ago)]))["refused-codec"]
    assert level(each) == expected
    assert what(each) == f"The phone {source} offers no codec that this server plays."
    assert "Refused 3 x, the last time " in why(each)
    assert why(each).endswith(": 488 No stream to play to: formats are G.729, 101; expected one of PCMU.")


def test_other_refusals() -> None:
    rows = [
        refused("INVITE 488", "refused 'INVITE' from 192.168.1.9:5062: 488 No music there: 8.8.8.8 is not allowed"),
        refused("INVITE 503", "refused 'INVITE' from 192.168.1.9:5062: 503 All RTP ports are taken"),
        refused("REGISTER 405", "refused 'REGISTER' from 192.168.1.9:5062: 405 REGISTER"),
    ]
    each = found(state(refusals=rows))
    assert set(each) == {"calls-none", "refused-destination", "refused"}
    assert "503 All RTP ports are taken" in why(each["refused"])


def test_a_phone_that_moh_allow_shuts_out() -> None:
    text = "rejected a datagram from 192.168.2.20: not in MOH_ALLOW"
    each = found(state(refusals=[refused("not in MOH_ALLOW", text, "192.168.2.20")]), MOH_ALLOW="192.168.1.0/24")
    assert what(each["allow-shuts-out"]) == (
        "MOH_ALLOW shuts out 192.168.2.20, which tries to call (datagrams rejected: 3)."
    )
    assert "(192.168.1.0/24)" in words(each["allow-shuts-out"], "en").do


NONE_NAMED = "the receiver's reports name no packet of the music"


def test_a_receiver_that_reports_that_nothing_arrives_is_named_once() -> None:
    rows = [row(heard=NONE_NAMED), row(heard=NONE_NAMED, receiver="192.168.1.77:4002"), row(), row(receiver=None)]
    findings = list(call_findings(Settings(), state(calls={"now": 4, "listed": rows})))
    assert [each.id for each in findings] == ["calls", "nothing-arrives"]
    assert what(findings[1]) == (
        f"The held party at 192.168.1.77:4000 reports that no music arrives there ({NONE_NAMED})."
    )


def test_a_call_that_has_just_begun_may_have_no_report_of_a_packet_yet() -> None:
    assert "nothing-arrives" not in found(state(calls={"now": 1, "listed": [row(heard=NONE_NAMED, played=7.9)]}))


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("port unreachable", "receiver-unreachable"), ("host unreachable", "receiver-unreachable"),
        ("no ACK", "no-ack"), ("music failed", "music-failed"),
    ],
)  # fmt: skip
def test_the_latest_call_that_ended_badly_is_named(reason: str, name: str) -> None:
    rows = [ended("BYE", "BYE from the caller"), ended(reason, "the second"), ended(reason, "the first", 50.0)]
    each = found(state(ended=rows))[name]
    assert level(each) == "error" and "(5 s ago)" in what(each)
    assert "the first" not in what(each)


def test_calls_that_ended_well_are_no_finding() -> None:
    assert set(found(state(ended=[ended("BYE", "BYE from the caller"), ended("RTCP BYE", "left")]))) == {"calls"}


def test_unexpected_errors() -> None:
    assert ": 3." in what(found(state(totals={"unexpected_errors": 3}))["unexpected-errors"])


@pytest.mark.parametrize(
    ("source", "host"),
    [("192.0.2.1:5060", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("[2001:db8::1]:5060", "2001:db8::1"),
     ("2001:db8::1", "2001:db8::1"), ("", "")],
)  # fmt: skip
def test_the_host_of_a_source(source: str, host: str) -> None:
    assert host_of(source) == host
