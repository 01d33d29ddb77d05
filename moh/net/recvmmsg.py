"""Reads many datagrams by one system call, for the thread that reads SIP by UDP: ``recvmmsg`` through ctypes.

``recvmmsg`` is called without releasing the interpreter's lock, because a non-blocking socket never waits. ``recvmsg``
would release the lock for each datagram, and while workers are busy it takes half a millisecond to get the lock back.
In a flood the kernel's buffer would then overflow, and the kernel would drop the datagrams of all sources alike, before
the rate limiter can choose.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
from typing import NamedTuple

from ..common.actions import Address, Flow
from .mmsg import CONTROL_HEADER, EACH, NAME, Iovec, Mmsghdr, system_call, unpacked
from .sockets import local_address

MOST_READ = 64
"""Datagrams that one call reads at most."""
CONTROL = 256
"""Octets kept for the ancillary data of a datagram."""
MOST_FLOWS = 1024
"""Most sources whose ``Flow`` is kept. Before one more is added, all are dropped: a flood fills no memory."""
RECVMMSG = system_call("recvmmsg", ctypes.c_void_p, hold=True)


class Datagram(NamedTuple):
    """A datagram: its octets, and its source with the local address that it was sent to."""

    data: bytes
    flow: Flow
    arrived: float = 0.0
    """When it was read."""


class DatagramReader:
    """Arrays of C structures that the kernel fills, for one non-blocking socket and one thread."""

    def __init__(self, sock: socket.socket, octets: int, default: str) -> None:
        """``octets`` is the length of the longest datagram, ``default`` a local address where the kernel names none."""
        self._sock, self._octets, self._default = sock, octets, default
        self._port = sock.getsockname()[1]
        self._flows: dict[tuple[bytes, bytes], Flow] = {}
        names, controls = (ctypes.create_string_buffer(size * MOST_READ) for size in (NAME, CONTROL))
        data = mmap.mmap(-1, octets * MOST_READ)  # a page takes memory only once a datagram was written there
        first = ctypes.addressof(ctypes.c_char.from_buffer(data))
        self._vectors = (Iovec * MOST_READ)()
        self._headers = (Mmsghdr * MOST_READ)()
        for slot in range(MOST_READ):
            self._vectors[slot] = Iovec(first + octets * slot, octets)
            header = self._headers[slot].header
            header.name, header.name_length = ctypes.addressof(names) + NAME * slot, NAME
            header.vector, header.vectors = ctypes.addressof(self._vectors) + ctypes.sizeof(Iovec) * slot, 1
            header.control, header.control_length = ctypes.addressof(controls) + CONTROL * slot, CONTROL
        self._fresh = bytes(self._headers)
        self._data = memoryview(data)
        self._names, self._controls = (memoryview(each).cast("B") for each in (names, controls))

    def read(self, now: float = 0.0) -> list[Datagram]:
        """The waiting datagrams, at most ``MOST_READ``; an empty list where the kernel reports an error instead."""
        count = RECVMMSG(self._sock.fileno(), ctypes.addressof(self._headers), MOST_READ, 0, None)
        if count <= 0:
            return []
        datagrams = [self._datagram(slot, now) for slot in range(count)]
        ctypes.memmove(self._headers, self._fresh, EACH * count)  # the kernel has overwritten lengths in the headers
        return datagrams

    def _datagram(self, slot: int, now: float) -> Datagram:
        filled = self._headers[slot]
        data = bytes(self._data[slot * self._octets : slot * self._octets + filled.length])
        name = bytes(self._names[slot * NAME : slot * NAME + filled.header.name_length])
        control = bytes(self._controls[slot * CONTROL : slot * CONTROL + filled.header.control_length])
        flow = self._flows.get((name, control))
        if flow is None:
            if len(self._flows) >= MOST_FLOWS:
                self._flows.clear()
            flow = self._flows[name, control] = self._flow(name, control)
        return Datagram(data, flow, now)

    def _flow(self, name: bytes, control: bytes) -> Flow:
        ancillary = []
        if len(control) >= CONTROL_HEADER:  # the socket asks for one kind of ancillary data only
            length, level, kind = struct.unpack_from("@Nii", control)
            ancillary.append((level, kind, control[CONTROL_HEADER:length]))
        local = local_address(ancillary, self._default)
        return Flow(unpacked(name, self._sock.family), Address(local, self._port))
