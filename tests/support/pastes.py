"""Messages as owners paste them: from our log, from capture programs, from PBXs and from mails."""

from __future__ import annotations

import json
from pathlib import Path

INVITE = (Path(__file__).parent.parent / "wire" / "dp750_invite.sip").read_bytes()
"""The INVITE of a Grandstream DP750, as it was on the wire."""
LINES = INVITE.decode().replace("\r\n", "\n").rstrip("\n").split("\n")


def decorated(before: str, *, first: str = "") -> str:
    """The message with ``before`` in front of each line."""
    return first + "".join(f"{before}{line}\n" for line in LINES)


OUR_LOG = (
    "2026-11-27 15:04:05,670 INFO    ready: sip:123@192.168.1.100:5060, music music.mp3, RTP ports 10000-10100\n"
    "2026-11-27 15:04:05,678 DEBUG   < from 192.168.1.50:5062 by UDP\n"
    + decorated("    ")
    + "2026-11-27 15:04:05,679 DEBUG   > to 192.168.1.50:5062 by UDP\n"
    "    SIP/2.0 180 Ringing\n    Via: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK1034718822;rport=5062\n"
)
OF_THE_DOCKER_LOG = "".join(f"moh-1  | {line}\n" for line in OUR_LOG.splitlines())
JSON_LOG = (
    json.dumps({"time": "2026-11-27T15:04:05.670+09:00", "level": "info", "message": "ready: sip:123@192.168.1.100"})
    + "\n"
    + json.dumps({"message": "< from 192.168.1.50:5062 by UDP", "source": "192.168.1.50:5062", "sip": "\n".join(LINES)})
    + "\n"
)
SNGREP = "2026/11/27 15:04:05.678901 192.168.1.50:5062 -> 192.168.1.100:5060\n" + decorated("") + "\n\n"
TCPDUMP = (
    "15:04:05.678901 IP 192.168.1.50.5062 > 192.168.1.100.5060: SIP: INVITE sip:123@192.168.1.100:5060 SIP/2.0\n"
    "E..~@.@.......2...d........" + "\n".join(LINES) + "\n"
)
SDP_NAMES = {"v": "Session Description Protocol Version", "o": "Owner/Creator, Session Id"}
WIRESHARK = (
    "Frame 1: 1000 bytes on wire (8000 bits), 1000 bytes captured (8000 bits)\n"
    "Internet Protocol Version 4, Src: 192.168.1.50, Dst: 192.168.1.100\n"
    "User Datagram Protocol, Src Port: 5062, Dst Port: 5060\n"
    "Session Initiation Protocol (INVITE)\n"
    f"    Request-Line: {LINES[0]}\n"
    "        Method: INVITE\n"
    "        Request-URI: sip:123@192.168.1.100:5060\n"
    "            Request-URI User Part: 123\n"
    "    Message Header\n"
    + "".join(f"        {line}\n            Some Part: of it\n" for line in LINES[1 : LINES.index("")])
    + "    Message Body\n"
    "        Session Description Protocol\n"
    + "".join(
        f"            {SDP_NAMES.get(line[0], 'Media Attribute')} ({line[0]}): {line[2:]}\n"
        "                A Part: of it\n"
        for line in LINES[LINES.index("") + 1 :]
    )
)
"""What ``tshark -V`` prints, and what Wireshark copies as text."""
ASTERISK = (
    "<--- SIP read from UDP:192.168.1.50:5062 --->\n"
    + decorated("")
    + "<------------->\n--- (16 headers 13 lines) ---\n"
)
FREESWITCH = (
    "recv 1012 bytes from udp/[192.168.1.50]:5062 at 15:04:05.678901:\n   " + "-" * 72 + "\n" + decorated("   ")
    + "   " + "-" * 72 + "\n"
)  # fmt: skip
FOLLOWED = (
    "\n===================================================================\nFollow: udp,ascii\n"
    "Filter: udp.stream eq 0\nNode 0: 192.168.1.50:5062\nNode 1: 192.168.1.100:5060\n922\n" + decorated("")
    + "\n\t251\nSIP/2.0 180 Ringing\nVia: x\n"
)  # fmt: skip
"""What ``tshark -z follow,udp,ascii,0`` prints."""
TRACEBACK = (
    "2026-11-27 15:04:05,678 ERROR   unexpected error in the server: a message from 192.168.1.50:5062: "
    + repr(INVITE)
    + "\nTraceback (most recent call last):\n"
)
PASTES: dict[str, bytes] = {
    "wire": INVITE,
    "LF": INVITE.replace(b"\r\n", b"\n"),
    "LF, without its last line end": INVITE.replace(b"\r\n", b"\n").rstrip(b"\n"),
    "CR": INVITE.replace(b"\r\n", b"\r"),
    "CRLF, without its last line end": INVITE[:-2],
    "empty lines around it": b"\r\n\n\n" + INVITE + b"\r\n\r\n",
    "a byte order mark": b"\xef\xbb\xbf" + INVITE,
    "UTF-16 of Notepad": b"\xff\xfe" + INVITE.decode().encode("utf-16-le"),
    "our log": OUR_LOG.encode(),
    "our log, without the spaces of its empty line": OUR_LOG.replace("\n    \n", "\n\n").encode(),
    "our log of a container": OF_THE_DOCKER_LOG.encode(),
    "our log of JSON": JSON_LOG.encode(),
    "our log of an error": TRACEBACK.encode(),
    "sngrep": SNGREP.encode(),
    "tcpdump -A": TCPDUMP.encode(),
    "Wireshark": WIRESHARK.encode(),
    "tshark that follows": FOLLOWED.encode(),
    "Asterisk": ASTERISK.encode(),
    "FreeSWITCH": FREESWITCH.encode(),
    "quoted in a mail": decorated("> ").encode(),
    "quoted twice": decorated("> > ").encode(),
    "quoted, empty line without a space": decorated("> ").replace("\n> \n", "\n>\n").encode(),
    "TAB before it": decorated("\t").encode(),
    "times before each line": "".join(f"15:04:0{n % 10}.{n:03d} {line}\n" for n, line in enumerate(LINES)).encode(),
    "line ends in letters": "".join(f"{line}\\r\\n\n" for line in LINES).encode(),
    "one line with line ends in letters": "\\r\\n".join(LINES).encode(),
    "a list of quoted lines": "".join(f'"{line}",\n' for line in LINES).encode(),
    "an empty line after each line": "".join(f"{line}\n\n" for line in LINES if line).encode(),
    "no empty line before the description": "\n".join(line for line in LINES if line).encode(),
    "words around it": b"Hello, my phone sends this:\n\n"
    + "\n".join(LINES).encode()
    + b"\n\nWhat is wrong?\n-- \nAnn\n",
    "an answer before it": b"SIP/2.0 200 OK\nVia: x\n\n" + "\n".join(LINES).encode(),
    "another request before it": b"OPTIONS sip:a SIP/2.0\nVia: x\n\n" + "\n".join(LINES).encode(),
}
"""The same INVITE in the forms in which it may be pasted."""
NAMES_ITS_SOURCE = frozenset(
    ("our log", "our log, without the spaces of its empty line", "our log of a container", "our log of JSON",
     "our log of an error", "sngrep", "tcpdump -A", "Wireshark", "tshark that follows", "Asterisk", "FreeSWITCH")
)  # fmt: skip
"""Those whose lines say from where it came."""
