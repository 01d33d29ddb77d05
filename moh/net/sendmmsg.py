"""One packet to many addresses by one system call: ``sendmmsg`` through ctypes. Its first octets may differ.

The C structures are made once. To add or remove a destination touches one slot; to send costs no Python work for each
address. Only one thread may use a table.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from typing import Any

from ..common.actions import Address
from .mmsg import CONTROL_HEADER, EACH, IPV4_NAME, NAME, Iovec, Mmsghdr, packed, system_call
from .sockets import leaving_from

MOST_SENT = 1024
"""Messages that the kernel takes by one call (UIO_MAXIOV)."""
FIRST_SLOTS = 8
"""Slots of a new table."""
GROWTH = 5
"""A full table is replaced by one that has so many times its slots."""
PARTS = 2
"""Parts of a packet: the prefix, and what all destinations get."""
TRIES = 3
"""Times that an address is tried, because the kernel reports an earlier packet's error to whichever call is next."""
NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)
"""Errors that concern all addresses: the kernel has no room for packets. To go on would delay all that follows."""
NOT_THIS_ADDRESS = (errno.ECONNREFUSED, errno.EINTR)
"""Errors that concern an earlier packet, or no address at all; any other may concern the address that is tried."""
SENDMMSG = system_call("sendmmsg")


def _copy(former: Any, header: Any) -> None:
    """Copy what a slot's ``struct msghdr`` points to, apart from the address."""
    header.control, header.control_length = former.control, former.control_length
    header.vector = former.vector


class DestinationTable:
    """The addresses that get the same packet, slot by slot without holes, as arrays of C structures.

    In front of the octets that all destinations share, each has a constant prefix: in memory there is one for each
    value, and the kernel puts the two parts together. So the number of different prefixes costs nothing to send.
    """

    def __init__(self, sock: socket.socket, octets: int) -> None:
        """``octets`` are those of each packet behind its prefix."""
        self._buffer = ctypes.create_string_buffer(octets)
        self.common = memoryview(self._buffer).cast("B")
        """What ``send`` sends behind each destination's prefix; the caller writes it before."""
        self.lost = 0
        """Packets that the kernel did not take."""
        self.no_route: list[int] = []
        """Slots for which the kernel found no route when it was last asked to send: no interface leads there."""
        self._fd = sock.fileno()
        self._family = sock.family
        self._count = 0
        self._slots = 0
        self._vectors: dict[bytes, tuple[Any, Any]] = {}
        """For each prefix both parts of the packet, and the memory that the first one points to."""
        self._controls: dict[str, Any] = {}
        self._names = memoryview(b"")
        self._headers: Any = ()
        self._allocate(FIRST_SLOTS)

    def _allocate(self, slots: int) -> None:
        """Replace the arrays by arrays of that many slots, and copy what the former ones hold."""
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
        """Fill the next slot: a destination, and the local address that its packets leave from, empty for any.

        Its packets begin with ``prefix``.
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
        """Clear a slot; the content of the last slot moves there."""
        last = self._count - 1
        if slot != last:
            self._names[slot * NAME : (slot + 1) * NAME] = self._names[last * NAME : (last + 1) * NAME]
            _copy(self._headers[last].header, self._headers[slot].header)
        self._count = last

    def _vector(self, prefix: bytes) -> int:
        """Address of the two ``struct iovec`` of a packet with that prefix."""
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
            ((level, kind, value),) = leaving_from(source, self._family)
            octets = struct.pack("@Nii", CONTROL_HEADER + len(value), level, kind) + value
            self._controls[source] = ctypes.create_string_buffer(octets, -(-len(octets) // 8) * 8)
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
