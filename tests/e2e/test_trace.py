"""End to end: the trace of a real server, read by tshark, Wireshark's program for the terminal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conftest import StartServer
from tests.e2e.test_tcp import Line, call_over
from tests.support.capture import packets
from tests.support.peers import program
from tests.support.phone import Ear, Phone, offer
from tests.support.running import Running, free_ports

KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
FIELDS = ("ip.src", "udp.srcport", "ip.dst", "udp.dstport", "sip.Status-Code", "sip.Method", "_ws.malformed")


def dissected(path: Path) -> list[tuple[str, ...]]:
    """What tshark finds in each packet: addresses, ports, status of an answer, method. Checksums are verified."""
    command = [program("tshark", "tshark"), "-r", str(path), "-o", "udp.check_checksum:TRUE", "-o",
               "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=;", "-e", "ip.checksum.status",
               "-e", "udp.checksum.status", *(word for field in FIELDS for word in ("-e", field))]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rows = [tuple(line.split(";")) for line in ran.stdout.splitlines()]
    assert all(row[:2] == ("1", "1") for row in rows), "the checksums are right"
    return [row[2:] for row in rows]


def stop(server: Running) -> None:
    server.terminate()
    assert server.exit_status() == 0, server.log


def test_tshark_shows_a_call_with_its_real_addresses(start_server: StartServer, held: Ear, tmp_path: Path) -> None:
    path = tmp_path / "moh.pcapng"
    server = start_server(MOH_TRACE=str(path)).ready()
    with Phone(server.address) as phone:
        crypto = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"
        secured = offer(held.address, crypto, "a=recvonly").replace("RTP/AVP", "RTP/SAVP")
        answer = phone.call_with(secured)
        held.raw()
        phone.bye()
        there, here = (phone.address[0], str(phone.address[1])), ("127.0.0.1", str(server.port))
    stop(server)
    ours = answer.body.partition("inline:")[2][:40]
    octets = path.read_bytes()
    assert len(ours) == 40 and ours.encode() not in octets and KEY.encode() not in octets
    assert dissected(path) == [
        (*there, *here, "", "INVITE", ""),
        (*here, *there, "180", "", ""),
        (*here, *there, "200", "", ""),
        (*there, *here, "", "ACK", ""),
        (*there, *here, "", "BYE", ""),
        (*here, *there, "200", "", ""),
    ]


def test_sngrep_finds_each_message(start_server: StartServer, held: Ear, tmp_path: Path) -> None:
    """It writes those packets that it takes for SIP into another file."""
    path, found = tmp_path / "moh.pcapng", tmp_path / "found.pcap"
    sngrep = program("sngrep", "sngrep")
    server = start_server(MOH_TRACE=str(path)).ready()
    with Phone(server.address) as phone:
        phone.call(held.address)
        phone.bye()
    stop(server)
    subprocess.run([sngrep, "-N", "-q", "-I", str(path), "-O", str(found)], timeout=60, check=True, capture_output=True)
    assert len(packets(path)) == 6 and found.read_bytes().count(b"Call-ID: ") == 6


def test_messages_by_tcp_and_tls_are_shown_decrypted(start_server: StartServer, held: Ear, tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme", reason="needs trustme: pip install -r requirements-dev.txt")
    cert = tmp_path / "cert.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(cert))
    path = tmp_path / "moh.pcapng"
    tls_port = free_ports(1)
    server = start_server(MOH_TRACE=str(path), MOH_TLS_CERT=str(cert), MOH_TLS_PORT=str(tls_port)).ready()
    for transport, port in (("TCP", server.port), ("TLS", tls_port)):
        with Phone(server.address) as phone, Line(("127.0.0.1", port), tls=transport == "TLS") as line:
            call_over(line, transport, phone, held.address)
            line.send(phone.request("BYE"))
            assert line.receive().status == 200
    stop(server)
    found = dissected(path)
    assert [(row[4], row[5]) for row in found] == 2 * [
        ("", "INVITE"), ("180", ""), ("200", ""), ("", "ACK"), ("", "BYE"), ("200", ""),
    ]  # fmt: skip
    assert [row[3] for row in found if row[5] == "INVITE"] == [str(server.port), str(tls_port)]
    comments = {each.options[1].decode() for each in packets(path)}
    assert comments == {"SIP by TCP, shown as UDP", "SIP by TLS, shown as UDP"}


def test_the_trace_of_one_phone_has_no_other(start_server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "moh.pcapng"
    server = start_server(MOH_TRACE=f"{path},127.0.0.3", MOH_ALLOW="127.0.0.1,127.0.0.2").ready()
    for host in ("127.0.0.1", "127.0.0.2"):
        with Phone(server.address, host) as phone:
            assert phone.options().status == 200
    with Phone(server.address, "127.0.0.3") as phone:
        phone.send(phone.request("INVITE"))
        server.says("rejected a datagram from 127.0.0.3: not in MOH_ALLOW")
    stop(server)
    (found,) = packets(path)
    assert found.source[0] == "127.0.0.3" and found.options[1] == b"SIP by UDP; rejected: not in MOH_ALLOW"


@pytest.mark.parametrize("path", ["/dev/full", "/no/such/folder/moh.pcapng", "{folder}"])
def test_a_trace_that_cannot_be_written_costs_no_call(
    start_server: StartServer, held: Ear, tmp_path: Path, path: str
) -> None:
    server = start_server(MOH_TRACE=path.format(folder=tmp_path)).ready()
    with Phone(server.address) as phone:
        phone.call(held.address)
        assert held.packets(5)
        phone.bye()
    server.says("the trace (MOH_TRACE) cannot be written to ")
    stop(server)
    assert server.log.count("cannot be written") == 1 and "Traceback" not in server.log
