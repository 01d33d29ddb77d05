"""What the health check is told beside the status of its OPTIONS. It asks from this machine; phones need not know."""

from __future__ import annotations

from ..common.actions import Flow
from ..guard.rate_limit import is_this_machine
from .transaction import HeaderFields
from .writer import quoted


class Health:
    """What the owner has to mend although calls are answered."""

    trouble = ""
    """One line for the owner; empty if all is well."""

    def headers(self, flow: Flow) -> HeaderFields:
        """The header fields that the answer to an OPTIONS by ``flow`` has beside the usual ones.

        Warning 399 is for a person to read (RFC 3261 §20.43). It names the owner's file, so only this machine gets it.
        """
        if self.trouble and is_this_machine(flow.remote.host, flow.local.host):
            return [("Warning", f"399 moh {quoted(self.trouble)}")]
        return []
