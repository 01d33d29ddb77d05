"""Makes the server's parts from its settings."""

from __future__ import annotations

import base64
import errno
import logging
import os
import secrets
import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from ..common.actions import Address
from ..common.addresses import is_unspecified
from ..common.codecs import CODECS, Codec
from ..common.config import Settings
from ..common.errors import SettingsError
from ..common.tunes import Tunes
from ..ffmpeg.launch import EncoderQuery, encoders
from ..ffmpeg.starting import starts_at_once
from ..guard.address_validation import AddressValidator
from ..guard.allowances import named_networks
from ..guard.media_policy import MediaPolicy
from ..mastering.owner_name import in_owner_words, owner_name
from ..mastering.prepare import Music
from ..net.container import is_behind_a_bridge
from ..net.remembered import Remembered
from ..net.routes import address_on_the_network, has_port, is_broadcast, is_ours, local_address_towards
from ..rtp.port_pool import PortPool, shared_port
from ..shared.shared_stream import SharedStream
from ..sip.identity import Identity
from ..sip.limits import Limits
from ..sip.user_agent import UserAgent
from ..transport.tcp import TcpServer, tls_context
from .compiled import is_compiled

PORT_PATIENCE = 2.0
"""Seconds to wait for the port of the shared stream: a DNS client may have it for the length of one query."""

log = logging.getLogger("moh")


def available_codecs(asked: Optional[EncoderQuery] = None) -> tuple[Codec, ...]:
    """The codecs that the installed ffmpeg encodes. Raises ``SettingsError`` where it encodes none of them."""
    available = encoders(asked)
    codecs = tuple(codec for codec in CODECS if codec.encoder in available)
    if not codecs:
        raise SettingsError(f"{_why_no_codec(available)}. Install Debian's ffmpeg: apt-get install ffmpeg")
    for codec in CODECS:
        if codec not in codecs:
            log.warning("no call gets %s: the installed ffmpeg has no encoder %r", codec.name, codec.encoder)
    return codecs


def _why_no_codec(available: set[str]) -> str:
    if shutil.which("ffmpeg") is None:
        return "the program ffmpeg is missing"
    if not available:
        return "the program ffmpeg does not run: ffmpeg -encoders lists nothing"
    return "this ffmpeg has no codec for phones"


def listen(settings: Settings, servers: list[TcpServer], *functions: Any) -> None:
    """Add to ``servers`` a listener for TCP and, with a certificate, one for TLS (RFC 3261 §18).

    ``functions`` are those of ``TcpServer``: ``handle_message``, ``connections_in_use``, ``allows`` and ``delay``.
    After an exception ``servers`` has the listeners that are to be closed.
    """
    handle_message, connections_in_use, *limits = functions
    listeners: list[tuple[int, Optional[ssl.SSLContext]]] = [(settings.sip_port, None)]
    if settings.tls_cert:
        listeners.append((settings.tls_port, _tls_context(settings)))
    for port, tls in listeners:
        with binding(settings, "TLS" if tls else "TCP"):
            address = Address(settings.bind, port)
            servers.append(TcpServer(address, handle_message, connections_in_use, tls, *limits))


def _tls_context(settings: Settings) -> ssl.SSLContext:
    files = {"MOH_TLS_CERT": Path(settings.tls_cert), "MOH_TLS_KEY": Path(settings.tls_key)}
    for env, path in files.items():
        if path.is_file() and not os.access(path, os.R_OK):
            may_not = f"user {os.geteuid()} may not read it; expected a file that this user may read"
            raise SettingsError(f"{env} is {owner_name(path, env)!r}: {may_not}")
    try:
        return tls_context(settings.tls_cert, settings.tls_key)
    except SettingsError as error:
        text = str(error)
        for env, path in files.items():
            text = in_owner_words(text, path, env)
        raise SettingsError(text) from None


@contextmanager
def binding(settings: Settings, transport: str) -> Iterator[None]:
    """Turn the error of a port that cannot be listened on into a ``SettingsError`` that names its setting."""
    try:
        yield
    except OSError as error:
        port = f"MOH_TLS_PORT {settings.tls_port}" if transport == "TLS" else f"MOH_SIP_PORT {settings.sip_port}"
        if error.errno == errno.EADDRINUSE:
            why = "another program uses this port; expected a port that is free"
        elif error.errno == errno.EADDRNOTAVAIL:
            why = "this machine has no such address; expected one of its own, or 0.0.0.0 for all of them"
        else:
            why = f"{error.strerror}; expected an address of this machine and a port that is free"
        raise SettingsError(f"Cannot listen on MOH_BIND {settings.bind}, {port} ({transport}): {why}") from None


def user_agent(
    settings: Settings, codecs: tuple[Codec, ...], shared: SharedStream, validator: AddressValidator
) -> UserAgent:
    """The SIP core, with random tokens, RTP ports and limits as ``settings`` say."""
    identity = Identity(
        new_token=lambda: os.urandom(8).hex(),  # as ``secrets.token_hex``, in a third of the time
        local_address=Remembered(local_address_towards, time.monotonic),
        new_key=lambda: base64.b64encode(secrets.token_bytes(30)).decode(),
        advertised=settings.advertised_address,
        secret=secrets.token_bytes(16),
        is_behind_a_bridge=is_behind_a_bridge,
    )
    ports = PortPool(
        *settings.rtp_ports,
        usable=lambda port: has_port(settings.bind, port),
        most=settings.ffmpeg_calls,
        shared=shared.port,
    )
    two_way = settings.direction == "sendrecv"
    limits = Limits(codecs, settings.max_call, media_policy(settings), two_way, starts_at_once(), settings.busy_at)
    return UserAgent(identity, ports, limits, validator)


def media_policy(settings: Settings) -> MediaPolicy:
    """The policy of where music may go: never to the ports on which this server listens, at any of its addresses."""
    first, last = settings.rtp_ports
    sip = {settings.sip_port, settings.tls_port} if settings.tls_cert else {settings.sip_port}
    return MediaPolicy(
        is_ours=Remembered(is_ours, time.monotonic),
        is_broadcast=Remembered(is_broadcast, time.monotonic),
        own_ports=frozenset(sip.union(range(first, last + 1))),
        allowed=settings.allow_media,
        callers=named_networks(settings.allow),
        advertised=settings.advertised_address,
    )


def open_shared_stream(settings: Settings, tunes: Tunes) -> SharedStream:
    """The shared stream, for all calls that get no ffmpeg.

    Raises ``SettingsError`` if its port is in use for longer than ``PORT_PATIENCE``: another server that has the same
    ports has this one from its start to its end.
    """
    first, last = settings.rtp_ports
    port, give_up = shared_port(first, last), time.monotonic() + PORT_PATIENCE
    while True:
        try:
            return SharedStream(settings.bind, port, tunes)
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            if in_use and time.monotonic() < give_up:
                time.sleep(PORT_PATIENCE / 20)
                continue
            why = f"another program uses UDP port {port}" if in_use else f"UDP port {port}: {error.strerror}"
            cure = "set it to other ports" + (", or stop that program" if in_use else "")
            raise SettingsError(f"Cannot use MOH_RTP_PORTS {first}-{last}: {why}; {cure}") from None


STAND_IN = "ADDRESS-OF-THIS-MACHINE"
"""What the owner replaces by the address of the machine that runs our container: we cannot know it."""


def dialled_uri(settings: Settings) -> tuple[str, list[str]]:
    """What the owner types into the phone, and in a container a line that says how to find the address in it."""
    host = settings.advertised_address or settings.bind
    if is_unspecified(host):
        host = address_on_the_network()
    if settings.advertised_address or not is_behind_a_bridge(host):
        return f"sip:123@{Address(host, settings.sip_port)}", []
    advice = (
        f"{STAND_IN} is the first address that the command 'hostname -I' prints on the machine that runs this "
        f"container; {settings.sip_port} is right unless another port was published for it"
    )
    return f"sip:123@{STAND_IN}:{settings.sip_port}", [advice]


def ready_lines(settings: Settings, music: Music) -> list[str]:
    """The line that says what the owner types into the phone; in a container a second line says how to find it."""
    uri, advice = dialled_uri(settings)
    first, last = settings.rtp_ports
    core = ", compiled core" if is_compiled() else ""
    return [f"ready: {uri}, music {music.describe()}, RTP ports {first}-{last}{core}", *advice]
