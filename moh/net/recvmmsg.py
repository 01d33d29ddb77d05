"""Many datagrams by one system call, for the loop that reads SIP: ``recvmmsg`` through ctypes (Linux).

The interpreter's lock is kept meanwhile, since the socket never waits. With ``recvmsg`` each datagram gives it away,
and beside busy workers it takes half a millisecond to come back each time: so a flood fills the kernel's buffer, and
there everybody's datagrams are lost alike, before the gate can choose.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
from typing import NamedTuple

from .sendmmsg import CONTROL_HEADER, EACH, NAME, Iovec, Mmsghdr, system_call, unpacked
from .sockets import local_address

MOST = 64
"""Datagrams that are read at once."""
CONTROL = 256
RECVMMSG = system_call("recvmmsg", ctypes.c_void_p, hold=True)


class Datagram(NamedTuple):
    """A datagram: its octets, the address of ours that it came to, and where it came from."""

    data: bytes
    local: str
    client: tuple[str, int]


class DatagramReader:
    """Arrays of C structures that the kernel fills, for one socket that does not block and one thread."""

    def __init__(self, sock: socket.socket, octets: int, default: str) -> None:
        """``octets`` are those of the longest datagram, ``default`` is our address where the kernel tells none."""
        self._sock, self._octets, self._default = sock, octets, default
        names, controls = ctypes.create_string_buffer(NAME * MOST), ctypes.create_string_buffer(CONTROL * MOST)
        data = mmap.mmap(-1, octets * MOST)  # of which only what is ever filled takes memory
        first = ctypes.addressof(ctypes.c_char.from_buffer(data))
        self._vectors = (Iovec * MOST)()
        self._headers = (Mmsghdr * MOST)()
        for slot in range(MOST):
            self._vectors[slot] = Iovec(first + octets * slot, octets)
            header = self._headers[slot].header
            header.name, header.name_length = ctypes.addressof(names) + NAME * slot, NAME
            header.vector, header.vectors = ctypes.addressof(self._vectors) + ctypes.sizeof(Iovec) * slot, 1
            header.control, header.control_length = ctypes.addressof(controls) + CONTROL * slot, CONTROL
        self._fresh = bytes(self._headers)
        self._data = memoryview(data)
        self._names, self._controls = (memoryview(each).cast("B") for each in (names, controls))

    def read(self) -> list[Datagram]:
        """What is there, ``MOST`` at once; nothing where nothing is, or where the network tells of an error."""
        got = RECVMMSG(self._sock.fileno(), ctypes.addressof(self._headers), MOST, 0, None)
        if got <= 0:
            return []
        came = [self._one(slot) for slot in range(got)]
        ctypes.memmove(self._headers, self._fresh, EACH * got)  # the kernel has written lengths into it
        return came

    def _one(self, slot: int) -> Datagram:
        filled = self._headers[slot]
        data = bytes(self._data[slot * self._octets : slot * self._octets + filled.length])
        control = self._controls[slot * CONTROL : slot * CONTROL + filled.header.control_length]
        ancillary = []
        if len(control) >= CONTROL_HEADER:  # one at the most is asked for
            length, level, kind = struct.unpack_from("@Nii", control)
            ancillary.append((level, kind, bytes(control[CONTROL_HEADER:length])))
        client = unpacked(bytes(self._names[slot * NAME : (slot + 1) * NAME]), self._sock.family)
        return Datagram(data, local_address(ancillary, self._default), (client.host, client.port))
