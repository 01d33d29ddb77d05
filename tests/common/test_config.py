"""Settings from the environment: accepted values, and the one line that reports any other value."""

from __future__ import annotations

import logging
from ipaddress import IPv4Network, IPv6Network
from typing import Optional

import pytest

from moh.common.actions import Address
from moh.common.config import Settings
from moh.common.errors import SettingsError


def complaint(**environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environment)
    return str(caught.value)


def test_without_variables_the_defaults_apply() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert (settings.bind, settings.sip_port, settings.rtp_ports) == ("0.0.0.0", 5060, (10000, 10100))
    assert (settings.advertised_address, settings.music, settings.cache) == ("", "", "")
    assert settings.log == logging.INFO


def test_an_empty_variable_means_the_default() -> None:
    assert Settings.from_environment({"MOH_SIP_PORT": "", "MOH_LOG": "  "}) == Settings()


def test_each_variable_is_read() -> None:
    assert Settings.from_environment(
        {
            "MOH_BIND": "192.0.2.9",
            "MOH_SIP_PORT": " 5070 ",
            "MOH_RTP_PORTS": "20001 - 20003",
            "MOH_ADVERTISED_ADDRESS": "203.0.113.1",
            "MOH_DIRECTION": "SendRecv",
            "MOH_ALLOW": "203.0.113.7",
            "MOH_ALLOW_MEDIA": "192.168.0.0/16, 2001:db8::/32",
            "MOH_MUSIC": "/my music.mp3",
            "MOH_SHUFFLE": "On",
            "MOH_ANNOUNCE": "2m",
            "MOH_ALLOW_RADIO": "192.168.1.9",
            "MOH_CACHE": "/tmp/moh",
            "MOH_CACHE_LIMIT": "500m",
            "MOH_MAX_CALL": "90m",
            "MOH_TLS_CERT": "/tls/chain.pem",
            "MOH_TLS_KEY": "/tls/key.pem",
            "MOH_TLS_PORT": "5071",
            "MOH_LOG": "DEBUG",
            "MOH_LOG_FORMAT": "JSON",
            "MOH_TRACE": "/tmp/my trace.pcapng, 192.0.2.20",
            "MOH_HTTP": "127.0.0.1:8080",
            "OTHER": "ignored",
        }
    ) == Settings(
        bind="192.0.2.9",
        sip_port=5070,
        rtp_ports=(20001, 20003),
        advertised_address="203.0.113.1",
        direction="sendrecv",
        allow=(IPv4Network("203.0.113.7/32"),),
        allow_media=(IPv4Network("192.168.0.0/16"), IPv6Network("2001:db8::/32")),
        music="/my music.mp3",
        shuffle=True,
        announce=120.0,
        allow_radio=(IPv4Network("192.168.1.9/32"),),
        cache="/tmp/moh",
        cache_limit=500 * 1024 * 1024,
        max_call=5400.0,
        tls_cert="/tls/chain.pem",
        tls_key="/tls/key.pem",
        tls_port=5071,
        log=logging.DEBUG,
        log_format="json",
        trace="/tmp/my trace.pcapng",
        trace_of="192.0.2.20",
        http=Address("127.0.0.1", 8080),
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MOH_ALOW", "MOH_ALLOW"), ("MOH_ALLOWED", "MOH_ALLOW"), ("moh_allow", "MOH_ALLOW"), ("MOH-ALLOW", "MOH_ALLOW"),
        ("Moh_Music", "MOH_MUSIC"), ("MOH_MUSIK", "MOH_MUSIC"), ("MOH_MUSIC_FILE", "MOH_MUSIC"),
        ("MOH_PORT", "MOH_SIP_PORT or MOH_TLS_PORT"), ("MOH_RTP_PORT", "MOH_RTP_PORTS"), ("MOH_KEY", "MOH_TLS_KEY"),
        ("MOH_ADVERTISED_ADRESS", "MOH_ADVERTISED_ADDRESS"), ("MOH_MAXCALL", "MOH_MAX_CALL"),
    ],
)  # fmt: skip
def test_a_variable_that_is_no_setting_stops_the_start_with_the_nearest_name(name: str, meant: str) -> None:
    assert complaint(**{name: "1"}) == f"{name} is not a setting; did you mean {meant}?"


def test_where_no_name_is_near_all_are_named() -> None:
    names = ", ".join(env for env, _, _ in Settings.table())
    assert complaint(MOH_VOLUME="9") == f"MOH_VOLUME is not a setting; expected one of {names}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOH_ALOW", ""), ("MOH_ALOW", "  "),  # a newer docker-compose.yml with an older image
        ("MOHAIR", "1"), ("XMOH_ALLOW", "1"),
        ("MOH_MUSIC_ON_HOST", "./my.mp3"), ("MOH_TLS_KEY_ON_HOST", "/key.pem"),
        # Kubernetes, where a service is named moh; Docker's --link
        ("MOH_SERVICE_HOST", "10.0.0.9"), ("MOH_SERVICE_PORT", "5060"), ("MOH_SERVICE_PORT_SIP", "5060"),
        ("MOH_PORT", "udp://10.0.0.9:5060"), ("MOH_PORT_5060_UDP", "udp://10.0.0.9:5060"),
        ("MOH_PORT_5060_UDP_ADDR", "10.0.0.9"), ("MOH_PORT_5060_TCP_PORT", "5060"),
        ("MOH_UDP_SERVICE_HOST", "10.0.0.9"), ("MOH_UDP_SERVICE_PORT_SIP", "5060"), ("MOH_UDP_PORT", "udp://10.0.0.9:5060"),
        ("MOH_WEB_1_PORT_8080_TCP_ADDR", "10.0.0.9"),
    ],
)  # fmt: skip
def test_variables_that_set_nothing_stop_no_start(name: str, value: str) -> None:
    assert Settings.from_environment({name: value}) == Settings()


@pytest.mark.parametrize("name", ["MOH_TLS_KEY", "MOH_TLS_PORT"])
def test_a_tls_key_or_port_without_a_certificate_stops_the_start(name: str) -> None:
    assert complaint(**{name: "5071"}) == f"{name} is '5071', but there is no TLS without MOH_TLS_CERT; expected both"
    assert Settings.from_environment({name: "5071", "MOH_TLS_CERT": "c.pem"}).tls_cert == "c.pem"


@pytest.mark.parametrize("text", ["five", "0", "65536", "-1", "5060.0", "²", "٥٠٦٠", "9" * 5000])
def test_an_invalid_port_is_named(text: str) -> None:
    assert complaint(MOH_SIP_PORT=text) == f"MOH_SIP_PORT is {text!r}; expected a whole number from 1 to 65535"


@pytest.mark.parametrize(
    "text",
    ["10000", "10000-", "-10100", "10100-10000", "10001-10002", "10000-10000", "1000-2000", "65535-65536", "a-b"],
)
def test_a_range_without_a_pair_of_ports_is_named(text: str) -> None:
    assert complaint(MOH_RTP_PORTS=text) == (
        f"MOH_RTP_PORTS is {text!r}; expected a range such as 10000-10100, from 1024 to 65535, "
        "with an even port and the next odd port"
    )


@pytest.mark.parametrize("text", ["10000-10001", "10001-10003", "65534-65535", "1024-65535"])
def test_one_pair_of_ports_is_enough(text: str) -> None:
    first, last = Settings.from_environment({"MOH_RTP_PORTS": text, "MOH_SIP_PORT": "1023"}).rtp_ports
    assert f"{first}-{last}" == text


def test_sip_and_music_cannot_share_a_port() -> None:
    assert (
        complaint(MOH_SIP_PORT="10050") == "MOH_SIP_PORT is '10050'; expected a port outside MOH_RTP_PORTS 10000-10100"
    )


@pytest.mark.parametrize("text", ["localhost", "224.0.0.1", "192.0.2", "fe80::1%eth0", "255.255.255.255"])
def test_the_address_to_listen_on_belongs_to_one_host(text: str) -> None:
    expected = "an IP address of this machine, or 0.0.0.0 for all of them"
    assert complaint(MOH_BIND=text) == f"MOH_BIND is {text!r}; expected {expected}"


@pytest.mark.parametrize("text", ["moh.example.com", "0.0.0.0", "239.0.0.1", "sip:192.0.2.1", "192.0.2.1:5060"])
def test_the_address_to_advertise_belongs_to_one_host(text: str) -> None:
    expected = "the IP address by which the phones reach this server, or nothing"
    assert complaint(MOH_ADVERTISED_ADDRESS=text) == f"MOH_ADVERTISED_ADDRESS is {text!r}; expected {expected}"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("4h", 14400.0), ("0", None), ("0h", None), ("00", None)]
)
def test_the_longest_call_has_a_unit(text: str, seconds: Optional[float]) -> None:
    assert Settings.from_environment({"MOH_MAX_CALL": text}).max_call == seconds


@pytest.mark.parametrize("text", ["4d", "h", "-1", "1.5h", "²m", "4 h"])
def test_an_invalid_duration_is_named(text: str) -> None:
    expected = "a length of time as 90s, 30m or 4h, or 0 for no limit"
    assert complaint(MOH_MAX_CALL=text) == f"MOH_MAX_CALL is {text!r}; expected {expected}"


@pytest.mark.parametrize("text", ["4", "30", "3600", "05"])
@pytest.mark.parametrize("name", ["MOH_MAX_CALL", "MOH_DRAIN"])
def test_a_duration_without_a_unit_stops_the_start(name: str, text: str) -> None:
    assert complaint(**{name: text}) == f"{name} is {text!r}; expected {text}h, {text}m or {text}s"


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("0s", 0.0), ("60s", 60.0), ("2m", 120.0), ("1h", 3600.0)])
def test_announcements_come_between_the_pieces_or_by_the_clock(text: str, seconds: float) -> None:
    assert Settings.from_environment({"MOH_ANNOUNCE": text}).announce == seconds


@pytest.mark.parametrize("text", ["-60s", "1.5m", "often", "60 s"])
def test_an_invalid_time_between_announcements_is_named(text: str) -> None:
    expected = "a length of time as 60s or 2m, or 0 for between the pieces"
    assert complaint(MOH_ANNOUNCE=text) == f"MOH_ANNOUNCE is {text!r}; expected {expected}"


@pytest.mark.parametrize("text", ["yes", "1", "true", "onn"])
def test_shuffle_is_on_or_off(text: str) -> None:
    assert not Settings.from_environment({"MOH_SHUFFLE": "OFF"}).shuffle
    assert complaint(MOH_SHUFFLE=text) == f"MOH_SHUFFLE is {text!r}; expected on or off"


@pytest.mark.parametrize(
    ("text", "octets"),
    [("2G", 2 << 30), ("2g", 2 << 30), ("500M", 500 << 20), ("50M", 50 << 20), ("99999G", 99999 << 30)],
)
def test_the_limit_of_the_cache_is_in_octets(text: str, octets: int) -> None:
    assert Settings.from_environment({"MOH_CACHE_LIMIT": text}).cache_limit == octets


@pytest.mark.parametrize("text", ["49M", "0", "0G", "G", "2000", "2GB", "2T", "-2G", "1.5G", "²G", "100000M", "2 G"])
def test_another_limit_of_the_cache_is_refused(text: str) -> None:
    assert complaint(MOH_CACHE_LIMIT=text) == f"MOH_CACHE_LIMIT is {text!r}; expected an amount from 50M, as 500M or 2G"


@pytest.mark.parametrize("text", ["radio.example", ",", "192.168.1", "10.0.0.0/33"])
def test_a_value_that_names_no_network_of_radios_is_refused(text: str) -> None:
    """Empty and blank values allow none, so they are harmless."""
    expected = "networks as 192.168.0.0/16, with commas between them, or nothing for none"
    assert complaint(MOH_ALLOW_RADIO=text) == f"MOH_ALLOW_RADIO is {text!r}; expected {expected}"
    assert Settings.from_environment({"MOH_ALLOW_RADIO": " "}).allow_radio == ()


NO_NETWORKS = ["phones", "192.168.1", "10.0.0.0/33", "10.0.0.0/8 172.16.0.0/12", "::1%lo", '""', "10.0.0.0/8;::1"]
NO_NETWORKS += [",", " ", ", ,", ",,,", "\t", "\n", "\xa0", ",\u2003,"]
"""Values that are not empty and name no network. ``"$A,$B"`` with two empty variables becomes such a value, ``","``."""


@pytest.mark.parametrize("text", NO_NETWORKS)
@pytest.mark.parametrize("name", ["MOH_ALLOW", "MOH_ALLOW_MEDIA"])
def test_a_value_that_names_no_network_stops_the_start(name: str, text: str) -> None:
    expected = "networks as 192.168.0.0/16, with commas between them, or nothing for all"
    shown = text.strip() or text
    assert complaint(**{name: text}) == f"{name} is {shown!r}; expected {expected}"


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.0.0.0/8,", ",10.0.0.0/8", " , 10.0.0.0/8 ,, "])
def test_one_network_among_commas_is_enough(text: str) -> None:
    settings = Settings.from_environment({"MOH_ALLOW": text, "MOH_ALLOW_MEDIA": text})
    assert settings.allow == settings.allow_media == (IPv4Network("10.0.0.0/8"),)


def test_sip_by_tcp_and_by_tls_cannot_share_a_port() -> None:
    said = complaint(MOH_TLS_CERT="/cert.pem", MOH_SIP_PORT="5061")
    assert said == "MOH_TLS_PORT is '5061'; expected another port than MOH_SIP_PORT"
    assert Settings.from_environment({"MOH_SIP_PORT": "5061"}).sip_port == 5061, "without TLS there is no such port"


@pytest.mark.parametrize("text", ["yes", "recvonly", "send recv", "inactive"])
def test_an_unknown_direction_is_named(text: str) -> None:
    assert complaint(MOH_DIRECTION=text) == f"MOH_DIRECTION is {text!r}; expected one of sendonly, sendrecv"


@pytest.mark.parametrize("text", ["0", "-1", "many", "100000", "1.5"])
def test_another_rate_of_calls_is_refused(text: str) -> None:
    named = {"MOH_ALLOW": "192.168.0.0/16"}
    assert Settings.from_environment({"MOH_CALL_RATE": "2000", **named}).call_rate == 2000
    assert complaint(MOH_CALL_RATE=text) == f"MOH_CALL_RATE is {text!r}; expected a whole number from 1 to 99999"


def test_a_rate_of_calls_without_the_networks_that_it_is_for_is_refused() -> None:
    why = "MOH_CALL_RATE is '2000', but it is for the addresses in MOH_ALLOW; expected both"
    assert complaint(MOH_CALL_RATE="2000") == why
    assert Settings.from_environment({"MOH_CALL_RATE": "1000"}).call_rate == 1000


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:8080", Address("::1", 8080)),
        ("[::]:8080", Address("::", 8080)),
        ("8080", Address("127.0.0.1", 8080)),
        ("off", None),
        ("OFF", None),
        ("", None),
    ],
)
def test_the_page_has_an_address_and_a_port(text: str, where: Optional[Address]) -> None:
    assert Settings.from_environment({"MOH_HTTP": text}).http == where


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.0.0.1:", ":8080", "::1:8080", "[127.0.0.1]:8080", "[::1]", "localhost:8080", "on", "0",
     "127.0.0.1:65536", "http://127.0.0.1:8080", "224.0.0.1:8080", "127.0.0.1:8080/", "[]:8080", "[:8080",
     "fe80::1%lo:1"],
)  # fmt: skip
def test_another_place_for_the_page_is_refused(text: str) -> None:
    expected = "an IP address and a port, as 127.0.0.1:8080 or [::1]:8080, a port alone, or nothing for no page"
    assert complaint(MOH_HTTP=text) == f"MOH_HTTP is {text!r}; expected {expected}"


def test_the_page_and_sip_cannot_share_a_port() -> None:
    assert complaint(MOH_HTTP="5060") == "MOH_HTTP is '127.0.0.1:5060'; expected another port than MOH_SIP_PORT 5060"
    by_tls = {"MOH_HTTP": "5061", "MOH_TLS_CERT": "/cert.pem"}
    assert complaint(**by_tls) == "MOH_HTTP is '127.0.0.1:5061'; expected another port than MOH_TLS_PORT 5061"
    assert Settings.from_environment({"MOH_HTTP": "5061"}).http == Address("127.0.0.1", 5061), "without TLS it is free"


@pytest.mark.parametrize(
    ("text", "path", "phone"),
    [
        ("/tmp/moh.pcapng", "/tmp/moh.pcapng", ""),
        ("/tmp/moh.pcapng,192.168.1.20", "/tmp/moh.pcapng", "192.168.1.20"),
        ("a,b.pcapng, 2001:DB8::1", "a,b.pcapng", "2001:db8::1"),
        ("", "", ""),
    ],
)
def test_a_trace_is_of_all_phones_or_of_one(text: str, path: str, phone: str) -> None:
    settings = Settings.from_environment({"MOH_TRACE": text})
    assert (settings.trace, settings.trace_of) == (path, phone)


@pytest.mark.parametrize("text", ["/tmp/moh.pcapng,", ",192.168.1.20", "/tmp/moh.pcapng,phone", "a,224.0.0.1", ","])
def test_a_trace_of_no_address_is_refused(text: str) -> None:
    expected = "a file, or a file, a comma and a phone's IP address, as /tmp/moh.pcapng,192.168.1.20"
    assert complaint(MOH_TRACE=text) == f"MOH_TRACE is {text!r}; expected {expected}"


def test_an_unknown_log_format_is_named() -> None:
    assert complaint(MOH_LOG_FORMAT="xml") == "MOH_LOG_FORMAT is 'xml'; expected one of text, json"


def test_an_unknown_level_is_named() -> None:
    assert complaint(MOH_LOG="loud") == "MOH_LOG is 'loud'; expected one of debug, info, warning, error"


@pytest.mark.parametrize(("text", "lufs"), [("-24", -24.0), ("-19.5", -19.5), ("off", None), ("OFF", None)])
def test_the_loudness_is_in_lufs_or_off(text: str, lufs: object) -> None:
    assert Settings.from_environment({"MOH_LOUDNESS": text}).loudness == lufs


@pytest.mark.parametrize("text", ["24", "-15.9", "-37", "nan", "-inf", "loud", "0"])
def test_another_loudness_is_refused(text: str) -> None:
    assert complaint(MOH_LOUDNESS=text) == f"MOH_LOUDNESS is {text!r}; expected LUFS from -36 to -16, as -24, or off"


def test_the_table_has_a_line_for_each_setting() -> None:
    table = Settings.table()
    assert [name for name, _, _ in table] == [
        "MOH_BIND", "MOH_SIP_PORT", "MOH_RTP_PORTS", "MOH_FFMPEG_CALLS", "MOH_ADVERTISED_ADDRESS", "MOH_DIRECTION",
        "MOH_ALLOW", "MOH_CALL_RATE", "MOH_ALLOW_MEDIA", "MOH_MUSIC", "MOH_SHUFFLE", "MOH_ANNOUNCE",
        "MOH_ALLOW_RADIO", "MOH_CACHE", "MOH_CACHE_LIMIT", "MOH_LOUDNESS", "MOH_MAX_CALL", "MOH_DRAIN", "MOH_BUSY_AT",
        "MOH_TLS_CERT", "MOH_TLS_KEY", "MOH_TLS_PORT", "MOH_LOG", "MOH_LOG_FORMAT", "MOH_TRACE", "MOH_HTTP",
    ]  # fmt: skip
    assert all(text for _, _, text in table)
    assert Settings.from_environment({name: default for name, default, _ in table}) == Settings()
