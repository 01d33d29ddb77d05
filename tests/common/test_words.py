"""The small words that all floors share: refusals, addresses, codecs."""

from __future__ import annotations

from moh.common.actions import Address
from moh.common.codecs import CODECS, PCMU
from moh.common.errors import Refusal


def test_a_refusal_carries_what_its_answer_needs() -> None:
    refusal = Refusal(420, "Extension is 'foo'", ("Unsupported", "foo"))
    assert (refusal.status, refusal.why, refusal.headers) == (420, "Extension is 'foo'", (("Unsupported", "foo"),))
    assert str(refusal) == "420 Extension is 'foo'"


def test_an_address_is_written_as_sip_and_ffmpeg_read_it() -> None:
    assert str(Address("192.0.2.1", 5060)) == "192.0.2.1:5060"
    assert str(Address("2001:db8::1", 5060)) == "[2001:db8::1]:5060"
    assert Address("192.0.2.1", 5060) == ("192.0.2.1", 5060)


def test_a_packet_of_20_ms_of_pcmu_holds_160_octets() -> None:
    assert 20 * PCMU.octets_per_ms == 160
    assert PCMU.static_type == 0  # RFC 3551 table 4


def test_no_two_codecs_share_a_name_or_a_number() -> None:
    assert len({codec.name for codec in CODECS}) == len({codec.offered_type for codec in CODECS}) == len(CODECS)


def test_a_codec_with_a_static_number_is_offered_under_it() -> None:
    assert {codec.name: codec.offered_type for codec in CODECS if codec.static_type is not None} == {
        "PCMU": 0, "PCMA": 8, "G722": 9,
    }  # fmt: skip


def test_opus_is_written_with_its_channels() -> None:
    assert [codec.encoding for codec in CODECS] == ["PCMU/8000", "PCMA/8000", "G722/8000", "opus/48000/2"]
