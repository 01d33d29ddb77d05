"""The doctor calls its own server: a real call by SIP and RTP, judged as ``test_sip_client.py`` judges one.

``test_sip_client.py`` stands alone at the top, since it gets copied to the phones' network. It shares no code with the
server, so a fault in the server's own reading of SIP or RTP cannot hide itself here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import NamedTuple, Optional

import test_sip_client as phone

from ..common.actions import Address
from ..common.addresses import is_loopback, is_unspecified, within
from ..common.config import Settings
from .address import callable_host
from .finding import Finding, finding

SECONDS = 2.0
"""Seconds of music that the test call listens to."""
ANSWERED_WITHIN = 1.0
"""Seconds in which a server of this machine answers OPTIONS."""


def candidates(settings: Settings) -> list[str]:
    """The addresses at which this machine can call its own server, the one that phones dial first."""
    hosts = [callable_host(settings)]
    if is_unspecified(settings.bind):
        hosts.append("127.0.0.1")
    return list(dict.fromkeys(hosts))


class Answer(NamedTuple):
    """A reply to OPTIONS: the address that was asked, and the methods that the reply lists."""

    address: Address
    allow: str


def answer_of(settings: Settings) -> Optional[Answer]:
    """The reply of the SIP server at the first of ``candidates`` that replies to OPTIONS; ``None`` where none does."""
    for host in reversed(candidates(settings)):  # over loopback first, which no firewall and no NAT is in the way of
        try:
            with phone.Call(phone.Address(host, settings.sip_port)) as call:
                reply = call.ask("OPTIONS", call.uri, call.peer, ANSWERED_WITHIN)
        except (phone.Unreachable, OSError):
            continue
        if reply is not None:
            return Answer(Address(host, settings.sip_port), reply.header("allow"))
    return None


def own_call_findings(settings: Settings, seconds: float = SECONDS) -> Iterator[Finding]:
    """Call the server, listen, hang up, and judge."""
    hosts = candidates(settings)
    for setting, networks in (("MOH_ALLOW", settings.allow), ("MOH_ALLOW_MEDIA", settings.allow_media)):
        hosts = [host for host in hosts if not networks or within(host, networks)]
        if not hosts:
            yield finding("test-call-barred", setting=setting, host=callable_host(settings))
            return
    server = phone.Address(hosts[0], settings.sip_port)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            call = phone.make_call(server, "" if is_loopback(server.host) else server.host, seconds=seconds)
    except (phone.Unreachable, OSError) as error:
        yield finding("test-call-refused", address=server, text=error, advice="See the log of the server.")
        return
    yield from judged(call, server)


def judged(call: phone.Call, server: phone.Address) -> Iterator[Finding]:
    """The findings about a call that was made."""
    signalling, media = phone.judge_signalling(call), [*phone.judge_media(call), *phone.judge_ending(call)]
    if failed := _failed(signalling):
        yield _finding("test-call-refused", server, failed)
        return
    failed, pace = _failed(media), _failed(phone.judge_pace(call))
    if failed and failed.name in ("music", "loudness"):
        yield _finding("test-call-silent", server, failed)
    elif failed:
        yield _finding("test-call-wrong", server, failed)
    elif pace:
        yield _finding("test-call-uneven", server, pace)
    else:
        loudness = next(each.text for each in media if each.name == "loudness")
        codec = next(iter(call.answer.formats.values()), "") if call.answer else ""
        due = _due(call)
        came = min(len(call.heard), due)
        yield finding("test-call", address=server, codec=codec, loudness=loudness, came=came, due=due)


def _due(call: phone.Call) -> int:
    return round(call.seconds / phone.PACKET_TIME)


def _failed(judgement: Sequence[phone.Finding]) -> Optional[phone.Finding]:
    return next((each for each in judgement if each.ok is False), None)


def _finding(name: str, server: phone.Address, failed: phone.Finding) -> Finding:
    return finding(name, address=server, name=failed.name, text=failed.text, advice=failed.advice.strip())
