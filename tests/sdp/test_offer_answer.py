"""Which stream of an offer gets the music, and to which address (RFC 3264 §6, RFC 4568, RFC 7088 §2.11)."""

from __future__ import annotations

import pytest

from moh.common.actions import Address
from moh.common.errors import Refusal
from moh.sdp.offer_answer import Side, choose, write_answer, write_offer
from tests.support.offers import AUDIO, OURS, START, answer, chosen, session, warning

# -- which stream --------------------------------------------------------------------------------------------------


def test_every_stream_is_answered_in_its_place() -> None:
    lines = (
        "m=video 4002 RTP/AVP 31 34\n"
        "m=audio 4004 RTP/SAVP 0\na=crypto:1 x\n"
        "m=audio 4000/2 RTP/AVPF 0 8\n"
        "m=audio 4006 RTP/AVP 0\n"
        "m=audio 0 RTP/AVP 0\n"
        "m=image 4008 udptl t38\n"
    )
    assert chosen(lines).remote == Address("192.0.2.1", 4000)
    assert answer(lines) == [
        "m=video 0 RTP/AVP 31",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 10000 RTP/AVPF 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendonly",
        "m=audio 0 RTP/AVP 0",
        "m=audio 0 RTP/AVP 0",
        "m=image 0 udptl t38",
    ]  # fmt: skip


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
def test_what_nobody_can_play_to_is_488_with_a_warning(lines: str, code: int) -> None:
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
def test_the_address_is_taken_in_its_plain_form(connection: str, host: str) -> None:
    assert chosen(AUDIO + f"c=IN {connection}\n").remote == Address(host, 4000)


def test_a_name_is_looked_up_by_somebody_else() -> None:
    offer = session(START + AUDIO + "c=IN IP4 phone.example.com\n")
    assert (choose(offer).name, choose(offer).remote.host) == ("phone.example.com", "phone.example.com")
    known = choose(offer, names={"phone.example.com": "192.0.2.7"})
    assert (known.name, known.remote) == ("", Address("192.0.2.7", 4000))


@pytest.mark.parametrize("address", ["", "224.0.0.1", "fe80::1%eth0", "255.255.255.255"])
def test_a_name_with_no_address_of_one_host_is_refused(address: str) -> None:
    with pytest.raises(Refusal, match="488 No stream to play to"):
        choose(session(START + AUDIO + "c=IN IP4 phone.lan\n"), names={"phone.lan": address})


# -- SRTP (RFC 4568) -----------------------------------------------------------------------------------------------


def test_the_first_key_line_that_we_know_is_answered_with_a_key_of_ours() -> None:
    offer = session(
        START + "m=audio 4000 RTP/SAVP 0\na=crypto:1 F8_128_HMAC_SHA1_80 inline:a\n"
        "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:b UNENCRYPTED_SRTP\n"
        "a=crypto:3 aes_cm_128_hmac_sha1_32 inline:c|2^20|1:4\na=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:d\n"
    )
    text = write_answer(offer, choose(offer), OURS, 7, 1).decode()
    assert "m=audio 10000 RTP/SAVP 0\r\n" in text
    assert text.endswith("a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:ours\r\n")


@pytest.mark.parametrize("crypto", ["", " ", "x", "² AES_CM_128_HMAC_SHA1_80 inline:a", "1 AES_CM_128_HMAC_SHA1_80"])
def test_srtp_without_a_key_that_we_know_is_refused(crypto: str) -> None:
    assert warning(f"m=audio 4000 RTP/SAVP 0\na=crypto:{crypto}\n").startswith("399 moh")


@pytest.mark.parametrize(
    ("line", "rtcp"),
    [
        ("a=rtcp:5001\n", Address("192.0.2.1", 5001)),
        ("a=rtcp:5001 IN IP4 192.0.2.7\n", Address("192.0.2.7", 5001)),
        ("a=rtcp:5001 IN IP4 224.0.0.1\n", Address("192.0.2.1", 5001)),
        ("a=rtcp:5001 IN IP4 evil.example.com\n", Address("192.0.2.1", 5001)),
        ("a=rtcp:53\n", Address("192.0.2.1", 4001)),
        ("a=rtcp:\n", Address("192.0.2.1", 4001)),
        ("a=rtcp:99999\n", Address("192.0.2.1", 4001)),
    ],
)
def test_rtcp_goes_to_the_next_port_or_where_the_offer_says(line: str, rtcp: Address) -> None:
    assert chosen(AUDIO + line).remote_rtcp == rtcp
    assert chosen("m=audio 1024 RTP/AVP 0\n").remote_rtcp.port == 1025
    assert chosen("m=audio 65535 RTP/AVP 0\n").remote_rtcp.port == 65535  # there is no next one


@pytest.mark.parametrize(("port", "said"), [(10001, []), (10000, ["a=rtcp:10000"]), (10100, ["a=rtcp:10100"])])
def test_where_our_rtcp_is_not_on_the_next_port_we_say_so(port: int, said: list[str]) -> None:
    """RFC 3605 §2.1, in answers and in offers of ours."""
    offer, ours = session(START + AUDIO), Side(OURS.local, port)
    for words in (write_answer(offer, choose(offer), ours, 7, 1), write_offer(ours, 7, 1)):
        assert [line for line in words.decode().split("\r\n") if line.startswith("a=rtcp:")] == said
