"""Which stream of an offer gets the music, where to and how (RFC 3264 §6, RFC 4568, RFC 7088 §2.8 and §2.11)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address
from moh.common.codecs import PCMU
from moh.common.errors import Refusal
from moh.sdp.offer_answer import SWITCHED_OFF, Choice, choose, rtcp_beside_rtp
from tests.support.offers import AUDIO, START, answer, chosen, session, warning


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("", 304),
        ("m=video 4000 RTP/AVP 0\n", 304),
        ("m=audio 0 RTP/AVP 0\n", 304),
        ("m=audio 4000 RTP/SAVP 0\n", 399),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\n", 302),
        ("m=audio 1023 RTP/AVP 0\n", 399),
        (AUDIO + "c=IN IP4 224.2.1.1/127/3\n", 301),
        (AUDIO + "c=IN IP6 ff02::1\n", 301),
        (AUDIO + "c=IN IP6 ::ffff:239.0.0.1\n", 301),
        (AUDIO + "c=IN IP4 255.255.255.255\n", 301),
        (AUDIO + "c=IN IP4 0.0.0.1\n", 301),
        (AUDIO + "c=IN IP4 -phone.example.com\n", 301),
        (AUDIO + "c=IN IP4 phöne.example.com\n", 301),
        (AUDIO + "c=IN IP4 " + "a" * 254 + "\n", 301),
        (AUDIO + "c=IN IP4 ١٢٧.0.0.1\n", 301),
        (AUDIO + "c=IN IP6 fe80::1%]:9?localrtpport=53&x=\n", 301),
    ],
)
def test_an_offer_without_a_usable_stream_is_488_with_a_warning(lines: str, code: int) -> None:
    text = warning(lines)
    assert text.startswith(f'{code} moh "') and text.isprintable() and text.count('"') == 2


def test_an_offer_without_any_address_is_refused() -> None:
    assert warning(AUDIO, "v=0\nt=0 0\n").startswith("301 moh \"host '' has no address")


@pytest.mark.parametrize(
    ("connection", "host"),
    [
        ("IP6 2001:db8::1", "2001:db8::1"),
        ("IP6 2001:DB8:0::1", "2001:db8::1"),
        ("IP6 [2001:db8::1]", "2001:db8::1"),
        ("IP6 ::ffff:192.0.2.7", "192.0.2.7"),
        ("IP4 192.0.2.7/127", "192.0.2.7"),
    ],
)
def test_the_address_is_used_in_its_canonical_form(connection: str, host: str) -> None:
    assert chosen(AUDIO + f"c=IN {connection}\n").remote == Address(host, 4000)


def test_a_host_name_is_left_to_the_caller_of_choose() -> None:
    offer = session(START + AUDIO + "c=IN IP4 phone.example.com\n")
    assert (choose(offer).name, choose(offer).remote.host) == ("phone.example.com", "phone.example.com")
    known = choose(offer, names={"phone.example.com": "192.0.2.7"})
    assert (known.name, known.remote) == ("", Address("192.0.2.7", 4000))


@pytest.mark.parametrize("address", ["", "224.0.0.1", "fe80::1%eth0", "255.255.255.255"])
def test_a_host_name_without_a_unicast_address_is_refused(address: str) -> None:
    with pytest.raises(Refusal, match="488 No stream to play to"):
        choose(session(START + AUDIO + "c=IN IP4 phone.lan\n"), names={"phone.lan": address})


# -- direction and packet length ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("a=recvonly\n", "sendonly"),
        ("a=sendrecv\n", "sendonly"),
        ("", "sendonly"),
        ("a=active\n", "sendonly"),
        ("a=inactive\n", "inactive"),
        ("a=sendonly\n", "inactive"),
        ("a=RecvOnly\n", "sendonly"),
        ("c=IN IP4 0.0.0.0\n", "inactive"),
        ("c=IN IP4 0.0.0.0\na=recvonly\n", "inactive"),
        ("c=IN IP6 ::\n", "inactive"),
    ],
)
def test_the_answer_has_the_opposite_direction(offered: str, answered: str) -> None:
    choice = chosen(AUDIO + offered)
    assert (choice.direction, choice.playing) == (answered, answered == "sendonly")
    assert answer(AUDIO + offered)[-1] == f"a={answered}"


@pytest.mark.parametrize(
    ("attributes", "ptime"),
    [
        ("", 20), ("a=ptime:30\n", 30), ("a=ptime:20.0\n", 20), ("a=ptime: 40 \n", 40), ("a=ptime:1\n", 10),
        ("a=ptime:500\n", 120), ("a=ptime:0\n", 20), ("a=ptime:-20\n", 20), ("a=ptime:²\n", 20), ("a=ptime\n", 20),
        ("a=ptime:25\n", 20), ("a=maxptime:15\n", 10),
        ("a=maxptime:10\n", 10), ("a=ptime:60\na=maxptime:40\n", 40), ("a=ptime:9999999999\n", 20),
    ],
)  # fmt: skip
def test_packets_have_the_length_that_the_offer_asks_for(attributes: str, ptime: int) -> None:
    assert chosen(AUDIO + attributes).ptime == ptime


# -- formats (RFC 7088 §2.8) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "payload_type"),
    [
        ("m=audio 4000 RTP/AVP 18 0\n", 0),
        ("m=audio 4000 RTP/AVP 96 0\na=rtpmap:96 PCMU/8000\n", 96),
        ("m=audio 4000 RTP/AVP 96\na=rtpmap:96 pcmu/8000/1\n", 96),
        ("m=audio 4000 RTP/AVP 0 100\na=rtpmap:0 G729/8000\na=rtpmap:100 PCMU/8000\n", 100),
        ("m=audio 4000 RTP/AVP 92 90 0\na=rtpmap:92 x-reserved/8000\na=rtpmap:90 x-reserved/8000\n", 0),
        ("m=audio 4000 RTP/AVP 97 96 0\na=rtpmap:97 PCMU/16000\na=rtpmap:96 PCMU/8000/2\n", 0),
        ("m=audio 4000 RTP/AVP 0\na=rtpmap:0\na=rtpmap:\na=fmtp:0 x\na=\n", 0),
    ],
)
def test_the_first_supported_format_keeps_the_payload_type_of_the_offer(lines: str, payload_type: int) -> None:
    assert (chosen(lines).codec, chosen(lines).payload_type) == (PCMU, payload_type)
    assert answer(lines)[:2] == [f"m=audio 10000 RTP/AVP {payload_type}", f"a=rtpmap:{payload_type} PCMU/8000"]


@pytest.mark.parametrize(
    ("formats", "rtpmap", "encoding"),
    [
        ("8 0", "", "PCMA/8000"),
        ("9 8 0", "", "G722/8000"),
        ("125 0", "a=rtpmap:125 OPUS/48000/2\n", "opus/48000/2"),
        ("125 0", "a=rtpmap:125 opus/48000\n", "opus/48000/2"),
        ("125 0", "a=rtpmap:125 opus/48000/1\n", "opus/48000/2"),
        ("125 0", "a=rtpmap:125\topus/48000/2\n", "opus/48000/2"),
        ("125 0", "a=rtpmap:125 opus/16000\n", "PCMU/8000"),
        ("125 0", "a=rtpmap:125 opus\n", "PCMU/8000"),
    ],
)
def test_the_order_of_the_offer_decides(formats: str, rtpmap: str, encoding: str) -> None:
    number = "0" if encoding == "PCMU/8000" else formats.split()[0]
    assert answer(f"m=audio 4000 RTP/AVP {formats}\n{rtpmap}")[:2] == [
        f"m=audio 10000 RTP/AVP {number}",
        f"a=rtpmap:{number} {encoding}",
    ]


@pytest.mark.parametrize(
    ("payload_type", "rtpmap", "codec"),
    [
        (9, "9 G722/16000", "G722"),
        (9, "9 g722", "G722"),
        (9, "9 G722/8000/1", "G722"),
        (0, "0 PCMU", "PCMU"),
        (0, "0 PCMU/", "PCMU"),
        (0, "0 PCMU/8000/2", "PCMU"),
        (0, "0 PCMU 8000", "PCMU"),
        (0, "0 pcmu / 8000", "PCMU"),
        (0, "0 /8000", "PCMU"),
        (8, "8 PCMA/8000 101", "PCMA"),
        (8, "8\tPCMA/8000", "PCMA"),
        (8, " 8  PCMA/8000;x", "PCMA"),
        (0, "0 PCMA/8000", "PCMA"),
        (96, "96 PCMA/8000 101", "PCMA"),
        (96, "96 G722 / 8000 / 1", "G722"),
    ],
)
def test_behind_a_static_payload_type_the_name_decides(payload_type: int, rtpmap: str, codec: str) -> None:
    choice = chosen(f"m=audio 4000 RTP/AVP {payload_type}\na=rtpmap:{rtpmap}\n")
    assert (choice.codec.name, choice.payload_type) == (codec, payload_type)


@pytest.mark.parametrize("rtpmap", ["0 x-reserved/8000", "0 G729/8000", "0 PCMA", "0 PCMA/16000", "0 G722/16000"])
def test_another_name_behind_a_static_payload_type_needs_its_own_rate(rtpmap: str) -> None:
    """RFC 7088 §2.8: a dummy format is not playable."""
    assert warning(f"m=audio 4000 RTP/AVP 0\na=rtpmap:{rtpmap}\n").startswith("305 ")


def test_a_packet_length_is_one_that_the_codec_allows() -> None:
    lines = "m=audio 4000 RTP/AVP 125\na=rtpmap:125 opus/48000/2\n"
    assert [chosen(f"{lines}a=ptime:{ptime}\n").ptime for ptime in (5, 10, 30, 60, 120)] == [10, 10, 20, 60, 60]


@pytest.mark.parametrize("formats", ["18 101", "128", "-0", "²", "٠", "x", "96"])
def test_an_offer_without_a_supported_format_is_488_with_a_warning(formats: str) -> None:
    assert warning(f"m=audio 4000 RTP/AVP {formats}\n").startswith('305 moh "formats are ')


# -- SRTP (RFC 4568) -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crypto", ["", " ", "x", "² AES_CM_128_HMAC_SHA1_80 inline:a", "1 AES_CM_128_HMAC_SHA1_80"])
def test_srtp_without_a_supported_key_is_refused(crypto: str) -> None:
    assert warning(f"m=audio 4000 RTP/SAVP 0\na=crypto:{crypto}\n").startswith("399 moh")


@pytest.mark.parametrize(
    ("parameters", "usable"),
    [
        ("", True), (" WSH=64", True), (" KDR=0", True), (" kdr=1 wsh=128", True), (" FEC_ORDER=FEC_SRTP", True),
        (" FEC_KEY=inline:x", True), (" -future=1", True), (" UNENCRYPTED_SRTP", False), (" UNENCRYPTED_SRTCP", False),
        (" UNAUTHENTICATED_SRTP", False), (" WSH=64 UNENCRYPTED_SRTP", False), (" future=1", False),
    ],
)  # fmt: skip
def test_a_key_may_have_declarative_parameters_and_none_to_negotiate(parameters: str, usable: bool) -> None:
    """RFC 4568 §6.3: the answer to a declarative parameter need not repeat it."""
    lines = f"m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:a{parameters}\n"
    if usable:
        assert answer(lines)[-1] == "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:server-key"
    else:
        assert warning(lines).startswith("399 moh")


@pytest.mark.parametrize(
    ("line", "rtcp"),
    [
        ("a=rtcp:5001\n", Address("192.0.2.1", 5001)),
        ("a=rtcp:5001 IN IP4 192.0.2.7\n", Address("192.0.2.7", 5001)),
        ("a=rtcp:5001 IN IP4 192.0.2.7 words\n", Address("192.0.2.7", 5001)),
        ("a=rtcp:5001 IN IP6 2001:db8::7\n", Address("192.0.2.1", 5001)),
        ("a=rtcp:5001 IN IP4 224.0.0.1\n", Address("192.0.2.1", 5001)),
        ("a=rtcp:5001 IN IP4 evil.example.com\n", Address("192.0.2.1", 5001)),
        ("a=rtcp:53\n", Address("192.0.2.1", 4001)),
        ("a=rtcp:\n", Address("192.0.2.1", 4001)),
        ("a=rtcp:99999\n", Address("192.0.2.1", 4001)),
    ],
)
def test_rtcp_goes_to_the_next_port_or_where_a_rtcp_says(line: str, rtcp: Address) -> None:
    assert chosen(AUDIO + line).remote_rtcp == rtcp
    assert chosen("m=audio 1024 RTP/AVP 0\n").remote_rtcp.port == 1025
    assert chosen("m=audio 65535 RTP/AVP 0\n").remote_rtcp.port == 65535  # there is no next one


def test_a_reoffer_may_remove_its_stream_and_a_first_offer_may_not() -> None:
    offer = session(START + "m=audio 0 RTP/AVP 0\n")
    assert choose(offer, reoffer=True) == SWITCHED_OFF
    with pytest.raises(Refusal, match="488 No stream to play to"):
        choose(offer)


def test_srtp_is_refused_where_no_port_is_left_for_it() -> None:
    offer = session(START + "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:a\n")
    with pytest.raises(Refusal, match="no exclusive port is left for SRTP"):
        choose(offer, srtp=False)


# -- holds, and more than one stream (RFC 3264 §6.1) ------------------------------------------------------------------

ELSEWHERE = "m=audio 4002 RTP/AVP 8\nc=IN IP4 192.0.2.7\n"


@pytest.mark.parametrize("lines", ["m=audio 4000 RTP/AVP 18\na=inactive\n", "m=audio 9 RTP/AVP\na=inactive\n"])
def test_a_hold_without_a_supported_format_repeats_the_format_of_the_offer(lines: str) -> None:
    (first, *rest) = answer(lines)
    assert first == f"m=audio 10000 RTP/AVP {'18' if '18' in lines else '0'}"
    assert rest == ["a=ptime:20", "a=inactive"]


@pytest.mark.parametrize("first", [AUDIO + "a=inactive\n", AUDIO + "c=IN IP4 0.0.0.0\n", "m=audio 9 RTP/AVP 0\n"])
def test_a_stream_that_wants_music_goes_before_one_that_does_not(first: str) -> None:
    choice = chosen(first + ELSEWHERE)
    assert (choice.place, choice.remote, choice.playing) == (1, Address("192.0.2.7", 4002), True)


def test_the_next_stream_is_tried_where_the_first_is_not_permitted() -> None:
    def permit(choice: Choice) -> Choice:
        if choice.remote.host != "192.0.2.7":
            raise Refusal(488, f"not to {choice.remote}")
        return rtcp_beside_rtp(choice)

    choice = choose(session(START + AUDIO + ELSEWHERE + "a=rtcp:5001 IN IP4 192.0.2.8\n"), permit=permit)
    assert (choice.place, choice.remote_rtcp) == (1, Address("192.0.2.7", 4003))
    with pytest.raises(Refusal, match="488 not to 192"):
        choose(session(START + AUDIO), permit=permit)
    assert not choose(session(START + AUDIO + "a=inactive\n"), permit=permit).playing


@pytest.mark.parametrize("lines", ["m=audio 4000 RTP/SAVP 0\na=inactive\n", "m=audio 9 DTLS 0\na=inactive\n", ""])
def test_a_reoffer_that_wants_no_music_is_never_refused(lines: str) -> None:
    assert choose(session(START + lines), reoffer=True) == SWITCHED_OFF
    with pytest.raises(Refusal, match="488 No stream to play to"):
        choose(session(START + lines))


@pytest.mark.parametrize(
    "lines", ["m=image 4000 udptl t38\n", "m=audio 9 RTP/AVP 0\n", "m=audio 0 RTP/AVP 0\n" + AUDIO[:-2] + "18\n"]
)
def test_a_reoffer_that_wants_what_cannot_be_played_is_refused(lines: str) -> None:
    with pytest.raises(Refusal, match="488 No stream to play to"):
        choose(session(START + lines), reoffer=True)
