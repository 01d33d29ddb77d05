"""What ``sendmmsg`` and ``recvmmsg`` share: their C structures, and addresses as the kernel writes them (Linux)."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Any, Optional

from ..common.actions import Address
from .sockets import destination, leaving_from, plain


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


EACH = ctypes.sizeof(Mmsghdr)
"""Octets from one ``Mmsghdr`` of an array to the next."""
NAME = 28
"""Octets of the longest address: ``struct sockaddr_in6``."""
IPV4_NAME = 16
"""Octets of ``struct sockaddr_in``."""
CONTROL_HEADER = struct.calcsize("@Nii")
"""Octets of ``struct cmsghdr``, which precedes ancillary data."""


def system_call(name: str, *more: Any, hold: bool = False) -> Any:
    """``sendmmsg`` or ``recvmmsg`` of the C library; ``more`` is the type of the fifth argument of ``recvmmsg``.

    ``hold`` keeps the interpreter's lock during the call, for calls that never wait.
    """
    call = getattr((ctypes.PyDLL if hold else ctypes.CDLL)(None, use_errno=True), name, None)
    if call is None:
        raise ImportError(f"the C library has no {name}; expected that of Linux")
    call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, *more]
    call.restype = ctypes.c_int
    return call


def packed(to: Address, family: int) -> bytes:
    """``to`` as a ``struct sockaddr`` for a socket of ``family``."""
    host, port = destination(to, family)
    if family == socket.AF_INET:
        return struct.pack("@H", family) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
    return struct.pack("@H", family) + struct.pack("!HI", port, 0) + socket.inet_pton(family, host) + bytes(4)


def control_data(source: str, family: int) -> Optional[ctypes.Array[ctypes.c_char]]:
    """Ancillary data (``struct cmsghdr``) that makes a packet leave from ``source``; ``None`` for any address."""
    octets = b"".join(
        struct.pack("@Nii", CONTROL_HEADER + len(value), level, kind) + value
        for level, kind, value in leaving_from(source, family)
    )
    return ctypes.create_string_buffer(octets, -(-len(octets) // 8) * 8) if octets else None


def unpacked(name: bytes, family: int) -> Address:
    """The address in ``name``, a ``struct sockaddr`` of ``family``."""
    port = int.from_bytes(name[2:4], "big")
    if family == socket.AF_INET:
        return Address(socket.inet_ntoa(name[4:8]), port)
    return Address(plain(socket.inet_ntop(socket.AF_INET6, name[8:24])), port)
