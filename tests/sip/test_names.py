"""The names by which callers choose their music (RFC 3261 §19.1.4): what a user part says, and what plays then."""

from __future__ import annotations

import logging
import random
import time
from typing import Optional

import pytest

from moh.common.actions import Action, Flow, Note, StartStream
from moh.sip.names import MOST_MISSING, MOST_OCTETS, MusicNames, Selection, name_of
from moh.sip.parser import parse
from moh.sip.user_agent import UserAgent
from tests.support.ladder import (
    FLOW,
    OFFER,
    PUBLIC_FLOW,
    ack,
    bye,
    invite,
    make_agent,
    music,
    notes,
    octets,
    response,
    statuses,
    tag,
)

DEFAULT = 0
"""The tune that ``make_agent`` gives to the user agent."""


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("jazz", "jazz"), ("Jazz", "Jazz"), ("", ""), ("123", "123"), ("+441134960000", "+441134960000"),
        ("%6Aazz", "jazz"), ("%6aazz", "jazz"), ("j%61%7A%7a", "jazz"),
        ("jazz;x=1", "jazz"), ("jazz:secret", "jazz"), ("jazz:a;b", "jazz"), ("jazz;a:b", "jazz"),
        (";x", ""), (":", ""),
        ("jazz%3Bx", "jazz;x"), ("jazz%3ax", "jazz:x"), ("a%40b", "a@b"), ("a@b", "a@b"), ("jazz?x=y", "jazz?x=y"),
        ("100%25", "100%"), ("%2525", "%25"), ("100%", "100%"), ("%zz", "%zz"), ("%6", "%6"), ("%%6A", "%j"),
        ("Caf%C3%A9", "Café"), ("Cafe%CC%81", "Café"), ("Cafe\u0301", "Café"), ("夏の歌", "夏の歌"),
        ("%E5%A4%8F", "夏"), ("%F0%9F%8E%B7", "🎷"), ("🎷", "🎷"),
        ("%FF", "\ufffd"), ("a%C3", "a\ufffd"), ("\udcff", "\ufffd"), ("\ud800", "?"), ("%ED%A0%80", "\ufffd" * 3),
        ("%00", "\0"), ("a%00b", "a\0b"), ("..", ".."), ("%2e%2e%2Fetc%2Fpasswd", "../etc/passwd"), ("/", "/"),
        ("%0d%0aX: y", "\r\nX: y".partition(":")[0]),
    ],
)  # fmt: skip
def test_a_user_part_says_a_name(user: str, name: str) -> None:
    assert name_of(user) == name
    if "\ud800" not in user:
        assert name_of(user.encode("utf-8", "surrogateescape")) == name


@pytest.mark.parametrize("part", ["x", "é", "%C3%A9", "🎷", "%F0%9F%8E%B7", "%", "%41", "e\u0301"])
def test_a_long_name_is_cut(part: str) -> None:
    """No file has so long a name: what is cut is like none."""
    name = name_of(part * 70_000)
    assert name.endswith("…") and len(name.encode()) <= MOST_OCTETS + 6
    assert name_of("x" * MOST_OCTETS) == "x" * MOST_OCTETS
    assert name_of("%78" * MOST_OCTETS) == "x" * MOST_OCTETS
    assert name_of("x" * (MOST_OCTETS + 1)) == "x" * MOST_OCTETS + "…"


def test_no_octets_are_too_odd_for_a_name() -> None:
    """Whatever comes, a name is valid text of a bounded length."""
    chance = random.Random(17)
    alphabet = [b"%", b"%", b"4", b"1", b"a", b"z", b"\xc3", b"\xa9", b"\xff", b"\0", b";", b":", b"/", b".", b"\xf0"]
    for _ in range(5000):
        user = b"".join(chance.choices(alphabet, k=chance.randrange(400)))
        name = name_of(user)
        assert len(name.encode("utf-8")) <= 3 * MOST_OCTETS + 3
        assert name == name_of(user.decode("utf-8", "surrogateescape"))


# -- the list of names ---------------------------------------------------------------------------------------------


def names_of(tunes: dict[str, Optional[int]]) -> MusicNames:
    names = MusicNames()
    names.replace(tunes)
    return names


def test_a_name_plays_its_tune_and_any_other_the_default() -> None:
    names = names_of({"jazz": 5, "rock": None})
    assert names.select("jazz", 1) == Selection(5, "jazz", "jazz")
    assert names.select("rock", 1) == Selection(1, "", "rock"), "its music is not ready"
    assert names.select("Jazz", 1) == Selection(1, "", "Jazz"), "upper and lower case differ"
    assert names.select("", 1) == Selection(1, "", "")
    assert names.tunes == {5}


def test_the_names_that_are_wanted_are_those_that_are_not_ready() -> None:
    names = names_of({"jazz": 5, "rock": None, "folk": None})
    for dialled in ("folk", "jazz", "rock", "folk", "pop"):
        names.note(dialled, 1.0)
    assert names.take_wanted() == ["folk", "rock"] and names.take_wanted() == []
    names.note("rock", 2.0)
    names.note("folk", 2.0)
    names.replace({"jazz": 5, "rock": 6, "folk": None})
    assert names.take_wanted() == ["folk"], "rock has become ready"


def test_the_names_that_are_missing_are_counted_in_a_table_with_a_bound() -> None:
    names = names_of({"jazz": 5})
    assert names.note("123", 1.0)
    names.note_line("123")
    assert not names.note("123", 2.0) and not names.note("jazz", 3.0)
    assert names.missing == [("123", 2, 2.0)]
    for number in range(1000):
        names.note(f"n{number}", 4.0)
    assert len(names.missing) == MOST_MISSING and names.missing[0] == ("n999", 1, 4.0)
    assert names.note("123", 5.0), "forgotten"


def test_a_name_that_comes_into_being_is_missing_no_more() -> None:
    names = names_of({})
    names.note("jazz", 1.0)
    names.replace({"jazz": None})
    assert names.missing == []
    names.replace({})
    assert names.note("jazz", 2.0), "and missing for the first time once it is gone"
    names.note_line("jazz")
    assert not names.note("jazz", 3.0)
    names.replace({"jazz": 1})
    names.replace({})
    assert names.note("jazz", 4.0), "and once more"


def test_without_a_library_no_name_is_missing() -> None:
    names = MusicNames()
    assert names.select("jazz", 1) == Selection(1, "", "jazz")
    assert not names.note("jazz", 1.0) and names.missing == [] and names.take_wanted() == []


@pytest.mark.parametrize(
    ("dialled", "nearest"),
    [
        ("Jazz", "jazz"), ("JAZZ", "jazz"), ("jaz", "jazz"), ("jazzz", "jazz"), ("jzaz", "jazz"), ("azz", "jazz"),
        ("recption", "reception"), ("Reseption", "reception"), ("STRASSE", "straße"), ("café", "Café"),
        ("123", ""), ("1", ""), ("…", ""), ("opera", ""), ("\0", ""), ("x" * 5000, ""), ("jazz" * 20, ""),
    ],
)  # fmt: skip
def test_the_nearest_name_is_one_of_another_case_or_a_slip(dialled: str, nearest: str) -> None:
    assert names_of({"jazz": 1, "rock": 2, "reception": None, "straße": 3, "Café": 4}).nearest(dialled) == nearest


def test_the_nearest_name_is_one_of_those_that_are_there_now() -> None:
    names = names_of({"jazz": None})
    assert names.nearest("Jazz") == "jazz"
    names.replace({"jazz": 1})
    assert names.nearest("Jazz") == "jazz"
    names.replace({"jazzy": 1})
    assert names.nearest("Jazz") == "jazzy"


def test_the_nearest_of_ten_thousand_names_is_found_soon() -> None:
    alike = names_of({f"music-for-the-reception-{number:05d}": number for number in range(10_000)})
    began = time.perf_counter()
    found = [alike.nearest(f"music-for-the-recepton-{number:05d}") for number in (0, 1, 77)]
    assert (time.perf_counter() - began) / 3 < 0.5, "about 0.01 s"
    assert found[0] == "music-for-the-reception-00000"
    shuffled = names_of({f"{number}": number for number in range(10_000)})
    assert shuffled.nearest("12345") != ""


# -- calls ---------------------------------------------------------------------------------------------------------


def agent_with(names: dict[str, Optional[int]]) -> UserAgent:
    agent = make_agent()
    agent.names_ready(names, now=0.0)
    return agent


def dial(agent: UserAgent, user: str, number: int = 0, flow: Flow = FLOW, now: float = 1.0) -> list[Action]:
    """A first INVITE to ``user``, with a Call-ID and a branch of its own."""
    octets_of_user = user.encode("utf-8", "surrogateescape")
    data = octets("INVITE", body=OFFER, uri="sip:USER@192.168.1.100:5060", **identity(number))
    message = parse(data.replace(b"sip:USER@", b"sip:%s@" % octets_of_user, 1))
    assert message is not None
    return agent.receive(message, flow, now)


def identity(number: int) -> dict[str, str]:
    return {
        "via": f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKname{number};rport",
        "call_id": f"Call-ID: name{number}@192.168.1.50",
    }


def hang_up(agent: UserAgent, call: str, number: int, now: float) -> None:
    via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKbye{number};rport"
    agent.receive(bye(call, via=via, call_id=f"Call-ID: name{number}@192.168.1.50"), FLOW, now)
    agent.stream_gone(call, 1, "", now=now)


def tune_of(actions: list[Action]) -> int:
    (start,) = [action for action in actions if isinstance(action, StartStream)]
    return start.tune


@pytest.mark.parametrize(
    ("user", "tune"),
    [
        ("jazz", 5), ("%6Aazz", 5), ("jazz;x=1", 5), ("jazz:pw", 5), ("caf%C3%A9", 6), ("café", 6), ("cafe%CC%81", 6),
        ("Jazz", DEFAULT), ("rock", DEFAULT), ("123", DEFAULT), ("..%2Fjazz", DEFAULT), ("jazz%00", DEFAULT),
        ("\udcff", DEFAULT), ("", DEFAULT),
    ],
)  # fmt: skip
def test_the_request_uri_chooses_the_tune(user: str, tune: int) -> None:
    agent = agent_with({"jazz": 5, "café": 6, "rock": None})
    actions = dial(agent, user)
    assert (statuses(actions), tune_of(actions)) == ([180, 200], tune)
    (call,) = agent.snapshots(agent.call_ids, now=2.0)
    assert call.dialled == name_of(user)
    assert call.name == {5: "jazz", 6: "café", DEFAULT: ""}[tune]
    assert agent.callers_by_name() == {call.name: 1}


def test_the_to_field_chooses_nothing() -> None:
    """A proxy may have found out that the name in To is at another one here (§16.6)."""
    agent = agent_with({"jazz": 5})
    to = invite(to="To: <sip:jazz@192.168.1.100>")
    assert tune_of(agent.receive(to, FLOW, now=1.0)) == DEFAULT


def test_a_uri_without_a_user_part_plays_the_default_and_misses_nothing() -> None:
    agent = agent_with({"jazz": 5})
    actions = agent.receive(invite(uri="sip:192.168.1.100:5060"), FLOW, now=1.0)
    assert tune_of(actions) == DEFAULT and agent.missing_names == [] and len(notes(actions)) == 1


def test_no_reinvite_changes_the_tune() -> None:
    """The Request-URI of a re-INVITE is our Contact. The music goes on where it was."""
    agent = agent_with({"jazz": 5})
    call = tag(response(dial(agent, "jazz")))
    agent.receive(ack(call, call_id="Call-ID: name0@192.168.1.50"), FLOW, now=1.1)
    agent.names_ready({"rock": 7}, now=2.0)
    changed = {**identity(0), "via": identity(1)["via"], "cseq": "CSeq: 131 INVITE", "uri": "sip:rock@192.168.1.100"}
    moved = OFFER.replace("192.168.1.77", "192.168.1.78")
    actions = agent.receive(invite(body=moved, to_tag=call, **changed), FLOW, now=11.0)
    starts = [(action.tune, action.position) for action in music(actions) if isinstance(action, StartStream)]
    assert starts == [(5, 10.0)]
    assert agent.callers_by_name() == {"jazz": 1} and agent.tunes == {DEFAULT, 5, 7}


def test_a_name_that_is_gone_plays_on_to_its_callers() -> None:
    agent = agent_with({"jazz": 5})
    call = tag(response(dial(agent, "jazz")))
    agent.names_ready({}, now=2.0)
    assert agent.tunes == {DEFAULT, 5}
    assert tune_of(dial(agent, "jazz", 1)) == DEFAULT
    hang_up(agent, call, 0, now=3.0)
    assert agent.tunes == {DEFAULT}


def test_the_log_says_what_plays() -> None:
    agent = agent_with({"jazz": 5, "rock": None})
    assert [text.rpartition("port ")[2] for text in notes(dial(agent, "jazz"))] == ["10000, music 'jazz'"]
    (text,) = notes(dial(agent, "rock", 1))
    assert text.endswith("from port 10002; the music 'rock' is not ready, so the default plays")
    assert agent.names_wanted() == ["rock"]


def test_the_log_names_once_what_is_missing() -> None:
    """What most phones dial is 123, and it is no fault: only a name that may be a slip is a warning."""
    agent = agent_with({"jazz": 5})
    said = [
        action for number, user in enumerate(("123", "123", "Jazz", "Jazz")) for action in dial(agent, user, number)
    ]
    missing = [(note.level, note.text) for note in said if isinstance(note, Note) and "dialled" in note.text]
    assert missing == [
        (logging.INFO, "192.168.1.50:5062 dialled '123': no music has that name, so the default plays"),
        (
            logging.WARNING,
            "192.168.1.50:5062 dialled 'Jazz': no music has that name, so the default plays; 'jazz' is similar",
        ),
    ]
    assert agent.missing_names == [("Jazz", 2, 1.0), ("123", 2, 1.0)]


def test_without_a_library_the_log_says_nothing_of_names() -> None:
    agent = make_agent()
    (text,) = notes(dial(agent, "jazz"))
    assert text.endswith("from port 10000")
    assert (agent.missing_names, agent.names_wanted(), agent.callers_by_name()) == ([], [], {"": 1})


def test_a_flood_of_names_grows_neither_the_log_nor_a_table() -> None:
    agent = agent_with({"jazz": 5})
    said: list[str] = []
    for number in range(40):
        actions = dial(agent, f"jazz{number}", number)
        said += [text for text in notes(actions) if "dialled" in text]
        call = tag(response(actions))
        hang_up(agent, call, number, now=1.0)
    assert len(said) == 10, "as many lines of all sources as Counters allows in 10 s"
    assert len(agent.missing_names) == 40
    assert any("'jazz39'" in text for text in notes(dial(agent, "jazz39", 40, now=20.0))), "it has its line later"
    assert len(notes(dial(agent, "jazz39", 41, now=2000.0))) == 1, "once"


@pytest.mark.parametrize("user", ["Jazz", "jazz"])
def test_a_caller_on_the_internet_dials_with_its_ack(user: str) -> None:
    """A flood of INVITEs with forged addresses neither fills the table nor has music converted."""
    agent = agent_with({"jazz": None})
    call = tag(response(dial(agent, user, flow=PUBLIC_FLOW)))
    assert (agent.missing_names, agent.names_wanted()) == ([], [])
    acknowledged = agent.receive(ack(call, call_id="Call-ID: name0@192.168.1.50"), PUBLIC_FLOW, now=1.0)
    assert any("similar" in text for text in notes(acknowledged)) == (user == "Jazz")
    assert [name for name, _, _ in agent.missing_names] == (["Jazz"] if user == "Jazz" else [])
    assert agent.names_wanted() == (["jazz"] if user == "jazz" else [])


def test_thousands_of_odd_users_are_answered() -> None:
    """Each gets 200 and music, or 400 where the URI is none; the log's lines hold no control characters."""
    chance = random.Random(1914)
    agent = agent_with({"jazz": 5, "..": 6, "rock": None})
    alphabet = "jazroc%%%0247AFf;:/.?&=+$,!~*'()-_é夏🎷\udcff\udc80\x01\x7f<>\"\\@[]{}|^`"
    for number in range(3000):
        user = "".join(chance.choices(alphabet, k=chance.choice((1, 4, 9, 40, 300))))
        actions = dial(agent, user, number, now=0.1 * number)
        (status,) = {status for status in statuses(actions) if status != 180}
        assert status in (200, 400), user
        assert all(text.isprintable() for text in notes(actions))
        if status == 200:
            call = tag(response(actions))
            hang_up(agent, call, number, now=0.1 * number)
    assert agent.calls == 0 and len(agent.missing_names) == MOST_MISSING
    assert all(name.encode() for name, _, _ in agent.missing_names)
