"""Explains a pasted INVITE: what this server would answer, with which codec and where the music would go, or why not.

The core itself reads and answers the message (``moh.sip``), with the settings in force; only its clock, its tokens and
its ports are made up. No socket is opened for it, and no packet is sent.
"""

from __future__ import annotations

import logging
import re
from typing import NamedTuple, Optional

from ..common.actions import Action, Address, Flow, Note, Resolve, Send
from ..common.addresses import is_loopback, is_private, is_unspecified, literal, out_of_reach, usual_text
from ..common.codecs import Codec
from ..common.config import Settings
from ..common.errors import Refusal
from ..guard.address_validation import AddressValidator, is_scanner
from ..guard.allowances import Allowances
from ..guard.rate_limit import RateLimiter
from ..mastering.music_folder import music_folder
from ..rtp.port_pool import PortPool, shared_port
from ..sdp.description import MediaDescription, SessionDescription, parse_sdp
from ..sdp.offer_answer import PLAIN, Choice
from ..sip.identity import Identity
from ..sip.limits import Limits
from ..sip.message import Request, Response
from ..sip.names import name_of
from ..sip.parser import parse
from ..sip.user_agent import UserAgent
from .explain_codecs import offered_names, own_names, phone_name
from .explain_reasons import reason_of
from .explain_texts import Said
from .machine import Machine
from .pasted import Pasted, Unreadable, read_paste

ACCEPTED, REFUSED, UNREADABLE = 0, 1, 2
"""The exit statuses: the call would be accepted, it would be refused, there is nothing to explain."""
FIRST_OFFER = "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
"""The offer by which a call begins, for a message that belongs to one."""
MOST_NAMES = 4
"""Host names of a message that are looked up."""


class Explanation(NamedTuple):
    """The sentences, and the exit status."""

    said: list[Said]
    status: int


class Outcome(NamedTuple):
    """What the core did with the message."""

    response: Optional[Response]
    choice: Optional[Choice]
    """The stream that gets the music, or that is on hold; ``None`` for a refusal, and for an INVITE without offer."""
    port: int
    at_once: bool
    """Whether the music starts before the ACK."""
    warnings: list[str]
    ptime: int
    """The milliseconds of music in a packet."""


def explain(
    data: bytes, settings: Settings, codecs: tuple[Codec, ...], machine: Machine, given: str = ""
) -> Explanation:
    """Explain the message in ``data``. ``given`` is the address, with or without a port, from which it has come."""
    try:
        pasted = read_paste(data)
    except Unreadable as error:
        return Explanation([Said(error.reason, error.values)], UNREADABLE)
    message = parse(pasted.data)
    if isinstance(message, Response):
        what = f"{message.status} {message.reason}".strip()
        return Explanation([Said("response", {"what": what})], UNREADABLE)
    if message is None:
        first_line = pasted.data.partition(b"\r\n")[0].decode("utf-8", "replace")[:60]
        if first_line.startswith("SIP/"):
            return Explanation([Said("response", {"what": first_line})], UNREADABLE)
        return Explanation([Said("no via", {"what": first_line})], REFUSED)
    if message.method == "ACK":
        return Explanation([Said("ACK")], UNREADABLE)
    return _Case(pasted, message, settings, codecs, machine, given).explain()


class _Case:
    """One message that is explained."""

    def __init__(
        self, pasted: Pasted, request: Request, settings: Settings, codecs: tuple[Codec, ...], machine: Machine,
        given: str,
    ) -> None:  # fmt: skip
        self._pasted, self._request = pasted, request
        self._settings, self._codecs, self._machine = settings, codecs, machine
        self._policy = machine.media_policy(settings)
        self._within = bool(request.to.tag)
        self._how, source = self._source(given)
        transport = pasted.way.transport or (request.via.transport if request.via.readable else "UDP")
        self._flow = Flow(source, self._local(source), transport if transport in ("TCP", "TLS") else "UDP")
        self._said: list[Said] = []

    def _say(self, name: str, **values: object) -> None:
        self._said.append(Said(name, values))

    def _result(self, name: str, **values: object) -> None:
        """Put the result in front of all sentences: what becomes of the message."""
        self._said.insert(0, Said(name, values))

    def explain(self) -> Explanation:
        """All sentences, and the exit status."""
        request, flow = self._request, self._flow
        allowances = Allowances(self._settings.allow, self._settings.call_rate)
        validator = AddressValidator(allowances)
        limiter = RateLimiter(allowances, validator.is_host_validated, 0.0)
        if not self._pasted.bare:
            self._say("from", source=flow.remote, how=Said(self._how), to=flow.local, transport=flow.transport)
        if limiter.refusal(flow.remote.host, self._pasted.data, 0.0, flow.local.host):
            networks = ", ".join(map(str, self._settings.allow))
            self._result("not in MOH_ALLOW", source=flow.remote.host, allow=networks)
            return Explanation(self._said, REFUSED)
        outcome = self._rehearse(validator)
        response = outcome.response
        if response is None:
            agent = request.first("user-agent") or ""
            known = is_scanner(agent)
            self._result("scanner" if known else "no answer", agent=agent[:60])
            return Explanation(self._said, REFUSED)
        accepted = response.status < 300
        if request.method != "INVITE":
            name = "accepted" if accepted else "refused account" if response.status == 405 else "refused other"
            self._result(name, method=request.method[:20], status=f"{response.status} {response.reason}")
            return Explanation(self._said, ACCEPTED if accepted else REFUSED)
        session = self._session()
        if accepted:
            self._explain_answer(response, outcome, session)
        else:
            self._explain_refusal(response, session)
        self._say_odd(outcome, session)
        return Explanation(self._said, ACCEPTED if accepted else REFUSED)

    # -- where it came from --------------------------------------------------------------------------------------------

    def _source(self, given: str) -> tuple[str, Address]:
        """How the source of the message is known, and the source."""
        way, via, params = self._pasted.way, self._request.via, self._request.via.params
        if given:
            return "how given", read_address(given)
        if way.source is not None:
            return "how log", way.source
        if received := usual_text(params.get("received", "")):
            port = params.get("rport", "")
            return "how received", Address(received, int(port) if port.isdigit() else via.port or 5060)
        if host := usual_text(via.host):
            return "how via", Address(host, via.port or 5060)
        try:
            contact = self._request.target_uri
        except Refusal:
            contact = None
        if contact is not None and (host := usual_text(contact.host)):
            return "how contact", Address(host, contact.port or 5060)
        if host := usual_text(way.guess):
            return "how session", Address(host, 5060)
        return "how assumed", Address("192.168.0.2", 5060)

    def _local(self, source: Address) -> Address:
        """The address of this server that the message came to."""
        if self._pasted.way.to is not None:
            return self._pasted.way.to
        own = self._machine.own_address(source.host)
        port = self._settings.sip_port
        try:
            uri = self._request.parsed_uri
        except Refusal:
            return Address(own, port)
        host = usual_text(uri.host)
        if not host or self._machine.is_behind_a_bridge(own) or (":" in host) != (":" in source.host):
            return Address(own, port)
        return Address(host, uri.port or port)

    # -- the core ------------------------------------------------------------------------------------------------------

    def _rehearse(self, validator: AddressValidator) -> Outcome:
        """Have the core handle the message."""
        agent = self._agent(validator)
        if self._within:
            self._begin_call(agent)
        actions = self._run(agent, self._request)
        answers = [parse(action.data) for action in actions if isinstance(action, Send)]
        responses = [answer for answer in answers if isinstance(answer, Response)]
        calls = list(agent.registry.calls.values())
        media = calls[-1].media if calls else None
        accepted = bool(responses) and responses[-1].status < 300
        return Outcome(
            responses[-1] if responses else None,
            media.wanted if media is not None and accepted else None,
            media.origin.port if media is not None else 0,
            media is not None and media.playing,
            [action.text for action in actions if isinstance(action, Note) and action.level >= logging.WARNING],
            media.ptime if media is not None else 0,
        )

    def _agent(self, validator: AddressValidator) -> UserAgent:
        settings, tokens = self._settings, iter(range(1, 1_000_000))
        first, last = settings.rtp_ports
        identity = Identity(
            new_token=lambda: f"{next(tokens):016x}",
            local_address=self._machine.local_address,
            new_key=lambda: "A" * 40,
            advertised=settings.advertised_address,
            secret=b"explain",
            is_behind_a_bridge=self._machine.is_behind_a_bridge,
        )
        ports = PortPool(first, last, most=settings.ffmpeg_calls, shared=shared_port(first, last))
        limits = Limits(self._codecs, settings.max_call, self._policy, settings.direction == "sendrecv")
        agent = UserAgent(identity, ports, limits, validator)
        agent.music_ready(0, now=0.0)
        return agent

    def _begin_call(self, agent: UserAgent) -> None:
        """Make the call that the message belongs to, so that it is handled as a later one of this call."""
        first = parse(self._pasted.data)
        assert isinstance(first, Request)
        first.method = "INVITE"
        first.to = first.to._replace(tag="", tags=(), all_tags=0)
        first.cseq = first.cseq._replace(number=max(first.cseq.number - 1, 0), method="INVITE")
        first.via = first.via._replace(params={**first.via.params, "branch": "z9hG4bKbefore"})
        first.body = FIRST_OFFER.format(host=self._flow.remote.host).encode()
        if ":" in self._flow.remote.host:
            first.body = first.body.replace(b"IP4", b"IP6")
        agent.receive(first, self._flow, 0.0)
        if calls := agent.call_ids:
            self._request.to = self._request.to._replace(tag=calls[0], tags=(calls[0],))
        else:
            self._request.to = first.to

    def _run(self, agent: UserAgent, request: Request) -> list[Action]:
        """All actions for the message, with host names looked up."""
        actions = agent.receive(request, self._flow, 1.0)
        waiting = [action for action in actions if isinstance(action, Resolve)]
        for _ in range(MOST_NAMES):
            if not waiting:
                break
            asked = waiting.pop()
            further = agent.resolved(asked, self._machine.look_up(asked.name, asked.version), 1.0)
            waiting += [action for action in further if isinstance(action, Resolve)]
            actions += further
        return actions

    def _session(self) -> Optional[SessionDescription]:
        """The session description in the message; ``None`` where there is none that can be read."""
        try:
            return parse_sdp(self._request.body) if self._request.body.strip() else None
        except Refusal:
            return None

    # -- an answer -----------------------------------------------------------------------------------------------------

    def _explain_answer(self, response: Response, outcome: Outcome, session: Optional[SessionDescription]) -> None:
        choice = outcome.choice
        if session is None or choice is None:
            self._result("late offer", ours=own_names(self._codecs))
            self._say_music()
            return
        if choice.place < 0:
            self._result("switched off")
            return
        media = session.media[choice.place]
        if not choice.playing:
            self._result("hold", why=self._why_held(media))
            return
        self._result("plays")
        self._say_music()
        self._say(
            "codec", offered=offered_names(media), ours=own_names(self._codecs), codec=phone_name(choice.codec.name),
            ptime=outcome.ptime,
        )  # fmt: skip
        line = f"c=IN IP{6 if ':' in media.host else 4} {media.host}"
        self._say("where", to=choice.remote, line=line, media=f"m={media.line}", port=outcome.port)
        if choice.remote.host != self._flow.remote.host:
            self._say("third party", host=choice.remote.host, source=self._flow.remote.host)
        if not outcome.at_once:
            self._say("after ACK")
        if choice.crypto is not None:
            self._say("encrypted", suite=choice.crypto.suite)
        self._say_own_address(response)

    def _say_music(self) -> None:
        """Say by which name a new call chooses its music. Only the running server knows which names are ready."""
        folder = None if self._within else music_folder(self._settings)
        if folder is not None:
            name = name_of(self._request.parsed_uri.user)
            self._say("music by name" if name else "music without a name", dialled=repr(name[:80]), folder=folder)

    def _why_held(self, media: MediaDescription) -> Said:
        if media.direction in ("inactive", "sendonly"):
            return Said(f"why {media.direction}")
        return Said("why unspecified", {"host": media.host or "0.0.0.0"})

    def _say_own_address(self, response: Response) -> None:
        """Say what the answer names as this server's address, if the caller seems not to reach it."""
        media = next((media for media in parse_sdp(response.body).media if media.port), None)
        contact = response.target_uri
        hosts = {media.host if media is not None else "", contact.host if contact is not None else ""}
        for host in sorted(filter(literal, hosts)):
            if out_of_reach(host, self._flow.remote.host):
                self._say("own address", host=host, source=self._flow.remote.host)

    # -- a refusal -----------------------------------------------------------------------------------------------------

    def _explain_refusal(self, response: Response, session: Optional[SessionDescription]) -> None:
        self._result("refused", status=response.status, reason=response.reason)
        name, values = reason_of(response.reason)
        audio = None if session is None else next((each for each in session.media if each.kind == "audio"), None)
        offered = "" if audio is None else offered_names(audio)
        self._say(name, **{**values, "offered": offered, "ours": own_names(self._codecs)})

    # -- what is odd ---------------------------------------------------------------------------------------------------

    def _say_odd(self, outcome: Outcome, session: Optional[SessionDescription]) -> None:
        request, pasted, source = self._request, self._pasted, self._flow.remote.host
        if pasted.messages > 1:
            self._say("several", count=pasted.messages)
        if pasted.length_was:
            self._say("length", was=pasted.length_was, octets=len(pasted.data.partition(b"\r\n\r\n")[2]))
        if pasted.bare:
            self._say("bare")
        else:
            self._say_odd_headers(request, source)
        if session is not None:
            self._say_odd_media(session, outcome)
        if outcome.choice is not None and outcome.choice.playing:
            host = outcome.choice.remote.host
            if self._policy.is_private_from_outside(self._flow, host):
                self._say("private from outside", host=host, source=source)
            elif is_loopback(host) and is_loopback(source):
                self._say("loopback", host=host)
        for warning in outcome.warnings:
            if "private address" not in warning:
                self._say("warning", text=warning)

    def _say_odd_headers(self, request: Request, source: str) -> None:
        via = request.via
        if self._within:
            self._say("within a call")
        if via.readable and not via.branch:
            self._say("old branch")
        translated = is_private(via.host) and not is_private(source)
        if self._flow.transport == "UDP" and translated and "rport" not in via.params:
            self._say("no rport", via=via.host, source=source)
        if request.first("contact") is None:
            self._say("no contact")
        if request.first("max-forwards") is None:
            self._say("no max-forwards")
        if request.body.strip() and request.first("content-type") is None:
            self._say("no content-type")
        if "100rel" in request.option_tags("require"):
            self._say("100rel")

    def _say_odd_media(self, session: SessionDescription, outcome: Outcome) -> None:
        choice = outcome.choice
        text = self._request.body.decode("utf-8", "replace").lower()
        if any(media.kind != "audio" and media.port for media in session.media):
            kinds = {media.kind for media in session.media if media.kind != "audio" and media.port}
            self._say("other media", kinds=", ".join(sorted(kinds)))
        if sum(media.kind == "audio" and media.port > 0 for media in session.media) > 1:
            self._say("several audio")
        if "a=candidate" in text or "a=ice-ufrag" in text:
            self._say("ice")
        if "a=rtcp-mux" in text and choice is not None and choice.playing:
            self._say("rtcp-mux", rtcp=choice.remote_rtcp)
        if choice is None or not 0 <= choice.place < len(session.media):
            return
        media = session.media[choice.place]
        if media.crypto and media.protocol.upper() in PLAIN:
            self._say("crypto without SRTP")
        if media.crypto and choice.crypto is not None and self._flow.transport != "TLS":
            self._say("key in the clear", transport=self._flow.transport)
        if choice.playing and media.ptime and media.ptime != outcome.ptime:
            self._say("ptime", asked=media.ptime, used=outcome.ptime)
        if choice.playing and media.rtcp_port and choice.remote_rtcp.port != media.rtcp_port:
            self._say("rtcp elsewhere", rtcp=choice.remote_rtcp)


def read_address(text: str) -> Address:
    """The address that ``text`` spells, with port 5060 if it has none. Raises ``ValueError`` for anything else."""
    host, port = text.strip(), "5060"
    if found := re.fullmatch(r"(\[.+\]|[^:]+):(\d{1,5})", host):
        host, port = found[1], found[2]
    usual = usual_text(host)
    if not usual or is_unspecified(usual) or not 0 < int(port) < 65536:
        raise ValueError(f"--from is {text!r}; expected an IP address, with or without a port")
    return Address(usual, int(port))
