"""The torture tests of RFC 4475 and RFC 5118, and samples of the PROTOS suite: each message gets a fitting answer.

The messages are not part of this project. The environment variable ``MOH_TORTURE`` names their folder; without it the
folder is ``shared/torture`` beside the project. ``MANIFEST.tsv`` in it has the expected answer to each message. Without
the folder all tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moh.common.actions import Address, Flow, Send
from moh.common.codecs import CODECS
from moh.common.config import Settings
from moh.server.explain import ACCEPTED, UNREADABLE, explain
from moh.server.explain_texts import ENGLISH
from moh.server.machine import this_machine
from moh.sip.message import Response
from moh.sip.parser import parse
from tests.support.ladder import make_agent, request, statuses

FOLDER = Path(os.environ.get("MOH_TORTURE") or Path(__file__).parents[3] / "shared" / "torture")
MANIFEST = FOLDER / "MANIFEST.tsv"
ROWS = [row.split("\t") for row in MANIFEST.read_text("utf-8").splitlines()[1:]] if MANIFEST.is_file() else []

needs_messages = pytest.mark.skipif(
    not ROWS, reason=f"NO TORTURE TESTS: {MANIFEST} is missing; set MOH_TORTURE to their folder"
)


def octets(name: str) -> bytes:
    """Return a message of the folder with CRLF at the end of each line.

    The files of RFC 5118 have bare LF, so their ends of lines and their Content-Length are rewritten.
    """
    data = (FOLDER / name).read_bytes()
    if not name.startswith("rfc5118/"):
        return data
    head, _, body = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    body = body.replace(b"\n", b"\r\n")
    lines = [line for line in head.strip(b"\n").split(b"\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def fits(status: str, expected: str) -> bool:
    """Return whether ``status`` (a number, or ``none``) is one of the answers in ``expected``.

    ``expected`` is a list in MANIFEST.tsv, such as ``2xx|404|~400``. Its mark ``~`` is ignored.
    """
    wanted = expected.replace("~", "").split("|")
    return status in wanted or f"{status[0]}xx" in wanted


FLOW = Flow(Address("127.0.0.1", 5062), Address("127.0.0.1", 5060))
"""The messages come from the server's own machine, since those of PROTOS ask for media there."""


@needs_messages
@pytest.mark.parametrize(("name", "expected"), [(row[0], row[2]) for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_message_gets_the_expected_answer(name: str, expected: str) -> None:
    agent = make_agent()
    message = parse(octets(name))
    actions = agent.receive(message, FLOW, now=0.0) if message is not None else []
    answers = [action.data for action in actions if isinstance(action, Send)]
    final = answers[-1].split(b" ", 2)[1].decode() if answers else "none"
    assert fits(final, expected), f"{final}, expected {expected}: {answers[-1:]!r}"
    for answer in answers:
        again = parse(answer)
        if name != "rfc4475/insuf.dat" and again is None:
            assert b"CSeq" in answer, f"only an unreadable CSeq may make an answer unreadable: {answer!r}"
        assert again is None or isinstance(again, Response)


@needs_messages
@pytest.mark.parametrize(("name", "expected"), [(row[0], row[2]) for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_message_is_explained_as_it_is_answered(name: str, expected: str) -> None:
    """A BYE is explained as one within a call, since a caller does not paste what has gone before."""
    explained = explain(octets(name), Settings(), CODECS, this_machine())
    text = " ".join(sentence.text(ENGLISH) for sentence in explained.said)
    if explained.status == UNREADABLE:
        assert "none" in expected or octets(name).startswith((b"ACK", b"SIP/"))
    elif explained.status == ACCEPTED:
        assert "The server answers 200" in text and ("2xx" in expected or "no INVITE but BYE" in text)
    else:
        assert "200 OK" not in text and expected != "2xx"


@needs_messages
def test_the_messages_leave_no_state_behind() -> None:
    agent = make_agent()
    for row in ROWS:
        message = parse(octets(row[0]))
        if message is not None:
            agent.receive(message, FLOW, now=0.0)
    assert statuses(agent.receive(request("OPTIONS"), FLOW, now=1.0)) == [200]
    agent.close(0.0, now=1.0)
    for call in list(agent.registry.calls.values()):
        agent.stream_gone(call.id, 1, "ended", now=1.0)
    for second in range(2, 140):
        agent.tick(now=second / 2)
    assert agent.idle and not agent.registry.ports._taken
    assert not any(agent.table_sizes.values())
