"""End to end: with ``MOH_LOG_FORMAT=json`` each line of a real server is a JSON object, also at ``debug``."""

from __future__ import annotations

import json
from typing import Any

from conftest import StartServer
from tests.support.phone import Ear, Phone
from tests.support.running import Running, free_ports


def objects(server: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.splitlines()]


def test_each_line_is_an_object(start_server: StartServer, held: Ear) -> None:
    server = start_server(MOH_LOG_FORMAT="json", MOH_ALLOW="127.0.0.1", MOH_HTTP=str(free_ports(1))).ready()
    with Phone(server.address) as phone, Phone(server.address, "127.0.0.9") as other:
        phone.call(held.address)
        held.packets(1)
        phone.bye()
        other.send(other.request("REGISTER"))
        server.says("not in MOH_ALLOW")
    server.terminate()
    assert server.exit_status() == 0
    found = objects(server)
    assert all({"time", "level", "message"} <= each.keys() for each in found)
    levels = {each["level"] for each in found}
    assert {"debug", "info", "warning"} <= levels <= {"debug", "info", "warning", "error"}
    (answered,) = (each for each in found if each["message"].startswith("answered "))
    (ended,) = (each for each in found if each["message"].startswith("ended after "))
    source = f"{phone.address[0]}:{phone.address[1]}"
    assert answered["call"] == ended["call"] and answered["source"] == ended["source"] == source
    (rejected,) = (each for each in found if each["message"].startswith("rejected a datagram"))
    assert rejected["source"] == "127.0.0.9" and rejected["level"] == "warning"
    sip = [each["sip"].partition("\n")[0] for each in found if "sip" in each]
    assert [line for line in sip if "INVITE" in line or "BYE" in line] == [
        f"INVITE {phone.uri} SIP/2.0", f"BYE {phone.uri} SIP/2.0",
    ]  # fmt: skip


def test_a_start_that_fails_says_so_in_an_object(start_server: StartServer) -> None:
    server = start_server(MOH_LOG_FORMAT="json", MOH_LOUDNESS="loud")
    assert server.exit_status() == 1
    (line,) = objects(server)
    assert line["message"].startswith("MOH_LOUDNESS is 'loud'; expected LUFS") and line["level"] == "error"


def test_a_taken_port_is_named_in_an_object(start_server: StartServer) -> None:
    first = start_server().ready()
    second = start_server(MOH_LOG_FORMAT="json", MOH_SIP_PORT=str(first.port))
    assert second.exit_status() == 1
    assert objects(second)[-1]["message"].startswith("Cannot listen on MOH_BIND")
