"""The phone in ladder tests of the core: it writes the messages of a phone, and reads the answers of the core.

There is no socket. A message of the phone is parsed from octets; an answer is a ``Send`` action of the agent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional, Union

from moh.common.actions import Action, Address, Flow, Note, Resolve, Send, StartStream, StopStream, Trust
from moh.common.addresses import networks
from moh.common.busy_at import NEVER, BusyAt
from moh.guard.media_policy import MediaPolicy
from moh.rtp.port_pool import PortPool
from moh.sip.identity import Identity
from moh.sip.limits import Limits
from moh.sip.message import Request, Response
from moh.sip.parser import parse
from moh.sip.user_agent import UserAgent

EVERYWHERE = MediaPolicy(callers=networks("0.0.0.0/1, 128.0.0.0/1, ::/1, 8000::/1"))
"""Music may go everywhere, because ``MOH_ALLOW`` names all callers."""
PHONE = Address("192.168.1.50", 5062)
HELD = "192.168.1.77"
SERVER = Address("192.168.1.100", 5060)
FLOW = Flow(PHONE, SERVER)
PUBLIC_FLOW = Flow(Address("203.0.113.9", 5062), SERVER)

OFFER = f"""\
v=0
o=201 8000 8001 IN IP4 192.168.1.50
s=SIP Call
c=IN IP4 {HELD}
t=0 0
m=audio 17422 RTP/AVP 0 8 101
a=recvonly
a=rtpmap:0 PCMU/8000
a=ptime:20
a=rtpmap:101 telephone-event/8000
"""


def make_agent(
    ports: tuple[int, int] = (10000, 10100),
    advertised: str = "",
    longest_call: Optional[float] = None,
    most: Optional[int] = None,
    shared: Optional[int] = None,
    destinations: MediaPolicy = EVERYWHERE,
    ipv6: bool = True,
    two_way: bool = False,
    bridge: str = "",
    music: bool = True,
    starts_at_once: Optional[int] = None,
    busy_at: BusyAt = NEVER,
) -> UserAgent:
    """Return an agent whose tokens count up from token000000000001. ``PortPool`` explains ``most`` and ``shared``.

    ``starts_at_once`` is as in ``StartLimit``.

    Without ``ipv6`` no route leads to IPv6 addresses. ``two_way`` is ``MOH_DIRECTION=sendrecv``.
    ``bridge`` is the agent's address where it is in a container.
    """
    issued = iter(range(1, 1_000_000))
    identity = Identity(
        new_token=lambda: f"{next(issued):016x}",
        local_address=lambda host: SERVER.host if ":" not in host else "2001:db8::100" if ipv6 else "",
        new_key=lambda: "K" * 40,
        advertised=advertised,
        secret=b"secret",
        is_behind_a_bridge=lambda host: host == bridge,
    )
    limits = Limits(
        longest_call=longest_call,
        destinations=destinations,
        two_way=two_way,
        starts_at_once=starts_at_once,
        busy_at=busy_at,
    )
    agent = UserAgent(identity, PortPool(*ports, most=most, shared=shared), limits)
    if music:
        agent.music_ready(0, now=0.0)
    return agent


def request(method: str, *extra: str, body: str = "", to_tag: str = "", **changed: str) -> Request:
    """Return a request of the phone. A keyword argument such as ``via`` or ``cseq`` replaces that whole header line."""
    return read(octets(method, *extra, body=body, to_tag=to_tag, **changed))


def read(data: bytes) -> Request:
    """Return the request that is read from ``data``."""
    message = parse(data)
    assert isinstance(message, Request)
    return message


def octets(method: str, *extra: str, body: str = "", to_tag: str = "", **changed: str) -> bytes:
    """Return the octets of a request. ``request`` explains the arguments."""
    lines = {
        "via": f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{method.lower()}1;rport",
        "from_": 'From: "Front desk" <sip:201@pbx.lan>;tag=1550288317',
        "to": f"To: <sip:123@192.168.1.100:5060>{';tag=' + to_tag if to_tag else ''}",
        "call_id": "Call-ID: 771203466-5062-14@BJC.BGI.B.FA",
        "cseq": f"CSeq: 130 {method}",
        "contact": "Contact: <sip:201@192.168.1.50:5062>",
        "max_forwards": "Max-Forwards: 70",
    }
    uri = changed.pop("uri", "sip:123@192.168.1.100:5060")
    lines.update(changed)
    content = body.replace("\n", "\r\n").encode()
    kind = (
        [] if not body or any(line.startswith("Content-Type") for line in extra) else ["Content-Type: application/sdp"]
    )
    head = [f"{method} {uri} SIP/2.0", *filter(None, lines.values()), *extra, *kind, f"Content-Length: {len(content)}"]
    return "\r\n".join([*head, "", ""]).encode() + content


def invite(*extra: str, body: str = OFFER, **changed: str) -> Request:
    return request("INVITE", *extra, body=body, **changed)


def reinvite(to_tag: str, number: int, body: str = OFFER) -> Request:
    """A re-INVITE; ``number`` is that of its CSeq."""
    via = f"Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKre{number};rport"
    return invite(body=body, to_tag=to_tag, via=via, cseq=f"CSeq: {number} INVITE")


def ack(to_tag: str, *extra: str, body: str = "", **changed: str) -> Request:
    via = "Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bKack2;rport"
    return request("ACK", *extra, body=body, to_tag=to_tag, **{"via": via, "cseq": "CSeq: 130 ACK", **changed})


def bye(to_tag: str, *extra: str, **changed: str) -> Request:
    return request("BYE", *extra, to_tag=to_tag, **{"cseq": "CSeq: 131 BYE", **changed})


def sent(actions: Iterable[Action]) -> list[Union[Request, Response]]:
    """Return the messages that ``actions`` send, parsed again."""
    messages = [parse(action.data) for action in actions if isinstance(action, Send)]
    assert None not in messages
    return [message for message in messages if message is not None]


def response(actions: Iterable[Action]) -> Response:
    """Return the last response that ``actions`` send."""
    return [message for message in sent(actions) if isinstance(message, Response)][-1]


def statuses(actions: Iterable[Action]) -> list[int]:
    """Return the statuses of the responses that ``actions`` send, in order."""
    return [message.status for message in sent(actions) if isinstance(message, Response)]


def methods(actions: Iterable[Action]) -> list[str]:
    """Return the methods of the server's requests that ``actions`` send, in order."""
    return [message.method for message in sent(actions) if isinstance(message, Request)]


def music(actions: Iterable[Action]) -> list[Union[StartStream, StopStream]]:
    """Return the actions that start or stop a stream, in order."""
    return [action for action in actions if isinstance(action, (StartStream, StopStream))]


def lookup(name: str, flow: Flow = FLOW, trust: Trust = Trust.TRUSTED) -> Resolve:
    """Return the action that looks up the host name ``name`` of a session description."""
    return Resolve(name, flow.remote.host, trust)


def notes(actions: Iterable[Action]) -> list[str]:
    return [action.text for action in actions if isinstance(action, Note)]


def tag(message: Union[Request, Response]) -> str:
    """Return the tag in the To of ``message``."""
    return (message.first("to") or "").partition(";tag=")[2]


def answered(agent: UserAgent, now: float = 0.0, flow: Flow = FLOW) -> str:
    """Make a call that is answered and acknowledged. Return the server's tag."""
    to_tag = tag(response(agent.receive(invite(), flow, now)))
    agent.receive(ack(to_tag), flow, now)
    return to_tag


def ok_to(own: Request) -> Response:
    """Return the phone's 200 to ``own``, a request of the server."""
    return answer_to(own, 200)


def answer_to(own: Request, status: int, *extra: str, body: str = "") -> Response:
    """Return the phone's response to ``own``, a request of the server."""
    lines = [f"SIP/2.0 {status} Whatever", *(f"Via: {value}" for value in own.all("via")), *extra]
    lines += [f"{name}: {own.first(name)}" for name in ("from", "to", "call-id", "cseq")]
    if body:
        lines.append("Content-Type: application/sdp")
    message = parse("\r\n".join([*lines, "", body.replace("\n", "\r\n")]).encode())
    assert isinstance(message, Response)
    return message
