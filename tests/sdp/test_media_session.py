"""The media session of one call, with literal clocks (RFC 3264 §8)."""

from __future__ import annotations

import pytest

from moh.common.actions import Action, Address, StartStream, StopStream
from moh.common.codecs import CODECS
from moh.common.errors import Refusal
from moh.sdp.media_session import MediaSession, Origin
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
