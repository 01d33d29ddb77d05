"""What the log shows of a message."""

from __future__ import annotations

from moh.server.redaction import Redacted


def test_each_line_of_the_message_is_one_of_the_log() -> None:
    assert str(Redacted(b"OPTIONS sip:a SIP/2.0\r\nTo: x\r\n\r\n")) == "\n    OPTIONS sip:a SIP/2.0\n    To: x"


def test_what_could_fool_a_terminal_is_escaped() -> None:
    assert "\x1b" not in str(Redacted(b"To: \x1b[2Jx\r\n"))
    assert "\\xff" in str(Redacted(b"To: \xff\r\n"))


def test_keys_are_left_out() -> None:
    shown = str(
        Redacted(b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20\r\n")
    )
    assert shown == "\n    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:(a key)"
