"""What the health check is told beside the status of its OPTIONS. It asks from this machine; phones need not know."""

from __future__ import annotations

from ..common.actions import Flow
from ..guard.rate_limit import is_this_machine
from .message import Request
from .transaction import HeaderFields
from .writer import quoted


class Health:
    """What the owner has to mend, or has to wait for, although calls are answered."""

    trouble = ""
    """One line for the owner; empty if all is well."""

    def headers(self, request: Request, flow: Flow) -> HeaderFields:
        """The header fields that the answer to the OPTIONS ``request`` by ``flow`` has beside the usual ones.

        Warning 399 is for a person to read (RFC 3261 §20.43). It names the owner's file, so it does not leave this
        machine: a second Via says that a proxy here forwards the request, and takes the answer to another sender.
        """
        is_local = is_this_machine(flow.remote.host, flow.local.host) and len(request.listed("via")) == 1
        return [("Warning", f"399 moh {quoted(self.trouble)}")] if self.trouble and is_local else []
