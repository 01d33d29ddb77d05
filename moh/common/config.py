"""The settings: one frozen dataclass, read from the environment once, at the start.

Each field carries the name of its variable and its help, so that ``--help`` and the README cannot drift from it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import SequenceMatcher
from typing import Any, Optional

from .actions import Address
from .addresses import Network, is_unicast, is_unspecified, literal, networks
from .busy_at import BusyAt, read_busy_at
from .errors import SettingsError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
SIZES = {"m": 1 << 20, "g": 1 << 30}
"""Octets, as Docker and ``du`` count them."""
DIRECTIONS = ("sendonly", "sendrecv")
LOG_FORMATS = ("text", "json")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

LEAST_CACHE = 50 << 20
"""The least MOH_CACHE_LIMIT, in octets: a piece of a quarter of an hour, converted."""

ON_HOST = {name: f"{name}_ON_HOST" for name in ("MOH_MUSIC", "MOH_TLS_CERT", "MOH_TLS_KEY")}
"""The variables by which ``docker-compose.yml`` passes the owner's own paths, for messages; by the setting's name."""
ALIKE = 0.6
"""How much a name has to be like that of a setting (``difflib``) to be taken for a slip of it."""
OF_KUBERNETES = re.compile(r"MOH(_\w+)?_SERVICE_(HOST|PORT(_\w+)?)|MOH(_\w+)?_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?")
"""Variables that Kubernetes and Docker's ``--link`` give to other containers, for one named ``moh`` or ``moh-…``."""
ADDRESS_OF_KUBERNETES = re.compile(r"MOH(_\w+)?_PORT")
"""The same, where the value is a URL."""


def _setting(env: str, default: str, read: Callable[[str], Any], help_text: str) -> Any:
    return field(default_factory=lambda: read(default), metadata={
        "env": env, "default": default, "read": read, "help": help_text})  # fmt: skip


def _bind_address(text: str) -> str:
    address = literal(text)
    if address is None or not (is_unicast(text) or is_unspecified(text)):
        raise ValueError("an IP address of this machine, or 0.0.0.0 for all of them")
    return str(address)


def _advertised_address(text: str) -> str:
    if not text:
        return ""
    if not is_unicast(text):
        raise ValueError("the IP address by which the phones reach this server, or nothing")
    return str(literal(text))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536):
        raise ValueError("a whole number from 1 to 65535")
    return int(text)


def _port_range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        pair = (_port(first.strip()), _port(last.strip()))
    except ValueError:
        pair = (0, 0)
    if not dash or pair[0] < 1024 or pair[1] <= pair[0] + pair[0] % 2:
        raise ValueError("a range such as 10000-10100, from 1024 to 65535, with an even port and the next odd port")
    return pair


def _networks(text: str, without: str = "all") -> tuple[Network, ...]:
    """The networks that ``text`` lists. A text that lists none, such as ``","``, is refused: it must not allow all.

    ``without`` is what an empty text means, for the message.
    """
    try:
        found = networks(text)
    except ValueError:
        found = ()
    if text and not found:
        raise ValueError(f"networks as 192.168.0.0/16, with commas between them, or nothing for {without}")
    return found


def _radio_networks(text: str) -> tuple[Network, ...]:
    return _networks(text, "none")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValueError("a whole number from 0 to 99999")
    return int(text)


def _rate(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text)):
        raise ValueError("a whole number from 1 to 99999")
    return int(text)


def _duration(text: str, expected: str = "a length of time as 90s, 30m or 4h, or 0 for no limit") -> Optional[float]:
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "")
    if not (number.isascii() and number.isdigit() and len(number) < 8):
        raise ValueError(expected)
    if not int(number):
        return None
    if not unit:  # the owner who writes 4 means hours or minutes as easily as seconds
        raise ValueError(f"{number}h, {number}m or {number}s")
    return int(number) * UNITS[unit]


def _grace(text: str) -> float:
    return _duration(text, "a length of time as 30s, 5m or 1h, or 0 for none") or 0.0


def _interval(text: str) -> float:
    return _duration(text, "a length of time as 60s or 2m, or 0 for between the pieces") or 0.0


def _size(text: str) -> int:
    number, unit = text[:-1], text[-1:].lower()
    octets = int(number) * SIZES.get(unit, 0) if number.isascii() and number.isdigit() and len(number) < 6 else 0
    if octets < LEAST_CACHE:
        raise ValueError(f"an amount from {LEAST_CACHE >> 20}M, as 500M or 2G")
    return octets


def _switch(text: str) -> bool:
    if text.lower() not in ("on", "off"):
        raise ValueError("on or off")
    return text.lower() == "on"


def _direction(text: str) -> str:
    if text.lower() not in DIRECTIONS:
        raise ValueError(f"one of {', '.join(DIRECTIONS)}")
    return text.lower()


def _loudness(text: str) -> Optional[float]:
    if text.lower() == "off":
        return None
    try:
        loudness = float(text)
    except ValueError:
        loudness = 0.0
    if not -36 <= loudness <= -16:
        raise ValueError("LUFS from -36 to -16, as -24, or off")
    return loudness


def _level(text: str) -> int:
    if text.lower() not in LEVELS:
        raise ValueError(f"one of {', '.join(LEVELS)}")
    return LEVELS[text.lower()]


def _log_format(text: str) -> str:
    if text.lower() not in LOG_FORMATS:
        raise ValueError(f"one of {', '.join(LOG_FORMATS)}")
    return text.lower()


def _http(text: str) -> Optional[Address]:
    """Where the page listens: an address and a port, or a port alone, which means the loopback address."""
    if text.lower() in ("", "off"):
        return None
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (":" in bare) != (bare != host):  # brackets are for IPv6, and IPv6 needs them
        bare = ""
    try:
        return Address(_bind_address(bare if colon else "127.0.0.1"), _port(port))
    except ValueError:
        raise ValueError(
            "an IP address and a port, as 127.0.0.1:8080 or [::1]:8080, a port alone, or nothing for no page"
        ) from None


def _trace(text: str) -> str:
    path, comma, address = text.rpartition(",")
    if comma and not (path.strip() and is_unicast(address.strip())):
        raise ValueError("a file, or a file, a comma and a phone's IP address, as /tmp/moh.pcapng,192.168.1.20")
    return text


def _traced(text: str) -> tuple[str, str]:
    """The two parts of MOH_TRACE: the file, and the address of the one phone that is traced; empty for all phones."""
    path, comma, address = text.rpartition(",")
    return (path.strip(), str(literal(address.strip()))) if comma else (text, "")


def _refuse_unknown(environment: Mapping[str, str], known: list[str]) -> None:
    """Raise ``SettingsError`` for a variable that looks like a setting and is none. An empty one sets nothing."""
    for name, value in environment.items():
        if name in (*known, *ON_HOST.values()) or not value.strip() or not re.match("MOH[_-]", name, re.IGNORECASE):
            continue
        if not OF_KUBERNETES.fullmatch(name) and not (ADDRESS_OF_KUBERNETES.fullmatch(name) and "://" in value):
            nearest = _nearest(name, known)
            hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"expected one of {', '.join(known)}"
            raise SettingsError(f"{name} is not a setting; {hint}")


def _nearest(name: str, known: list[str]) -> list[str]:
    """The names in ``known`` that are most like ``name``; none where all are rather different."""
    meant = name[4:].upper().replace("-", "_")
    likeness = {env: SequenceMatcher(None, meant, env[4:]).ratio() for env in known}
    return [env for env in known if likeness[env] == max(likeness.values()) >= ALIKE]


@dataclass(frozen=True)
class Settings:
    """What the owner can choose. A value that cannot be right raises ``SettingsError`` with one line for the owner."""

    bind: str = _setting("MOH_BIND", "0.0.0.0", _bind_address, "address to listen on; 0.0.0.0: all addresses")
    sip_port: int = _setting("MOH_SIP_PORT", "5060", _port, "port for SIP, UDP and TCP")
    rtp_ports: tuple[int, int] = _setting(
        "MOH_RTP_PORTS",
        "10000-10100",
        _port_range,
        "UDP ports that music is sent from: two for each ffmpeg, one for the shared stream",
    )
    ffmpeg_calls: int = _setting(
        "MOH_FFMPEG_CALLS", "50", _count, "calls that get their own ffmpeg; all others share one stream"
    )
    advertised_address: str = _setting(
        "MOH_ADVERTISED_ADDRESS",
        "",
        _advertised_address,
        "IP address to write into answers; empty: the one that the phone dialled",
    )
    direction: str = _setting(
        "MOH_DIRECTION",
        "sendonly",
        _direction,
        "what answers say; sendrecv if your PBX plays its own music instead (docs/pbx.md)",
    )
    allow: tuple[Network, ...] = _setting(
        "MOH_ALLOW", "", _networks, "networks that may call, such as 192.168.0.0/16,203.0.113.7; empty: all"
    )
    call_rate: int = _setting(
        "MOH_CALL_RATE", "1000", _rate, "new calls a second that each address in MOH_ALLOW may begin"
    )
    allow_media: tuple[Network, ...] = _setting(
        "MOH_ALLOW_MEDIA", "", _networks, "networks that music may go to, such as 192.168.0.0/16,10.0.0.0/8; empty: all"
    )
    music: str = _setting(
        "MOH_MUSIC",
        "",
        str,
        "file or folder to play; empty: the first of /music, /music.mp3, ./music.mp3, the built-in piece",
    )
    shuffle: bool = _setting(
        "MOH_SHUFFLE", "off", _switch, "order of the pieces in a folder; off: by name; on: a new one each hour"
    )
    announce: float = _setting(
        "MOH_ANNOUNCE", "0", _interval, "how often announce.* in a folder is spoken, such as 60s; 0: between the pieces"
    )
    allow_radio: tuple[Network, ...] = _setting(
        "MOH_ALLOW_RADIO", "", _radio_networks, "networks inside yours that radios may come from; empty: none"
    )
    cache: str = _setting("MOH_CACHE", "", str, "folder for the converted music; empty: ~/.cache/moh")
    cache_limit: int = _setting(
        "MOH_CACHE_LIMIT", "2G", _size, "most that the converted music of a folder may take, from 50M"
    )
    loudness: Optional[float] = _setting(
        "MOH_LOUDNESS", "-24", _loudness, "loudness of the music in LUFS, from -36 to -16; off: unchanged"
    )
    max_call: Optional[float] = _setting(
        "MOH_MAX_CALL", "4h", _duration, "longest call, such as 90s, 30m or 4h; 0: no limit"
    )
    drain: float = _setting(
        "MOH_DRAIN", "0", _grace, "how long calls may go on after a stop, such as 30s or 5m; 0: BYE at once"
    )
    busy_at: BusyAt = _setting(  # noqa: RUF009 -- ruff does not know that a BusyAt is immutable
        "MOH_BUSY_AT",
        "",
        read_busy_at,
        "503 to OPTIONS from 2000 calls or 80% of a core on; empty: never",
    )
    tls_cert: str = _setting("MOH_TLS_CERT", "", str, "certificate chain (PEM) for SIP over TLS; empty: no TLS")
    tls_key: str = _setting("MOH_TLS_KEY", "", str, "private key (PEM); empty: it is in the certificate's file")
    tls_port: int = _setting(
        "MOH_TLS_PORT",
        "5061",
        _port,
        "TCP port for SIP over TLS; with Compose, write it into .env as well",
    )
    log: int = _setting("MOH_LOG", "info", _level, "logged: debug (each SIP message too), info, warning or error")
    log_format: str = _setting(
        "MOH_LOG_FORMAT", "text", _log_format, "how it is logged: text for people, or json, one object on each line"
    )
    trace: str = _setting(
        "MOH_TRACE",
        "",
        _trace,
        "file for SIP messages (pcapng, for Wireshark), such as /tmp/moh.pcapng; with ,192.168.1.20 behind it: "
        "of that phone; empty: none",
    )
    http: Optional[Address] = _setting(  # noqa: RUF009 -- ruff does not know that an Address is immutable
        "MOH_HTTP", "", _http, "port of the page for the owner, such as 8080, or address and port; empty: none"
    )
    trace_of: str = ""
    """The phone's address in MOH_TRACE; empty for all phones. ``trace`` is the file alone."""
    http_port_only: bool = False
    """Whether MOH_HTTP is a port without an address: the page is for this machine alone."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read all settings. A variable that is missing, empty or blank means the default.

        But a list of networks that is blank and not empty is refused: ``MOH_ALLOW="$A $B"`` is blank where both
        variables are empty, and the default would let every source call.
        """
        _refuse_unknown(environment, [env for env, _, _ in cls.table()])
        values = {}
        for setting in _with_variable(cls):
            env, read = setting.metadata["env"], setting.metadata["read"]
            given = environment.get(env, "")
            text = given.strip() or (given if read is _networks else "") or setting.metadata["default"]
            try:
                values[setting.name] = read(text)
            except ValueError as error:
                raise SettingsError(f"{env} is {text!r}; expected {error}") from None
        values["trace"], values["trace_of"] = _traced(values["trace"])
        values["http_port_only"] = environment.get("MOH_HTTP", "").strip().isdigit()
        settings = cls(**values)
        first, last = settings.rtp_ports
        if first <= settings.sip_port <= last:
            raise SettingsError(
                f"MOH_SIP_PORT is '{settings.sip_port}'; expected a port outside MOH_RTP_PORTS {first}-{last}"
            )
        if settings.tls_cert and settings.tls_port == settings.sip_port:
            raise SettingsError(f"MOH_TLS_PORT is '{settings.tls_port}'; expected another port than MOH_SIP_PORT")
        for taken, port in (("MOH_SIP_PORT", settings.sip_port), ("MOH_TLS_PORT", settings.tls_port)):
            if settings.http and settings.http.port == port and (settings.tls_cert or taken != "MOH_TLS_PORT"):
                raise SettingsError(f"MOH_HTTP is '{settings.http}'; expected another port than {taken} {port}")
        for env, default, _ in cls.table():
            text = environment.get(env, "").strip()
            if text in ("", default):
                continue
            if env in ("MOH_TLS_KEY", "MOH_TLS_PORT") and not settings.tls_cert:
                raise SettingsError(f"{env} is {text!r}, but there is no TLS without MOH_TLS_CERT; expected both")
            if env == "MOH_CALL_RATE" and not settings.allow:
                raise SettingsError(f"{env} is {text!r}, but it is for the addresses in MOH_ALLOW; expected both")
        return settings

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """Name, default and help of each setting, in order."""
        return [(s.metadata["env"], s.metadata["default"], s.metadata["help"]) for s in _with_variable(cls)]


def _with_variable(settings: type[Settings]) -> list[Field[Any]]:
    """The fields that have a variable of their own."""
    return [each for each in fields(settings) if each.metadata]
