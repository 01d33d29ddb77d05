"""Sends one packet to many addresses by one system call: ``sendmmsg`` through ctypes. The first octets may differ.

The C structures are made once. Adding or removing a destination changes one slot, and ``send`` runs no Python code for
each address. Only one thread may use a table.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from typing import Any

from ..common.actions import Address
from .mmsg import EACH, IPV4_NAME, NAME, Iovec, Mmsghdr, control_data, packed, system_call

MOST_SENT = 1024
"""Messages that the kernel takes by one call (UIO_MAXIOV)."""
FIRST_SLOTS = 8
"""Slots of a new table."""
GROWTH = 5
"""How many times more slots a table gets when it is full."""
PARTS = 2
"""Parts of a packet: the prefix, and what all destinations get."""
TRIES = 3
"""How often an address is tried. One error is not enough: the kernel may report the error of an earlier packet."""
NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)
"""Errors that concern all addresses: the kernel has no room for packets. Waiting for room would delay later packets."""
NOT_THIS_ADDRESS = (errno.ECONNREFUSED, errno.EINTR)
"""Errors that concern an earlier packet, or no address at all; any other may concern the address that is tried."""
SENDMMSG = system_call("sendmmsg")


def _copy(former: Any, header: Any) -> None:
    """Copy the pointers of one slot's ``struct msghdr`` to another slot, except the pointer to the address."""
    header.control, header.control_length = former.control, former.control_length
    header.vector = former.vector


class DestinationTable:
    """The addresses that get the same packet, slot by slot without holes, as arrays of C structures.

    A packet is the constant prefix of its destination and then the octets that all destinations share. Destinations
    with equal prefixes share one copy of it, and the kernel joins the two parts. So different prefixes do not slow
    ``send`` down.
    """

    def __init__(self, sock: socket.socket, octets: int) -> None:
        """``octets`` is the length of the shared part of a packet, behind the prefix."""
        self._buffer = ctypes.create_string_buffer(octets)
        self.common = memoryview(self._buffer).cast("B")
        """The shared part of the packet, behind each destination's prefix. The caller writes it before ``send``."""
        self.lost = 0
        """Packets that the kernel did not take."""
        self.no_route: list[int] = []
        """The slots for which the kernel found no route in the latest ``send``: no interface leads there."""
        self._fd = sock.fileno()
        self._family = sock.family
        self._count = 0
        self._slots = 0
        self._vectors: dict[bytes, tuple[Any, Any]] = {}
        """By prefix: the two ``struct iovec`` of a packet, and the memory that the first of them points to."""
        self._controls: dict[str, Any] = {}
        self._names = memoryview(b"")
        self._headers: Any = ()
        self._allocate(FIRST_SLOTS)

    def _allocate(self, slots: int) -> None:
        """Replace the arrays by arrays with ``slots`` slots, and copy the content of the former arrays."""
        kept, headers = ctypes.create_string_buffer(NAME * slots), (Mmsghdr * slots)()
        names = memoryview(kept).cast("B")
        length = IPV4_NAME if self._family == socket.AF_INET else NAME
        first = ctypes.addressof(kept)
        for slot in range(slots):
            header = headers[slot].header
            header.name, header.name_length = first + NAME * slot, length
            header.vectors = PARTS
        for slot in range(self._count):
            _copy(self._headers[slot].header, headers[slot].header)
        names[: NAME * self._count] = self._names[: NAME * self._count]
        self._names, self._headers, self._slots = names, headers, slots
        self._start = ctypes.addressof(headers)

    def add(self, to: Address, source: str, prefix: bytes = b"") -> None:
        """Put the destination ``to`` into the next slot. Its packets begin with ``prefix``.

        They leave from the local address ``source``; empty means any.
        """
        if self._count == self._slots:
            self._allocate(self._slots * GROWTH)
        slot = self._count
        name = packed(to, self._family)
        self._names[slot * NAME : slot * NAME + len(name)] = name
        header = self._headers[slot].header
        header.control, header.control_length = self._control(source)
        header.vector = self._vector(prefix)
        self._count += 1

    def remove(self, slot: int) -> None:
        """Remove the destination in ``slot``. The destination in the last slot moves there."""
        last = self._count - 1
        if slot != last:
            self._names[slot * NAME : (slot + 1) * NAME] = self._names[last * NAME : (last + 1) * NAME]
            _copy(self._headers[last].header, self._headers[slot].header)
        self._count = last

    def _vector(self, prefix: bytes) -> int:
        """Address of the two ``struct iovec`` of a packet that begins with ``prefix``."""
        if prefix not in self._vectors:
            kept = ctypes.create_string_buffer(prefix, len(prefix) or 1)
            parts = (Iovec * PARTS)(
                Iovec(ctypes.addressof(kept), len(prefix)),
                Iovec(ctypes.addressof(self._buffer), len(self._buffer)),
            )
            self._vectors[prefix] = (parts, kept)
        return ctypes.addressof(self._vectors[prefix][0])

    def _control(self, source: str) -> tuple[int, int]:
        """Address and length of the ancillary data (``struct cmsghdr``) that makes a packet leave from ``source``."""
        if not source:
            return 0, 0
        if source not in self._controls:
            self._controls[source] = control_data(source, self._family)
        kept = self._controls[source]
        return ctypes.addressof(kept), ctypes.sizeof(kept)

    def send(self) -> None:
        """Send a packet to all destinations. An error of one destination keeps the packet from no other."""
        self.no_route.clear()
        done, count, tries = 0, self._count, 0
        while done < count:
            sent = SENDMMSG(self._fd, self._start + done * EACH, min(count - done, MOST_SENT), 0)
            if sent > 0:
                done, tries = done + sent, 0
                continue
            why = ctypes.get_errno()
            if why in NO_ROOM:
                self.lost += count - done
                return
            tries += 1
            if why != errno.EINTR and tries >= TRIES:
                if why not in NOT_THIS_ADDRESS:
                    self.no_route.append(done)
                self.lost, done, tries = self.lost + 1, done + 1, 0
