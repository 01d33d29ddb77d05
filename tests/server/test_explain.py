"""Pasted INVITEs and the sentences about them: what would be answered, why, and what to change in the phone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moh.common.codecs import CODECS, PCMU, Codec
from moh.common.config import Settings
from moh.server.explain import ACCEPTED, REFUSED, UNREADABLE, explain, read_address
from moh.server.explain_reasons import REASONS, reason_of
from moh.server.explain_texts import ENGLISH, JAPANESE, TEXTS, language_of
from moh.server.machine import Machine
from tests.support.ladder import OFFER, octets
from tests.support.odd_offers import HOLDS, PLAYABLE, filled, playable
from tests.support.pastes import INVITE, OUR_LOG, PASTES

WIRE = Path(__file__).parent.parent / "wire"
SERVER = "192.168.1.100"
MACHINE = Machine(
    is_ours=lambda host: host == SERVER or host.startswith("127."),
    is_broadcast=lambda host: host == "192.168.1.255",
    is_behind_a_bridge=lambda host: False,
    local_address=lambda host: SERVER if ":" not in host else "",
    look_up=lambda name, version: {"held.example": "192.168.1.77", "inside.example": "10.0.0.7"}.get(name, ""),
    address_on_the_network=lambda: SERVER,
)


def told(
    data: bytes, language: int = ENGLISH, machine: Machine = MACHINE, given: str = "",
    codecs: tuple[Codec, ...] = CODECS, **settings: str,
) -> tuple[str, int]:  # fmt: skip
    found = explain(data, Settings.from_environment(settings), codecs, machine, given)
    return "\n".join(sentence.text(language) for sentence in found.said), found.status


def says(data: bytes, *expected: str, status: int = ACCEPTED, **more: Any) -> str:
    text, found = told(data, **more)
    for each in expected:
        assert each in text, text
    assert found == status, text
    return text


def offer(media: str, connection: str = "c=IN IP4 192.168.1.77\r\n", *extra: str, **changed: str) -> bytes:
    """An INVITE of the phone at 192.168.1.50 with this session description."""
    body = f"v=0\no=- 1 1 IN IP4 192.168.1.50\ns=-\n{connection}t=0 0\n{media}".replace("\r\n", "\n")
    return octets("INVITE", *extra, body=body, **changed)


AUDIO = "m=audio 4000 RTP/AVP 0 8\n"

# -- calls that are accepted -------------------------------------------------------------------------------------------


def test_the_invite_of_a_dp750() -> None:
    text, status = told(INVITE)
    assert status == ACCEPTED
    assert text.splitlines() == [
        "The server answers 200 OK, and music plays.",
        "From: 192.168.1.50:5062 (by its Via; if it came through a NAT or a PBX, name "
        "the real address with --from), by UDP, to 192.168.1.100:5060.",
        "Codec: the phone offers PCMU (G.711 µ-law), PCMA (G.711 A-law), G.722, G.729. This server plays PCMU (G.711 "
        "µ-law), PCMA (G.711 A-law), G.722, Opus. It takes the first of the phone's list that it plays: PCMU (G.711 "
        "µ-law), 20 ms of music in each packet.",
        "Where: the music goes to 203.0.113.20:17422, because the message says 'c=IN IP4 203.0.113.20' and 'm=audio "
        "17422 RTP/AVP 0 8 9 18 101'. It leaves from a port of MOH_RTP_PORTS, such as 10000; open the way for UDP from "
        "there to 203.0.113.20:17422.",
        "203.0.113.20 is not the address that the call comes from (192.168.1.50). That is right where a phone has the "
        "held party get the music directly.",
        "The music begins when the ACK of the phone has come, since one of these two addresses is public or belongs to "
        "this machine.",
    ]


@pytest.mark.parametrize("form", PASTES)
def test_each_form_of_the_same_paste_is_explained(form: str) -> None:
    says(PASTES[form], "The server answers 200 OK, and music plays.", "the music goes to 203.0.113.20:17422")


def test_each_message_of_our_log_is_explained_by_its_own_source() -> None:
    says(
        OUR_LOG.replace("from 192.168.1.50", "from 10.0.0.9").encode(),
        "From: 10.0.0.9:5062 (as the line before it says)",
    )


def test_the_source_may_be_given() -> None:
    says(INVITE, "From: 10.0.0.9:5080 (given with --from)", given="10.0.0.9:5080")
    says(INVITE.replace(b";rport", b";rport=7000;received=10.0.0.8"), "From: 10.0.0.8:7000 (by 'received' in its Via)")


@pytest.mark.parametrize(
    ("name", "expected", "status"),
    [
        ("compact_names.sip", "The server answers 200 OK, and music plays.", ACCEPTED),
        ("no_contact.sip", "with an offer of its own, since the INVITE has no session description", ACCEPTED),
        ("rfc2543_invite.sip", "the branch in Via does not begin with z9hG4bK", ACCEPTED),
        (
            "bare_lf.sip",
            "This is no INVITE but OPTIONS, so no call begins with it. The server answers 200 OK.",
            ACCEPTED,
        ),
        ("three_vias.sip", "This is no INVITE but BYE, so no call begins with it.", ACCEPTED),
        ("response_200.sip", "This is an answer (200 Всё хорошо), and the request is expected", UNREADABLE),
    ],
)
def test_messages_of_the_wire(name: str, expected: str, status: int) -> None:
    says((WIRE / name).read_bytes(), expected, status=status)


@pytest.mark.parametrize("name", HOLDS)
def test_each_hold_is_a_silence_that_was_asked_for(name: str) -> None:
    body = filled(HOLDS[name], ("192.168.1.50", 4000)).replace("\r\n", "\n")
    says(octets("INVITE", body=body), "The server answers 200 OK, and no music plays: the phone ")


@pytest.mark.parametrize("name", PLAYABLE)
def test_each_odd_offer_that_can_be_played_to_is_explained(name: str) -> None:
    body = filled(playable(PLAYABLE[name]), ("192.168.1.50", 4000)).replace("\r\n", "\n")
    says(octets("INVITE", body=body), "music plays.", "the music goes to 192.168.1.50:4000")


HOST = "c=IN IP4 {}\r\n"
ACCEPTED_OFFERS = {
    "inactive": (offer(AUDIO + "a=inactive\n"), "the phone asks for silence with a=inactive"),
    "sendonly": (offer(AUDIO + "a=sendonly\n"), "the phone says a=sendonly, which means that it wants to hear nothing"),
    "0.0.0.0": (offer(AUDIO, HOST.format("0.0.0.0")), "names the address 0.0.0.0 for the music"),
    "second codec": (offer("m=audio 4000 RTP/AVP 18 8\n"), "offers G.729, PCMA (G.711 A-law). "),
    "names of codecs": (
        offer("m=audio 4000 RTP/AVP 97 4 3 98 13 9\na=rtpmap:97 iLBC/8000\na=rtpmap:98 AMR-WB/16000\n"),
        "offers iLBC, G.723.1, GSM, AMR-WB (G.722.2), G.722. ",
    ),
    "video": (offer(AUDIO + "m=video 5000 RTP/AVP 96\n"), "Odd: the message also offers video; the server has"),
    "two audio": (offer(AUDIO + AUDIO), "Odd: there is more than one m=audio line"),
    "ICE": (offer(AUDIO + "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host\n"), "Odd: the phone offers ICE"),
    "rtcp-mux": (offer(AUDIO + "a=rtcp-mux\n"), "the server sends its RTCP to 192.168.1.77:4001"),
    "crypto with AVP": (
        offer(AUDIO + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "\n"),
        "Odd: there is an a=crypto line, but the m= line says RTP/AVP",
    ),
    "SRTP": (
        offer("m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "\n"),
        "The music is encrypted: SRTP with AES_CM_128_HMAC_SHA1_80.",
    ),
    "key by UDP": (
        offer("m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "\n"),
        "Odd: the key of SRTP comes by UDP, which is not encrypted",
    ),
    "ptime": (offer(AUDIO + "a=ptime:15\n"), "Odd: the phone asks for 15 ms in each packet and gets 10 ms"),
    "rtcp below 1024": (offer(AUDIO + "a=rtcp:9\n"), "the a=rtcp line is not followed; RTCP goes to 192.168.1.77:4001"),
    "a name": (offer(AUDIO, HOST.format("held.example")), "the music goes to 192.168.1.77:4000"),
    "100rel": (offer(AUDIO, HOST.format("192.168.1.77"), "Require: 100rel"), "Odd: the phone requires 100rel"),
    "no Max-Forwards": (offer(AUDIO, max_forwards=""), "Odd: there is no Max-Forwards"),
    "no Contact": (offer(AUDIO, contact=""), "Odd: there is no Contact"),
    "within a call": (offer(AUDIO + "a=inactive\n", to="To: <sip:123@x>;tag=abc"), "the message belongs to a call"),
    "a call that switches its audio off": (
        offer("m=audio 0 RTP/AVP 0\n", to="To: <sip:123@x>;tag=abc"),
        "The server answers 200 OK, and the music stops: the message switches its audio off with port 0.",
    ),
    "an offer in the answer": (octets("INVITE"), "Music plays when the ACK has brought the answer of the phone."),
    "session timer": (offer(AUDIO, HOST.format("192.168.1.77"), "Session-Expires: 1800"), "music plays."),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED_OFFERS)
def test_an_offer_that_is_accepted(name: str) -> None:
    data, expected = ACCEPTED_OFFERS[name]
    says(data, expected)


def test_the_name_that_is_dialled_chooses_the_music_of_a_folder(tmp_path: Path) -> None:
    named = octets("INVITE", body=OFFER, uri="sip:j%61zz;x@192.168.1.100", to="To: <sip:123@192.168.1.100>")
    says(
        named,
        f"Music: the phone dials 'jazz'. If the folder {tmp_path} has music of that name",
        MOH_MUSIC=str(tmp_path),
    )
    says(named, "名前は 'jazz' です", MOH_MUSIC=str(tmp_path), language=JAPANESE)
    late = octets("INVITE", uri="sip:%1b[2J@192.168.1.100")
    says(late, r"the phone dials '\x1b[2J'", MOH_MUSIC=str(tmp_path))
    nameless = octets("INVITE", body=OFFER, uri="sip:192.168.1.100")
    says(nameless, f"no name before the @, so the default of the folder {tmp_path} plays", MOH_MUSIC=str(tmp_path))
    within = octets("INVITE", body=OFFER, to_tag="0123456789abcdef")
    for one, music in ((within, tmp_path), (named, tmp_path / "one.mp3")):
        assert "Music:" not in says(one, MOH_MUSIC=str(music))


# -- calls that are refused --------------------------------------------------------------------------------------------

PUBLIC: dict[str, Any] = {"given": "203.0.113.9"}
REFUSED_OFFERS = {
    "G.729 only": (
        offer("m=audio 4000 RTP/AVP 18 101\na=rtpmap:101 telephone-event/8000\n"),
        "The server refuses the call: 488 No stream to play to: formats are '18 101'",
        "Codec: the phone offers G.729, and this server plays none of that. It plays PCMU (G.711 µ-law), PCMA (G.711 "
        "A-law), G.722, Opus. Switch one of these on in the phone",
    ),
    "no audio": (offer("m=video 4000 RTP/AVP 96\n"), "488", "The message offers no sound: it has no m=audio line"),
    "port 0": (offer("m=audio 0 RTP/AVP 0\n"), "488", "no m=audio line with a port other than 0"),
    "WebRTC": (offer("m=audio 9 UDP/TLS/RTP/SAVPF 111\n"), "488", "offers UDP/TLS/RTP/SAVPF, which is WebRTC"),
    "protocol": (offer("m=audio 4000 udptl 0\n"), "488", "The m=audio line says udptl; expected RTP/AVP"),
    "no key": (offer("m=audio 4000 RTP/SAVP 0\n"), "488", "choose SRTP with SDES and AES_CM_128, or switch SRTP off"),
    "unknown name": (offer(AUDIO, HOST.format("no.example")), "488", "finds no address for that name"),
    "multicast": (offer(AUDIO, HOST.format("224.2.1.1")), "488", "names 224.2.1.1, which is no address of one host"),
    "low port": (offer("m=audio 9 RTP/AVP 0\n"), "488", "names port 9; expected one from 1024 to 65535"),
    "loopback": (offer(AUDIO, HOST.format("127.0.0.1")), "488", "127.0.0.1, the loopback address"),
    "broadcast": (offer(AUDIO, HOST.format("192.168.1.255")), "488", "the broadcast address of a network"),
    "our port": (offer("m=audio 10000 RTP/AVP 0\n", HOST.format(SERVER)), "488", "a port of this server itself"),
    "IPv6": (offer(AUDIO, "c=IN IP6 2001:db8::7\r\n"), "488", "no way leads from this machine to 2001:db8::7"),
    "m= line": (offer("m=audio 4000 RTP/AVP\n"), "400", "The line 'm=audio 4000 RTP/AVP' cannot be read"),
    "c= line": (offer(AUDIO, "c=IN IP4\r\n"), "400", "'c=IN IP4' cannot be read"),
    "no description": (octets("INVITE", body="hello\n"), "400", "The body is no session description"),
    "no From": (octets("INVITE", from_=""), "400 No header field 'from'", "The header field from is missing"),
    "two Call-IDs": (octets("INVITE", "Call-ID: x"), "400", "The header field call-id is there twice"),
    "cut off": (INVITE[:-100], "400", "The message is cut off: Content-Length says 306 octets, and 206 octets came"),
    "length": (octets("INVITE").replace(b"Length: 0", b"Length: x"), "400", "Content-Length is 'x'; expected one"),
    "Call-ID": (octets("INVITE", call_id="Call-ID: " + "x" * 300), "513", "is longer than the server takes"),
    "version": (octets("INVITE").replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1), "505", "of version 'SIP/3.0'"),
    "CSeq": (octets("INVITE", cseq="CSeq: 1 BYE"), "400", "The header field CSeq does not fit the message"),
    "malformed": (octets("INVITE", from_='From: "Ann <sip:a@b>;tag=1'), "400", "A header field or the first line"),
    "tel URI": (octets("INVITE", uri="tel:+81312345678"), "416", "The message is for tel:+81312345678; expected"),
    "extension": (octets("INVITE", "Require: precondition"), "420", "The phone requires precondition (Require)"),
    "packed": (offer(AUDIO, HOST.format("1.2.3.4"), "Content-Encoding: gzip"), "415", "is packed (gzip)"),
    "type": (octets("INVITE", "Content-Type: text/plain", body="x\n"), "415", "The body is of the type text/plain"),
    "Accept": (octets("INVITE", "Accept: text/plain"), "406", "The phone accepts only 'text/plain' in the answer"),
    "session timer": (
        octets("INVITE", "Session-Expires: 10", "Supported: timer"), "422", "every 10 s (Session-Expires); at least 90",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_OFFERS)
def test_an_offer_that_is_refused(name: str) -> None:
    data, *expected = REFUSED_OFFERS[name]
    says(data, "The server refuses the call: ", *expected, status=REFUSED)


def test_a_caller_with_a_public_address_may_not_have_the_music_go_inwards() -> None:
    inwards = offer(AUDIO)
    says(inwards, "the caller's address is public", "name the caller in MOH_ALLOW", status=REFUSED, **PUBLIC)
    text = says(
        inwards,
        "music plays.",
        "Odd: the music goes to 192.168.1.77, a private address",
        MOH_ALLOW="203.0.113.9",
        **PUBLIC,
    )
    assert "rport" not in text
    says(
        offer(AUDIO, HOST.format("inside.example")), "finds no address for that name, or one", status=REFUSED, **PUBLIC
    )


def test_the_settings_in_force_matter() -> None:
    text = "is in none of the networks of MOH_ALLOW (10.0.0.0/8)"
    says(
        INVITE,
        f"does not answer at all: the phone's address 192.168.1.50 {text}",
        status=REFUSED,
        MOH_ALLOW="10.0.0.0/8",
    )
    says(INVITE, "music plays.", MOH_ALLOW="10.0.0.0/8", given="10.1.2.3")
    says(INVITE, "in none of the networks of MOH_ALLOW_MEDIA", status=REFUSED, MOH_ALLOW_MEDIA="10.0.0.0/8")
    srtp = offer("m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40 + "\n")
    says(srtp, "SRTP needs an ffmpeg of its own for each call", status=REFUSED, MOH_FFMPEG_CALLS="0")
    says(offer("m=audio 4000 RTP/AVP 8\n"), "plays PCMU (G.711 µ-law). Switch", status=REFUSED, codecs=(PCMU,))
    says(INVITE, "such as 10100;", MOH_FFMPEG_CALLS="0")
    says(offer(AUDIO + "a=ptime:30\n"), "asks for 30 ms in each packet and gets 20 ms", MOH_FFMPEG_CALLS="0")


def test_a_phone_behind_a_nat_without_rport() -> None:
    data = offer(AUDIO, HOST.format("203.0.113.9"), via="Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKx")
    says(data, "so a NAT is between; but its Via has no rport", **PUBLIC)


def test_an_answer_that_names_an_address_out_of_reach() -> None:
    data = offer(AUDIO, HOST.format("203.0.113.9"))
    says(
        data,
        "The answer names 192.168.1.100 as the address of this server, and 203.0.113.9 cannot reach that",
        **PUBLIC,
    )
    text, _ = told(data, MOH_ADVERTISED_ADDRESS="198.51.100.7", **PUBLIC)
    assert "cannot reach that" not in text


def test_a_warning_of_the_log_is_shown() -> None:
    bridged = replace(MACHINE, is_behind_a_bridge=lambda host: host == SERVER)
    data = offer(AUDIO, uri="sip:123@moh.example")
    says(
        data,
        "The log would warn: 192.168.1.50:5062 dialled 'moh.example'. This server finds no IP address",
        machine=bridged,
    )


# -- no call -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected", "status"),
    [
        (b"", "There is no text.", UNREADABLE),
        (b"\x0a\x0d\x0d\x0a\0", "This is a capture file, and a text is expected.", UNREADABLE),
        (bytes(2000), "This is no text.", UNREADABLE),
        (b"x" * (1 << 20) + b"x", "longer than 1048576 octets", UNREADABLE),
        (b"hello \x1b[2J\n", "There is no SIP message in this text, which begins with hello ?[2J.", UNREADABLE),
        (b"SIP/2.0 200 OK\r\nVia: x\r\n\r\n", "This is an answer (SIP/2.0 200 OK)", UNREADABLE),
        (octets("ACK"), "This is an ACK, to which no answer is sent.", UNREADABLE),
        (octets("INVITE", via=""), "the message has no Via", REFUSED),
        (octets("REGISTER"), "it does not register here, and subscribes to nothing", REFUSED),
        (octets("CANCEL"), "This is no INVITE but CANCEL, so no call begins with it. The server answers 481", REFUSED),
        (INVITE.replace(b"Grandstream DP750 1.0.19.1", b"friendly-scanner").replace(b"192.168.1.50:", b"203.0.113.9:"),
         "The server does not answer at all: the User-Agent friendly-scanner", REFUSED),
    ],
)  # fmt: skip
def test_what_is_no_call(data: bytes, expected: str, status: int) -> None:
    says(data, expected, status=status)


def test_a_session_description_alone_is_explained() -> None:
    text = says(INVITE.partition(b"\r\n\r\n")[2], "music plays.", "this is a session description alone")
    assert "From: " not in text


@pytest.mark.parametrize(
    ("text", "address"),
    [("10.0.0.9", "10.0.0.9:5060"), ("10.0.0.9:80", "10.0.0.9:80"), ("2001:DB8::1", "[2001:db8::1]:5060"),
     ("[2001:db8::1]:5070", "[2001:db8::1]:5070")],
)  # fmt: skip
def test_an_address_is_given_with_or_without_a_port(text: str, address: str) -> None:
    assert str(read_address(text)) == address


@pytest.mark.parametrize("text", ["", "phone", "10.0.0.9:0", "10.0.0.9:70000", "0.0.0.0", "10.0.0.9:x", "[::1"])
def test_another_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an IP address, with or without a port"):
        read_address(text)


# -- texts -------------------------------------------------------------------------------------------------------------


def test_each_sentence_has_the_same_values_in_both_languages() -> None:
    for name, (english, japanese) in TEXTS.items():
        assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", japanese)), name
        assert not english.isascii() or english != japanese, name
        assert re.search(r"[ぁ-ん]", japanese), name


def test_each_reason_has_its_sentence_and_each_sentence_its_reason() -> None:
    names = {f"reason {name}" for name, _ in REASONS} | {"reason general"}
    assert names == {name for name in TEXTS if name.startswith("reason ")}


def test_the_language_is_that_of_the_terminal() -> None:
    assert language_of({}) == ENGLISH and language_of({"LANG": "ja_JP.UTF-8"}) == JAPANESE
    assert language_of({"LANG": "ja_JP.UTF-8", "LC_ALL": "C.UTF-8"}) == ENGLISH
    assert language_of({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ja_JP"}) == JAPANESE
    text, status = told(INVITE, language=JAPANESE)
    assert status == ACCEPTED and text.startswith("サーバーは 200 OK と応答し、音楽が流れます。")


REFUSALS = re.compile(
    r"""Refusal\(\s*\d+, f?"((?:[^"\\]|\\.)*)"|_(?:refused|no_stream)\((?:\d+, )?f"((?:[^"\\]|\\.)*)\""""
)
OTHER_CALLS = re.compile(
    r"music is not ready|server stops|RTP ports|come another way|Cancelled|been ended|offer (before|still)|re-INVITE|"
    r"answer in the ACK|Other programs|No INVITE of|^{|: {why}$"
)
"""Refusals that no first message of a call can meet."""


def test_each_refusal_of_the_core_has_an_explanation() -> None:
    """So a new refusal, or a new wording of one, fails here."""
    core = Path(__file__).parents[2] / "moh"
    unknown = []
    for path in [path for name in ("sdp", "sip", "guard") for path in (core / name).glob("*.py")]:
        for plain, stream in REFUSALS.findall(path.read_text("utf-8")):
            phrase = re.sub(r"{[^{}]*!r[^{}]*}", "'x'", plain or stream)
            phrase = re.sub(r"{[^{}]*}", "7", phrase.replace("{title}", "Call-ID"))
            options = [phrase] if plain else [f"No stream to play to: {phrase}", f"No music there: {phrase}"]
            if all(reason_of(each)[0] == "reason general" for each in options) and not OTHER_CALLS.search(
                plain or stream
            ):
                unknown.append(phrase)
    assert not unknown
