"""End to end: the doctor's call to its own server."""

from __future__ import annotations

from moh.common.config import Settings
from moh.doctor.own_call import answer_of, candidates, own_call_findings
from moh.sip.validation import ALLOW
from tests.support.running import Running, free_ports


def settings_of(server: Running, **environment: str) -> Settings:
    return Settings.from_environment({"MOH_BIND": "127.0.0.1", "MOH_SIP_PORT": str(server.port), **environment})


def test_the_server_is_called_and_heard(own_server: Running) -> None:
    settings = settings_of(own_server)
    answer = answer_of(settings)
    assert answer is not None and answer.allow == ALLOW[1]
    (only,) = own_call_findings(settings, seconds=1.0)
    assert only.id in ("test-call", "test-call-uneven"), only  # a busy machine sends unevenly
    assert f"127.0.0.1:{own_server.port}" in only.values["address"]


def test_a_server_that_bars_this_machine_is_not_called(own_server: Running) -> None:
    for setting in ("MOH_ALLOW", "MOH_ALLOW_MEDIA"):
        (only,) = own_call_findings(settings_of(own_server, **{setting: "192.0.2.0/24"}))
        assert (only.id, only.values["setting"]) == ("test-call-barred", setting)


def test_without_a_server_there_is_no_answer() -> None:
    settings = Settings.from_environment({"MOH_BIND": "127.0.0.1", "MOH_SIP_PORT": str(free_ports(1))})
    assert answer_of(settings) is None
    (only,) = own_call_findings(settings, seconds=1.0)
    assert only.id == "test-call-refused"


def test_loopback_is_tried_where_the_server_listens_at_all_addresses() -> None:
    assert "127.0.0.1" in candidates(Settings())
    assert candidates(Settings.from_environment({"MOH_BIND": "127.0.0.2"})) == ["127.0.0.2"]
