"""What this machine says of addresses, for ``--explain``; a test has a machine of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..common.config import Settings
from ..guard.media_policy import MediaPolicy
from ..net.container import is_behind_a_bridge
from ..net.routes import address_on_the_network, is_broadcast, is_ours, local_address_towards
from ..transport.resolver import look_up
from .wiring import media_policy


@dataclass(frozen=True)
class Machine:
    """What is asked of a machine and its networks."""

    is_ours: Callable[[str], bool]
    is_broadcast: Callable[[str], bool]
    is_behind_a_bridge: Callable[[str], bool]
    local_address: Callable[[str], str]
    """The local address from which a packet to a host would leave; empty without a route."""
    look_up: Callable[[str, int], str]
    """The address of a name, of this IP version; empty where it has none."""
    address_on_the_network: Callable[[], str]

    def own_address(self, towards: str) -> str:
        """The local address that a host would reach; one that other networks reach where there is no route."""
        return self.local_address(towards) or self.address_on_the_network()

    def media_policy(self, settings: Settings) -> MediaPolicy:
        """The media policy of a server with these settings on this machine."""
        return replace(media_policy(settings), is_ours=self.is_ours, is_broadcast=self.is_broadcast)


def this_machine() -> Machine:
    """The machine that this program runs on."""
    return Machine(is_ours, is_broadcast, is_behind_a_bridge, local_address_towards, look_up, address_on_the_network)
