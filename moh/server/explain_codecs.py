"""The names of codecs as the menus of phones have them."""

from __future__ import annotations

from collections.abc import Iterable

from ..common.codecs import Codec
from ..sdp.description import MediaDescription

STATIC = {
    "0": "PCMU", "2": "G726-32", "3": "GSM", "4": "G723", "5": "DVI4", "6": "DVI4", "7": "LPC", "8": "PCMA",
    "9": "G722", "10": "L16", "11": "L16", "12": "QCELP", "15": "G728", "16": "DVI4", "17": "DVI4", "18": "G729",
}  # fmt: skip
"""The names of payload types that need no a=rtpmap (RFC 3551 §6)."""
IN_MENUS = {
    "PCMU": "PCMU (G.711 µ-law)", "PCMA": "PCMA (G.711 A-law)", "G722": "G.722", "OPUS": "Opus", "G729": "G.729",
    "G723": "G.723.1", "G728": "G.728", "ILBC": "iLBC", "SPEEX": "Speex", "AMR-WB": "AMR-WB (G.722.2)",
}  # fmt: skip
NO_CODECS = frozenset(("TELEPHONE-EVENT", "CN", "RED", "ULPFEC", "RTX"))
"""Formats that carry no music: tones of keys, comfort noise, repetitions."""


def phone_name(name: str) -> str:
    """The codec ``name`` of ``a=rtpmap`` as phones call it."""
    return IN_MENUS.get(name.upper(), name)


def own_names(codecs: Iterable[Codec]) -> str:
    """The codecs of this server, as a list."""
    return ", ".join(phone_name(codec.name) for codec in codecs)


def offered_names(media: MediaDescription) -> str:
    """The codecs of an m= line, as a list in its order; a dash where it has none."""
    names: list[str] = []
    for number in media.formats:
        name = media.rtpmap.get(number, "").partition("/")[0].strip() or STATIC.get(number, "")
        shown = phone_name(name) if name else f"payload type {number[:10]}"
        if name.upper() not in NO_CODECS and number not in ("13", "19") and shown not in names:
            names.append(shown[:40])
    return ", ".join(names) or "–"
