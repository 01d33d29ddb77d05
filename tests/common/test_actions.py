"""The data types that the core and the server share."""

from __future__ import annotations

import pytest

from moh.common.actions import Address, Flow, Target
from moh.common.codecs import PCMU


def test_an_address_is_written_as_sip_and_ffmpeg_read_it() -> None:
    assert str(Address("192.0.2.1", 5060)) == "192.0.2.1:5060"
    assert str(Address("2001:db8::1", 5060)) == "[2001:db8::1]:5060"
    assert Address("192.0.2.1", 5060) == ("192.0.2.1", 5060)


@pytest.mark.parametrize(("transport", "reliable"), [("UDP", False), ("TCP", True), ("TLS", True)])
def test_tcp_and_tls_are_reliable(transport: str, reliable: bool) -> None:
    assert Flow(Address("192.0.2.1", 5060), Address("192.0.2.9", 5060), transport).reliable is reliable


def test_a_target_does_not_show_its_key() -> None:
    remote, local = Address("192.0.2.1", 4000), Address("192.0.2.9", 10000)
    target = Target(remote, remote, local, PCMU, 0, 20, "AES_CM_128_HMAC_SHA1_80", "a-secret-key")
    assert "AES_CM_128_HMAC_SHA1_80" in repr(target) and "a-secret-key" not in repr(target)
