"""A SIP message that has been read: a request or a response, with its header fields and body (RFC 3261 §7).

``parser`` reads messages from octets, ``writer`` writes octets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..common.errors import Refusal
from .headers import NO_PARAMS, CSeq, NameAddr, Uri, Via, members, split

Headers = list[tuple[str, str]]
NO_PARTY = NameAddr("", "")
"""From or To of a request without this header field."""
NO_VIA = Via("", "", "", None, NO_PARAMS, ())
"""Via of a request without Via."""
NO_CSEQ = CSeq(0, "")
"""CSeq of a message where it cannot be read."""


@dataclass
class Message:
    """The common part of requests and responses: header fields with long lower-case names, in order, and a body."""

    headers: Headers
    body: bytes
    _values: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _target_read: bool = field(init=False, repr=False, compare=False)
    _target_uri: Optional[Uri] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._target_read = False  # a default of the field would not reach the objects of a compiled class
        self._target_uri = None
        values = self._values
        for name, value in self.headers:
            if name in values:
                values[name].append(value)
            else:
                values[name] = [value]

    def first(self, name: str) -> Optional[str]:
        """The value of the first header field called ``name`` (long, lower case); ``None`` where there is none."""
        values = self._values.get(name)
        return None if values is None else values[0]

    def all(self, name: str) -> list[str]:
        """The values of all header fields called ``name``, one for each line."""
        return self._values.get(name, [])

    def listed(self, name: str) -> list[str]:
        """The values of a list header (Via, Route, Supported …), one for each member, empty members left out."""
        return [item for value in self.all(name) for item in split(value, ",") if item]

    def readable(self, name: str) -> list[str]:
        """The members of a list header, without those in lines that cannot be read."""
        values = self.all(name)
        return [*members(values[0])] if len(values) == 1 else [item for value in values for item in members(value)]

    def option_tags(self, name: str) -> set[str]:
        """The members of a list such as Require or Supported in lower case, since tokens have no case (§7.3.1)."""
        return {item.lower() for item in self.readable(name)} if name in self._values else set()

    def allows(self, method: str) -> bool:
        """Whether Allow names ``method``. Upper and lower case differ in methods (§7.1)."""
        return method in self.readable("allow")

    def contact(self) -> Optional[NameAddr]:
        """The first Contact: where the sender wants to get the next requests; ``None`` where there is none."""
        listed = self.listed("contact")
        return NameAddr.parse(listed[0]) if listed and listed[0] != "*" else None

    @property
    def target_uri(self) -> Optional[Uri]:
        """The URI in the first Contact. Raises ``Refusal`` 400 where it cannot be read."""
        if not self._target_read:
            contact = self.contact()
            self._target_uri = None if contact is None else Uri.parse(contact.uri)
            self._target_read = True
        return self._target_uri

    @property
    def target(self) -> Optional[str]:
        """The text of ``target_uri``."""
        uri = self.target_uri
        return None if uri is None else uri.text


@dataclass
class Request(Message):
    """A request as it came. ``fault`` says why it must be refused; such a request holds only what could be read.

    ``via`` is the top Via. ``from_``, ``to`` and ``cseq`` have been read as well, unless ``fault`` is about them. In a
    BYE, ACK or CANCEL no other header field is a fault: ``uri`` may be empty, and ``via`` may be unreadable.
    """

    method: str
    uri: str
    via: Via
    from_: NameAddr = NO_PARTY
    to: NameAddr = NO_PARTY
    cseq: CSeq = NO_CSEQ
    call_id: str = ""
    fault: Optional[Refusal] = None
    size: int = 0
    """Octets of the whole message as it came."""

    @property
    def parsed_uri(self) -> Uri:
        """The Request-URI in its parts; a request without a ``fault`` has one that can be read."""
        return Uri.parse(self.uri)


@dataclass
class Response(Message):
    """A response to a request that we have sent."""

    status: int
    reason: str
    via: Via
    cseq: CSeq
    size: int = 0
    """Octets of the whole message as it came."""
