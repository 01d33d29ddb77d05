"""SIP messages as the log and the trace show them: without the keys of SRTP.

The law kept here: a reader of the log or the trace cannot decrypt a call (RFC 4568 §6.1). So a key is left out in any
form in which a phone may have written it: folded, cut into lines, or without the word ``inline``.
"""

from __future__ import annotations

import logging
import re

from ..common.actions import Address

KEY = re.compile(
    rb"""
    (?P<kept>
        (?<![^\r\n\0]) [ \t]* a[ \t]*=[ \t]*crypto[ \t]*:       # RFC 4568: a=crypto:1 SUITE inline:KEY
            [ \t]* (?:(?!inline)[^\s\0])+ (?:[\r\n]*[ \t]+) (?:(?!inline)[^\s\0])+ (?:[\r\n]*[ \t]+)
            (?:inline[^\w;,=]*:)?
      | inline[^\w;,=]*:
      | (?<![^\r\n\0]) [ \t]* a[ \t]*=[ \t]*key-mgmt[ \t]*:     # RFC 4567: a=key-mgmt:mikey KEY
      | (?<![^\r\n\0]) [ \t]* k[ \t]*=                          # RFC 8866 section 5.12: k=base64:KEY
    )
    (?P<key>
        [^\r\n\0]*
        (?:  # further lines of it: all that begin neither a line of SDP, nor a header field, nor a part of a multipart
            [\r\n\0]{1,4} (?! [\r\n\0] | [ \t]*(?-i:[a-z])[ \t]*= | -- | [\w-]+[ \t]*: ) [^\r\n\0]+
        )*
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
HINTS = (b"inline", b"crypto", b"key-mgmt")
K_LINE = re.compile(rb"k[ \t]*=")
"""What a message with a key has, in lower case. To look for these takes a tenth of the time."""
OF_KEY = re.compile(rb"[^\s\0]")
"""What is overwritten in a key; the line ends stay, so that the message keeps its lines."""

log = logging.getLogger("moh")


def without_keys(data: bytes) -> bytes:
    """``data`` with an ``x`` in the place of each character of a key. Its length stays, so Content-Length is right."""
    if not _may_have_key(data):
        return data
    return KEY.sub(lambda found: found["kept"] + OF_KEY.sub(b"x", found["key"]), data)


def _may_have_key(data: bytes) -> bool:
    lower = data.lower()
    return any(hint in lower for hint in HINTS) or K_LINE.search(lower) is not None


class Redacted:
    """A SIP message for the ``%s`` of a log line, with indented lines. It is formatted only if the line is written.

    Characters that would control a terminal are escaped.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __str__(self) -> str:
        return "".join("\n    " + line for line in self.lines)

    @property
    def lines(self) -> list[str]:
        """The lines of the message, without those that are empty at its end."""
        data = self._data
        if _may_have_key(data):
            data = KEY.sub(lambda found: found["kept"] + b"(a key)" if found["key"].strip() else found[0], data)
        text = data.decode("utf-8", "backslashreplace").rstrip("\r\n").replace("\r\n", "\n")
        return [line if line.isprintable() else repr(line) for line in text.split("\n")]


def log_message(direction: str, remote: Address, transport: str, data: bytes) -> None:
    """Log a SIP message at the level ``debug``; at any other level this costs next to nothing."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug(f"{direction} %s by %s%s", remote, transport, Redacted(data))
