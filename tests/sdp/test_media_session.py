"""The media session of one call, with literal clocks (RFC 3264 §8)."""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Address, StartStream, StopStream
from moh.common.codecs import CODECS, OPUS
from moh.common.errors import Refusal
from moh.sdp.media_session import SHARED_PTIMES, MediaSession, Origin
from moh.sdp.offer_answer import choose
from tests.support.offers import AUDIO, START, session

HELD = AUDIO + "a=inactive\n"
MOVED = "m=audio 4002 RTP/AVP 0\n"
SECURE = "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:a\n"


def media_session(shared: bool = False) -> MediaSession:
    origin = Origin(10000, shared, 7, "server-key", CODECS, lambda host: "192.0.2.9")
    return MediaSession("call", origin, tune=3)


def negotiate(media: MediaSession, lines: str, now: float) -> tuple[str, list[Action]]:
    """Answer an offer and follow it: the o= line of the answer, and the actions."""
    offer = session(START + lines)
    choice = choose(offer, reoffer=True)
    text = media.answer(offer, choice)
    media.wanted = choice
    return text.decode().split("\r\n")[1], media.follow(now)


def test_an_offer_starts_the_stream_and_hold_stops_it_where_it_is() -> None:
    media = media_session()
    _, (start,) = negotiate(media, AUDIO, now=1.0)
    assert isinstance(start, StartStream)
    assert (start.call, start.serial, start.position, start.tune) == ("call", 1, 0.0, 3)
    assert (start.target.remote, start.target.local) == (Address("192.0.2.1", 4000), Address("192.0.2.9", 10000))
    assert negotiate(media, HELD, now=5.0)[1] == [StopStream("call")]
    _, (start,) = negotiate(media, AUDIO, now=60.0)
    assert isinstance(start, StartStream) and (start.serial, start.position) == (2, 4.0)


def test_the_version_counts_up_only_when_the_description_changes() -> None:
    media = media_session()
    versions = [negotiate(media, lines, now=1.0)[0].split(" ")[2] for lines in (AUDIO, AUDIO, HELD, HELD, AUDIO)]
    assert versions == ["1", "1", "2", "2", "3"]


def test_a_repeated_offer_does_not_touch_the_stream_and_a_moved_one_starts_the_next() -> None:
    media = media_session()
    negotiate(media, AUDIO, now=1.0)
    assert negotiate(media, AUDIO, now=2.0)[1] == []
    _, (start,) = negotiate(media, MOVED, now=4.0)
    assert isinstance(start, StartStream) and (start.serial, start.position) == (2, 3.0)


def test_a_stream_is_starting_until_its_first_packet_has_left() -> None:
    media = media_session()
    assert not media.starting
    negotiate(media, AUDIO, now=1.0)
    assert media.starting
    media.began(1)
    assert not media.starting
    negotiate(media, MOVED, now=4.0)
    assert media.starting
    media.began(1)
    assert media.starting, "the report of the former stream came late"
    media.began(2)
    media.began(1)
    assert not media.starting, "and so it may when the present stream plays"
    negotiate(media, HELD, now=5.0)
    assert not media.starting


def test_a_stream_on_the_shared_port_is_never_starting() -> None:
    media = media_session(shared=True)
    negotiate(media, AUDIO, now=1.0)
    assert not media.starting


def test_the_end_of_an_older_stream_changes_nothing() -> None:
    media = media_session()
    negotiate(media, AUDIO, now=1.0)
    negotiate(media, MOVED, now=2.0)
    assert media.gone(1, now=3.0) is False and media.playing and media.stream_open
    assert media.gone(2, now=4.0) is True and not media.playing and not media.stream_open
    assert media.position == 3.0


def test_the_end_of_a_stopped_stream_is_expected() -> None:
    media = media_session()
    negotiate(media, AUDIO, now=1.0)
    media.stop(now=2.0)
    assert media.stream_open, "the engine has not reported its end"
    assert media.gone(1, now=2.1) is False and not media.stream_open


def test_srtp_in_a_call_that_shares_its_port_is_488_and_changes_nothing() -> None:
    media = media_session(shared=True)
    first, _ = negotiate(media, AUDIO, now=1.0)
    with pytest.raises(Refusal, match="488 No exclusive port is left for SRTP"):
        negotiate(media, SECURE, now=2.0)
    assert negotiate(media, AUDIO, now=3.0) == (first, [])


def test_a_summary_names_codec_address_and_port() -> None:
    media = media_session()
    assert media.summary() == "our offer sent, the music waits for the answer in the ACK"
    negotiate(media, SECURE, now=1.0)
    assert media.summary() == "PCMU by SRTP to 192.0.2.1:4000 from port 10000"
    negotiate(media, HELD, now=2.0)
    assert media.summary() == "on hold, no music, port 10000"


# -- the length of packets -------------------------------------------------------------------------------------------

OPUS_AUDIO = "m=audio 4000 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n"


@pytest.mark.parametrize(
    ("wish", "own", "shared"),
    [
        ("", 20, 20),
        ("a=ptime:10\n", 10, 20),
        ("a=ptime:20\n", 20, 20),
        ("a=ptime:30\n", 30, 20),
        ("a=ptime:40\n", 40, 40),
        ("a=ptime:50\n", 50, 40),
        ("a=ptime:60\n", 60, 60),
        ("a=ptime:120\n", 120, 60),
        ("a=ptime:60\na=maxptime:50\n", 50, 40),
        ("a=ptime:60\na=maxptime:30\n", 30, 20),
        ("a=maxptime:10\n", 10, 20),
    ],
)
def test_a_call_that_shares_its_port_gets_one_of_few_packet_lengths_and_any_other_its_wish(
    wish: str, own: int, shared: int
) -> None:
    """The answer says what is sent; a caller that wishes for another length takes what comes (RFC 3264 §6.1)."""
    for is_shared, expected in ((False, own), (True, shared)):
        media = media_session(is_shared)
        offer = session(START + AUDIO + wish)
        media.wanted = choose(offer)
        assert f"a=ptime:{expected}\r\n" in media.answer(offer, media.wanted).decode()
        (start,) = media.follow(1.0)
        assert isinstance(start, StartStream) and start.target.ptime == expected


@pytest.mark.parametrize(("wish", "own", "shared"), [(10, 10, 20), (30, 20, 20), (60, 60, 60), (120, 60, 60)])
def test_a_codec_of_frames_shares_the_packet_lengths_of_all_others(wish: int, own: int, shared: int) -> None:
    assert set(SHARED_PTIMES) <= set(OPUS.ptimes)
    for is_shared, expected in ((False, own), (True, shared)):
        media = media_session(is_shared)
        media.wanted = choose(session(f"{START}{OPUS_AUDIO}a=ptime:{wish}\n"))
        (start,) = media.follow(1.0)
        assert isinstance(start, StartStream) and start.target.ptime == expected


def test_a_wish_that_changes_nothing_on_the_shared_port_does_not_touch_the_stream() -> None:
    media = media_session(shared=True)
    assert len(negotiate(media, AUDIO + "a=ptime:20\n", now=1.0)[1]) == 1
    assert negotiate(media, AUDIO + "a=ptime:30\n", now=2.0)[1] == []
    assert len(negotiate(media, AUDIO + "a=ptime:40\n", now=3.0)[1]) == 1


# -- where nothing will be sent (RFC 3264 §6.1) ------------------------------------------------------------------------


def without_ipv6(host: str) -> str:
    if ":" in host:
        raise Refusal(488, "no way")
    return "192.0.2.9"


@pytest.mark.parametrize("hold", ["c=IN IP6 2001:db8::7\na=inactive\n", "c=IN IP6 ::\n", "c=IN IP4 x\na=inactive\n"])
def test_a_hold_needs_no_route(hold: str) -> None:
    media = MediaSession("call", Origin(10000, False, 7, "server-key", CODECS, without_ipv6), tune=3)
    origin, actions = negotiate(media, AUDIO + hold, now=1.0)
    assert origin == "o=- 7 1 IN IP4 192.0.2.9" and actions == []
    with pytest.raises(Refusal, match="no way"):
        negotiate(media, AUDIO + "c=IN IP6 2001:db8::7\n", now=2.0)


def test_a_hold_by_srtp_needs_no_port_of_its_own() -> None:
    media = media_session(shared=True)
    negotiate(media, AUDIO, now=1.0)
    assert negotiate(media, SECURE + "a=inactive\n", now=2.0)[1] == [StopStream("call")]


def test_a_hold_keeps_the_local_address_and_an_answer_in_an_ack_may_change_it() -> None:
    origin = Origin(10000, False, 7, "key", CODECS, lambda host: "2001:db8::9" if ":" in host else "192.0.2.9")
    media = MediaSession("call", origin, tune=3)
    assert media.offer("192.0.2.1").startswith(b"v=0\r\no=- 7 1 IN IP4 192.0.2.9\r\n")
    media.accept(choose(session(START + AUDIO + "c=IN IP6 2001:db8::7\n")))
    (start,) = media.follow(now=1.0)
    assert isinstance(start, StartStream) and start.target.local == Address("2001:db8::9", 10000)
    assert negotiate(media, HELD, now=2.0)[0] == "o=- 7 2 IN IP6 2001:db8::9"
