"""The table of codecs."""

from __future__ import annotations

import pytest

from moh.common.codecs import CODECS, OPUS, PCMU


def test_a_packet_of_20_ms_of_pcmu_has_160_octets() -> None:
    assert 20 * PCMU.octets_per_ms == 160
    assert PCMU.static_type == 0  # RFC 3551 table 4


def test_no_two_codecs_share_a_name_or_a_payload_type() -> None:
    assert len({codec.name for codec in CODECS}) == len({codec.offered_type for codec in CODECS}) == len(CODECS)


def test_a_codec_with_a_static_payload_type_is_offered_under_it() -> None:
    assert {codec.name: codec.offered_type for codec in CODECS if codec.static_type is not None} == {
        "PCMU": 0, "PCMA": 8, "G722": 9,
    }  # fmt: skip


def test_the_encoding_name_of_opus_has_its_channels() -> None:
    assert [codec.encoding for codec in CODECS] == ["PCMU/8000", "PCMA/8000", "G722/8000", "opus/48000/2"]


@pytest.mark.parametrize(("wanted", "ptime"), [(5, 10), (10, 10), (30, 20), (50, 40), (120, 60)])
def test_opus_allows_some_packet_lengths_and_pcmu_all(wanted: int, ptime: int) -> None:
    assert (OPUS.fitting_ptime(wanted), PCMU.fitting_ptime(wanted)) == (ptime, wanted)
