"""One packet to many addresses by one system call: ``sendmmsg`` through ctypes (Linux), or a ``sendto`` each.

The C structures are made once. To join or to leave touches one slot; to send costs no Python work for an address. One
thread alone may use a table.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from typing import Any, Protocol

from ..common.actions import Address
from .sockets import destination, leaving_from, plain

MOST = 1024
"""Messages that the kernel takes at once (UIO_MAXIOV)."""
FIRST_SLOTS = 8
STUBBORN = 3
"""Times that an address is tried while errors of others, which the kernel reports to whoever sends next, come first."""
NO_ROOM = (errno.EAGAIN, errno.ENOBUFS)
"""What the kernel says where it takes no packet from anybody: to go on would hold up all that comes after."""
OF_OTHERS = (errno.ECONNREFUSED, errno.EINTR)
"""What it says of an address that it has sent a packet to before, or of none; any other error may be of this one."""


class Iovec(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    """``struct msghdr``."""

    _fields_ = [
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p), ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int),
    ]  # fmt: skip


class Mmsghdr(ctypes.Structure):
    """``struct mmsghdr``."""

    _fields_ = [("header", Msghdr), ("length", ctypes.c_uint32)]


NAME = 28
"""Octets of an address: those of IPv6."""
EACH = ctypes.sizeof(Mmsghdr)


def system_call(name: str, *more: Any, hold: bool = False) -> Any:
    """``sendmmsg`` or ``recvmmsg``, which has one argument ``more``, of the C library; ``None`` where there is none.

    ``hold``: without giving the interpreter's lock away, for what never waits.
    """
    if not sys.platform.startswith("linux"):
        return None
    call = getattr((ctypes.PyDLL if hold else ctypes.CDLL)(None, use_errno=True), name, None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, *more]
        call.restype = ctypes.c_int
    return call


SENDMMSG = system_call("sendmmsg")


class Table(Protocol):
    """The addresses of one batch, slot by slot without holes."""

    packet: memoryview
    """What ``send`` sends, to be written before."""
    lost: int
    """Packets that the kernel did not take."""
    astray: list[int]
    """Slots to which the packet sent last found no way: no interface of ours leads there."""

    def add(self, to: Address, leaving: str) -> None:
        """Fill the next slot: an address, and the address of ours that its packets leave from, empty for any."""

    def remove(self, slot: int) -> None:
        """Clear a slot; what stood in the last one moves there."""

    def send(self) -> None:
        """Send ``packet`` to all."""


def table(sock: socket.socket, octets: int) -> Table:
    """The best table that this system has, for packets of that many octets."""
    return DestinationTable(sock, octets) if SENDMMSG is not None else OneByOne(sock, octets)


class OneByOne:
    """A ``sendmsg`` for each address: where the system has nothing better, as macOS."""

    def __init__(self, sock: socket.socket, octets: int) -> None:
        self.packet = memoryview(bytearray(octets))
        self.lost = 0
        self.astray: list[int] = []
        self._sock = sock
        self._slots: list[tuple[Any, Any]] = []

    def add(self, to: Address, leaving: str) -> None:
        """See ``Table``."""
        family = self._sock.family
        self._slots.append((leaving_from(leaving, family) if leaving else [], destination(to, family)))

    def remove(self, slot: int) -> None:
        """See ``Table``."""
        self._slots[slot] = self._slots[-1]
        self._slots.pop()

    def send(self) -> None:
        """See ``Table``."""
        self.astray.clear()
        for slot, (ancillary, to) in enumerate(self._slots):
            for _ in range(STUBBORN):
                try:
                    self._sock.sendmsg([self.packet], ancillary, 0, to)
                    break
                except OSError as error:
                    why = error.errno
                    if why in NO_ROOM:
                        self.lost += len(self._slots) - slot
                        return
            else:
                self.lost += 1
                if why not in OF_OTHERS:
                    self.astray.append(slot)


class DestinationTable:
    """Arrays of C structures, of which the kernel reads as much as is filled."""

    def __init__(self, sock: socket.socket, octets: int) -> None:
        buffer = ctypes.create_string_buffer(octets)
        self.packet = memoryview(buffer).cast("B")
        self.lost = 0
        self.astray: list[int] = []
        self._fd = sock.fileno()
        self._family = sock.family
        self._count = 0
        self._slots = 0
        self._vector = Iovec(ctypes.addressof(buffer), octets)
        self._keep = buffer
        self._controls: dict[str, Any] = {}
        self._names = memoryview(b"")
        self._headers: Any = ()
        self._build(FIRST_SLOTS)

    def _build(self, slots: int) -> None:
        """Make room for so many, taking over what is there."""
        kept, headers = ctypes.create_string_buffer(NAME * slots), (Mmsghdr * slots)()
        names = memoryview(kept).cast("B")
        length = 16 if self._family == socket.AF_INET else NAME
        first, vector = ctypes.addressof(kept), ctypes.addressof(self._vector)
        for slot in range(slots):
            header = headers[slot].header
            header.name, header.name_length = first + NAME * slot, length
            header.vector, header.vectors = vector, 1
        for slot in range(self._count):
            header, former = headers[slot].header, self._headers[slot].header
            header.control, header.control_length = former.control, former.control_length
        names[: NAME * self._count] = self._names[: NAME * self._count]
        self._names, self._headers, self._slots = names, headers, slots
        self._start = ctypes.addressof(headers)

    def add(self, to: Address, leaving: str) -> None:
        """See ``Table``."""
        if self._count == self._slots:
            self._build(self._slots * 5)
        slot = self._count
        name = _packed(to, self._family)
        self._names[slot * NAME : slot * NAME + len(name)] = name
        header = self._headers[slot].header
        header.control, header.control_length = self._control(leaving)
        self._count += 1

    def remove(self, slot: int) -> None:
        """See ``Table``."""
        last = self._count - 1
        if slot != last:
            self._names[slot * NAME : (slot + 1) * NAME] = self._names[last * NAME : (last + 1) * NAME]
            header, former = self._headers[slot].header, self._headers[last].header
            header.control, header.control_length = former.control, former.control_length
        self._count = last

    def _control(self, leaving: str) -> tuple[int, int]:
        """Where the C structure is that makes a packet leave from there, and its octets."""
        if not leaving:
            return 0, 0
        if leaving not in self._controls:
            ((level, kind, value),) = leaving_from(leaving, self._family)
            octets = struct.pack("@Nii", CONTROL_HEADER + len(value), level, kind) + value
            self._controls[leaving] = ctypes.create_string_buffer(octets, -(-len(octets) // 8) * 8)
        kept = self._controls[leaving]
        return ctypes.addressof(kept), ctypes.sizeof(kept)

    def send(self) -> None:
        """See ``Table``. Nothing that one address brings about keeps the packet from the others."""
        self.astray.clear()
        done, count, tries = 0, self._count, 0
        while done < count:
            sent = SENDMMSG(self._fd, self._start + done * EACH, min(count - done, MOST), 0)
            if sent > 0:
                done, tries = done + sent, 0
                continue
            why = ctypes.get_errno()
            if why in NO_ROOM:
                self.lost += count - done
                return
            tries += 1
            if why != errno.EINTR and tries >= STUBBORN:
                if why not in OF_OTHERS:
                    self.astray.append(done)
                self.lost, done, tries = self.lost + 1, done + 1, 0


CONTROL_HEADER = struct.calcsize("@Nii")


def unpacked(name: bytes, family: int) -> Address:
    """The address in a C structure."""
    port = int.from_bytes(name[2:4], "big")
    if family == socket.AF_INET:
        return Address(socket.inet_ntoa(name[4:8]), port)
    return Address(plain(socket.inet_ntop(socket.AF_INET6, name[8:24])), port)


def _packed(to: Address, family: int) -> bytes:
    """The C structure of an address."""
    host, port = destination(to, family)
    if family == socket.AF_INET:
        return struct.pack("@H", family) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
    return struct.pack("@H", family) + struct.pack("!HI", port, 0) + socket.inet_pton(family, host) + bytes(4)
