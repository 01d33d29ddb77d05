"""SIP messages in the log and in the trace: lines of their own, harmless for a terminal, and without keys of SRTP."""

from __future__ import annotations

import pytest

from moh.server.message_log import Redacted, without_keys

KEY = b"WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"


def test_each_line_of_a_message_is_a_line_of_the_log() -> None:
    assert str(Redacted(b"OPTIONS sip:a SIP/2.0\r\nTo: x\r\n\r\n")) == "\n    OPTIONS sip:a SIP/2.0\n    To: x"


def test_control_characters_are_escaped() -> None:
    assert "\x1b" not in str(Redacted(b"To: \x1b[2Jx\r\n"))
    assert "\\xff" in str(Redacted(b"To: \xff\r\n"))


def test_keys_are_left_out() -> None:
    shown = str(
        Redacted(b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20\r\n")
    )
    assert shown == "\n    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:(a key)"


ODD_FORMS = {
    "usual": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + KEY + b"|2^20|1:4\r\n",
    "upper case": b"A=CRYPTO:1 AES_CM_128_HMAC_SHA1_80 INLINE:" + KEY + b"\r\n",
    "spaces round everything": b" a = crypto : 1 AES_CM_128_HMAC_SHA1_80  inline : " + KEY + b"\r\n",
    "no word inline": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 " + KEY + b"\r\n",
    "folded before the key": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80\r\n inline:" + KEY + b"\r\n",
    "folded behind the suite": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80\r\n " + KEY + b"\r\n",
    "folded behind inline": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:\r\n " + KEY + b"\r\n",
    "folded within the key": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNf\r\n " + KEY[4:] + b"\r\n",
    "cut within the key": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNf\r\n" + KEY[4:] + b"\r\n",
    "NUL as line end": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNf\0" + KEY[4:] + b"\0",
    "CR as line end": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + KEY + b"\r",
    "no suite": b"a=crypto:1 inline:" + KEY + b" UNENCRYPTED_SRTP\r\n",
    "no tag": b"a=crypto:AES_CM_128_HMAC_SHA1_80 inline:" + KEY + b" KDR=1\r\n",
    "neither": b"a=crypto:inline:" + KEY + b" KDR=1 WSH=64\r\n",
    "a control character between": b"a=crypto:1\x1cAES_CM_128_HMAC_SHA1_80 inline:" + KEY + b" |2^20\r\n",
    "a control character before inline": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80\x1einline:" + KEY + b" |2^20\r\n",
    "a control character behind inline": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline\x0b: " + KEY + b"\r\n",
    "another white space behind inline": "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline\u2003:".encode() + KEY + b"\r\n",
    "cut behind inline": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline\r\n:" + KEY + b"\r\n",
    "two keys": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA;inline:" + KEY + b"\r\n",
    "parameters behind it": b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + KEY + b" FEC_KEY=inline:" + KEY + b"\r\n",
    "MIKEY": b"a=key-mgmt:mikey " + KEY + b"\r\n",
    "k=": b"k=base64:" + KEY + b"\r\n",
    "in a header field": b"X-Crypto: inline:" + KEY + b"\r\n",
}


@pytest.mark.parametrize("line", ODD_FORMS.values(), ids=ODD_FORMS.keys())
def test_no_form_of_a_key_is_shown_and_the_rest_of_the_message_is(line: bytes) -> None:
    before, behind = (
        b"INVITE sip:a SIP/2.0\r\nTo: x\r\n\r\nv=0\r\n",
        b"a=ptime:20\r\n--boundary\r\nContent-Type: text/plain\r\n",
    )
    message = before + line + behind
    kept = without_keys(message)
    assert len(kept) == len(message), "Content-Length is right"
    assert kept.startswith(before) and kept.endswith(behind)
    shown = str(Redacted(message))
    for place in range(len(KEY) - 8):
        part = KEY[place : place + 8]
        assert part not in kept and part.decode() not in shown
    assert shown.startswith("\n    INVITE sip:a SIP/2.0\n    To: x") and "a=ptime:20" in shown


def test_a_message_without_a_key_stays_as_it_is() -> None:
    part = b"Content-Disposition: inline\r\nX: y\r\n\r\nContent-Disposition: inline;handling=required\r\n--b: c\r\n"
    assert without_keys(part) == part
    message = b"INVITE sip:a SIP/2.0\r\nk: timer\r\n\r\nv=0\r\na=crypto\r\na=rtpmap:0 PCMU/8000\r\n"
    assert without_keys(message) == message


def test_a_long_message_full_of_key_like_lines_takes_little_time() -> None:
    """A search that goes back and forth would take minutes."""
    for message in (
        b"a=crypto:" * 7000,
        b"inline:\r\n" * 7000,
        b" " * 65000,
        b"a=crypto:1" + b" " * 65000,
        b"\r\n" * 30000,
        b"inline " * 9000,
        b"a=crypto:" + b"x" * 65000,
        b"a=crypto:1 " + b"inlin" * 13000 + b" x",
        b"inline" + b" " * 65000,
        (b"inline" + b" " * 50) * 1000,
    ):
        assert len(without_keys(message)) == len(message)
