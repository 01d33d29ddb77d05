"""Sends datagrams to different addresses by one system call: ``sendmmsg`` through ctypes.

The socket is non-blocking, so a call never waits: a full send buffer loses the datagram. The interpreter's lock is
released only for more than ``FEW`` datagrams: while other threads compute, it takes half a millisecond to get the lock
back, ten times as long as to send one or two datagrams.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple, Optional

from ..common.actions import Address
from .mmsg import EACH, IPV4_NAME, NAME, Mmsghdr, control_data, packed, system_call

MOST_AT_ONCE = 64
"""Most datagrams of one system call."""
FEW = 3
"""Most datagrams that are sent without releasing the interpreter's lock: one message has no more answers."""
MOST_SOURCES = 64
"""Local addresses whose ancillary data is remembered; a machine has few of its own."""
HOLDING, RELEASING = system_call("sendmmsg", hold=True), system_call("sendmmsg")
"""``sendmmsg`` that keeps the interpreter's lock, and ``sendmmsg`` that releases it."""


class Outgoing(NamedTuple):
    """A datagram: its octets, where it goes, and the local address that it leaves from."""

    data: bytes
    to: Address
    source: str


class _Octets(ctypes.Structure):
    """``struct iovec`` whose octets are a Python object, which it keeps alive."""

    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class DatagramSender:
    """Arrays of C structures for one non-blocking socket. One thread at a time may call ``send``."""

    def __init__(self, sock: socket.socket) -> None:
        self._fd, self._family = sock.fileno(), sock.family
        self._names = ctypes.create_string_buffer(NAME * MOST_AT_ONCE)
        self._vectors = (_Octets * MOST_AT_ONCE)()
        self._headers = (Mmsghdr * MOST_AT_ONCE)()
        # the objects of all slots are made once: ctypes makes a new one at each access
        self._vectors_of = [self._vectors[slot] for slot in range(MOST_AT_ONCE)]
        self._headers_of = [self._headers[slot].header for slot in range(MOST_AT_ONCE)]
        self._name_addresses = [ctypes.addressof(self._names) + NAME * slot for slot in range(MOST_AT_ONCE)]
        self._starts = [ctypes.addressof(self._headers) + EACH * slot for slot in range(MOST_AT_ONCE)]
        self._controls: dict[str, Optional[ctypes.Array[ctypes.c_char]]] = {}
        self._control_of: list[Optional[ctypes.Array[ctypes.c_char]]] = [None] * MOST_AT_ONCE
        length = IPV4_NAME if self._family == socket.AF_INET else NAME
        for slot, header in enumerate(self._headers_of):
            header.name, header.name_length = self._name_addresses[slot], length
            header.vector, header.vectors = ctypes.addressof(self._vectors_of[slot]), 1

    def send(self, datagrams: Sequence[Outgoing]) -> list[tuple[Outgoing, str]]:
        """Send ``datagrams`` in their order. Return those that the kernel did not take, each with the error's text."""
        refused: list[tuple[Outgoing, str]] = []
        filled: list[Outgoing] = []
        for datagram in datagrams:
            try:
                self._fill(len(filled), datagram)
            except OSError as error:  # the host is no address of this socket's family
                refused.append((datagram, error.strerror or str(error)))
                continue
            filled.append(datagram)
            if len(filled) == MOST_AT_ONCE:
                self._send(filled, refused)
                filled = []
        self._send(filled, refused)
        return refused

    def _send(self, datagrams: Sequence[Outgoing], refused: list[tuple[Outgoing, str]]) -> None:
        """Send the datagrams whose slots are filled. An error of one does not keep the others from leaving."""
        done, count = 0, len(datagrams)
        sendmmsg = HOLDING if count <= FEW else RELEASING
        while done < count:
            sent = sendmmsg(self._fd, self._starts[done], count - done, 0)
            if sent > 0:
                done += sent
                continue
            error = ctypes.get_errno()
            if error != errno.EINTR:
                refused.append((datagrams[done], os.strerror(error)))
                done += 1

    def _fill(self, slot: int, datagram: Outgoing) -> None:
        header, vector = self._headers_of[slot], self._vectors_of[slot]
        name = packed(datagram.to, self._family)
        control = self._control_of[slot] = self._control(datagram.source)
        header.control = None if control is None else ctypes.addressof(control)
        header.control_length = 0 if control is None else ctypes.sizeof(control)
        ctypes.memmove(self._name_addresses[slot], name, len(name))
        vector.base, vector.length = datagram.data, len(datagram.data)

    def _control(self, source: str) -> Optional[ctypes.Array[ctypes.c_char]]:
        """The ancillary data that makes a datagram leave from ``source``; ``None`` for any address."""
        if source not in self._controls:
            if len(self._controls) >= MOST_SOURCES:
                self._controls.clear()
            self._controls[source] = control_data(source, self._family)
        return self._controls[source]
