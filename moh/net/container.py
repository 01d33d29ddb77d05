"""Whether an address of this machine is one that a container engine gave it on a network of its own.

Other machines do not reach such an address: they reach the ports that are published on the machine that runs the
container. The facts: this process is in a container, and the address is on a virtual cable (veth) whose other end is in
another network namespace. A container on the host's network has the host's interfaces, and one on a macvlan or ipvlan
network has an address that phones reach. No function sends a packet.
"""

from __future__ import annotations

import array
import fcntl
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

MARKS = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")
"""Files and folders that Docker, Podman and Kubernetes put into each container."""
ENGINES = re.compile(r"docker|libpod|kubepods|containerd|containers/storage")
"""How the names of control groups and of the root's file system show an engine that leaves no mark."""
CGROUP, MOUNTS, IPV6_ADDRESSES = Path("/proc/self/cgroup"), Path("/proc/self/mountinfo"), Path("/proc/net/if_inet6")
INTERFACES = Path("/sys/class/net")
SIOCGIFADDR, SIOCETHTOOL, ETHTOOL_GDRVINFO = 0x8915, 0x8946, 3  # Linux' numbers
INTERFACE_REQUEST = struct.Struct("@16s24x")  # struct ifreq
SLIRP = ipaddress.ip_network("10.0.2.0/24")
"""The network of a rootless container (slirp4netns), which ends in a program and has a "tun" interface."""


@lru_cache(maxsize=64)
def is_behind_a_bridge(host: str) -> bool:
    """Whether ``host`` is an address of this container that only its engine's machine can reach."""
    return is_contained() and any(found == host and _is_virtual(name, host) for name, found in local_addresses())


def is_contained() -> bool:
    """Whether this process is in a container of Docker, Podman, containerd or Kubernetes."""
    if any(Path(mark).exists() for mark in MARKS) or "KUBERNETES_SERVICE_HOST" in os.environ:
        return True
    root = [line for line in _text(MOUNTS).splitlines() if line.split()[4:5] == ["/"]]
    return any(map(ENGINES.search, [_text(CGROUP), *root]))


def local_addresses() -> list[tuple[str, str]]:
    """Interface and address of this machine, IPv4 before IPv6; only the first IPv4 address of each interface."""
    return [*_ipv4_addresses(), *_ipv6_addresses()]


def _ipv4_addresses() -> Iterator[tuple[str, str]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                found = fcntl.ioctl(probe, SIOCGIFADDR, INTERFACE_REQUEST.pack(name.encode()))
            except OSError:  # an interface without an IPv4 address
                continue
            yield name, socket.inet_ntoa(found[20:24])


def _ipv6_addresses() -> Iterator[tuple[str, str]]:
    for line in _text(IPV6_ADDRESSES).splitlines():
        digits, *_, name = line.split()
        yield name, str(ipaddress.IPv6Address(int(digits, 16)))


def _is_virtual(interface: str, host: str) -> bool:
    """Whether ``interface`` leads to the engine's own network, and not to that of the machine."""
    kind = driver(interface)
    if kind == "tun":
        return ipaddress.ip_address(host) in SLIRP
    if kind not in ("veth", ""):
        return False
    # a namespace with a bridge is that of the host itself, so this address is no container's
    return _has_far_end(interface) and not any(INTERFACES.glob("*/bridge"))


def _has_far_end(interface: str) -> bool:
    """Whether the interface is linked to another one: that of a veth is in another network namespace."""
    ends = [_text(INTERFACES / interface / end).strip() for end in ("ifindex", "iflink")]
    return ends[0] != ends[1]


def driver(interface: str) -> str:
    """The kernel's driver of ``interface``, such as veth, tun, macvlan or virtio_net; empty where it is not known."""
    answer = array.array("B", struct.pack("@I", ETHTOOL_GDRVINFO) + bytes(192))  # struct ethtool_drvinfo
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            fcntl.ioctl(probe, SIOCETHTOOL, struct.pack("@16sP16x", interface.encode(), answer.buffer_info()[0]))
    except OSError:
        return ""
    return bytes(answer[4:36]).partition(b"\0")[0].decode("ascii", "replace")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
