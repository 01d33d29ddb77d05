"""Whether an address is that of a container's own network: the facts of Docker, Podman, Kubernetes and of no container.

End to end where a real interface is asked for its driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moh.net import container
from moh.net.container import driver, is_behind_a_bridge, is_contained, local_addresses

NOWHERE = Path("/no/such/file")
BRIDGED = ["172.17.0.2", "192.168.96.2", "10.88.0.5", "10.244.1.7", "100.96.0.3", "fd00:dead::2"]
"""Docker, Docker with other pools, Podman, Kubernetes, Kubernetes of providers, IPv6."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine without a container. Its files are in the folder; a test changes them."""
    monkeypatch.setattr(container, "MARKS", (str(tmp_path / "mark"),))
    for name in ("CGROUP", "MOUNTS"):
        monkeypatch.setattr(container, name, tmp_path / name)
    monkeypatch.setattr(container, "INTERFACES", tmp_path / "net")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / "CGROUP").write_text("0::/system.slice/moh.service\n")
    (tmp_path / "MOUNTS").write_text(
        "22 1 8:1 / / rw - ext4 /dev/vda1 rw\n23 22 0:5 / /var/lib/docker/overlay2/x rw - overlay overlay rw\n"
    )
    is_behind_a_bridge.cache_clear()
    yield tmp_path
    is_behind_a_bridge.cache_clear()


def test_a_machine_that_runs_containers_is_none(machine: Path) -> None:
    assert not is_contained()


def test_a_mark_or_a_variable_shows_a_container(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert is_contained()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    (machine / "mark").touch()
    assert is_contained()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CGROUP", "11:pids:/docker/3f4a\n"),
        ("CGROUP", "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-3f4a.scope\n"),
        ("CGROUP", "9:devices:/machine.slice/libpod-3f4a.scope\n"),
        ("MOUNTS", "611 600 0:51 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/B\n"),
        ("MOUNTS", "611 600 0:51 / / rw - overlay overlay rw,lowerdir=/var/lib/containers/storage/overlay/l/A\n"),
        ("MOUNTS", "611 600 0:51 / / rw - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.x/1/fs\n"),
    ],
)
def test_an_engine_that_leaves_no_mark_shows_in_the_control_group_or_the_root(
    machine: Path, name: str, text: str
) -> None:
    (machine / name).write_text(text)
    assert is_contained()


def has(
    machine: Path, monkeypatch: pytest.MonkeyPatch, host: str, kind: str, link: str = "17", bridge: bool = False
) -> None:
    """Give the machine the address ``host`` on eth0, which has the driver ``kind``, number 5, and ``link`` as peer."""
    monkeypatch.setattr(container, "local_addresses", lambda: [("lo", "127.0.0.1"), ("eth0", host)])
    monkeypatch.setattr(container, "driver", lambda name: kind if name == "eth0" else "")
    for name, value in (("eth0/ifindex", "5"), ("eth0/iflink", link), ("lo/ifindex", "1"), ("lo/iflink", "1")):
        path = machine / "net" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    if bridge:
        (machine / "net" / "docker0" / "bridge").mkdir(parents=True)


@pytest.mark.parametrize("host", BRIDGED)
def test_any_network_of_an_engine_is_behind_a_bridge(machine: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    (machine / "mark").touch()
    has(machine, monkeypatch, host, "veth")
    assert is_behind_a_bridge(host)
    assert not is_behind_a_bridge("127.0.0.1") and not is_behind_a_bridge("192.168.1.9")


@pytest.mark.parametrize(
    ("host", "kind", "link", "bridge", "hidden"),
    [
        ("192.168.1.100", "virtio_net", "5", True, False),  # the host's network
        ("192.168.1.100", "r8169", "5", False, False),
        ("172.17.0.2", "macvlan", "17", False, False),  # a network card of its own in the phones' network
        ("192.168.1.100", "ipvlan", "17", False, False),
        ("192.168.1.100", "tun", "5", False, False),  # pasta: the container has the machine's address
        ("10.0.2.100", "tun", "5", False, True),  # slirp4netns
        ("192.168.1.100", "veth", "17", True, False),  # the host's network, where the host is a container of LXC
        ("172.17.0.2", "", "17", False, True),  # a kernel that does not say the driver
        ("172.17.0.2", "", "5", False, False),
    ],
)
def test_an_address_that_phones_reach_is_not_behind_a_bridge(
    machine: Path, monkeypatch: pytest.MonkeyPatch, host: str, kind: str, link: str, bridge: bool, hidden: bool
) -> None:
    (machine / "mark").touch()
    has(machine, monkeypatch, host, kind, link, bridge)
    assert is_behind_a_bridge(host) is hidden


def test_without_a_container_a_virtual_cable_is_no_bridge(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a network namespace or in a container of LXC, whose address phones reach."""
    has(machine, monkeypatch, "192.168.1.100", "veth")
    assert not is_behind_a_bridge("192.168.1.100")


def test_local_addresses_lists_each_address_with_its_interface() -> None:
    assert ("lo", "127.0.0.1") in local_addresses()
    assert not is_behind_a_bridge("127.0.0.1")
    assert driver("lo") == "" and driver("no-such-card") == ""


def test_files_that_cannot_be_read_show_nothing(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CGROUP", "MOUNTS", "IPV6_ADDRESSES"):
        monkeypatch.setattr(container, name, NOWHERE)
    assert not is_contained()
    assert ("lo", "127.0.0.1") in local_addresses()
