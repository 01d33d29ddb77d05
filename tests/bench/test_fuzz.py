"""A short run of ``bench.fuzz``, and faults that it must find."""

from __future__ import annotations

import random

import pytest

from bench.fuzz import fuzz
from bench.fuzz.mutations import LONGEST, MUTATIONS, WIRE, mutated
from moh.guard.address_validation import AddressValidator
from moh.rtp.port_pool import PortPool
from moh.sip.requests import Requests

SEED = 7


def test_3000_mutated_messages_raise_no_exception_and_leave_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.run(3000, SEED) == 0, capsys.readouterr().out
    output = capsys.readouterr().out
    assert output.startswith(f"seed {SEED}, 3000 mutated messages\n3000 mutated messages and ")


def test_the_same_seed_gives_the_same_run() -> None:
    one, two, other = fuzz.Fuzz(SEED), fuzz.Fuzz(SEED), fuzz.Fuzz(SEED + 1)
    for run in (one, two, other):
        for _ in range(300):
            run.step()
    assert one.digest.digest() == two.digest.digest() != other.digest.digest()


def test_calls_get_as_far_as_music_and_name_resolution() -> None:
    run = fuzz.Fuzz(SEED)
    resolving = 0
    for _ in range(1500):
        run.step()
        resolving = max(resolving, len(run._resolving))
    assert run.starts and run.most_calls > 20 and resolving
    assert {reason.partition(" by ")[0] for reason in run.agent.tally.counts} >= {"ended", "INVITE 488", "BYE 481"}


def test_an_exception_is_printed_with_its_seed_number_and_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise IndexError("no such thing")

    monkeypatch.setattr(Requests, "_bye", fails)
    assert fuzz.run(3000, SEED) == 1
    output = capsys.readouterr().out
    assert f"FAILED: IndexError('no such thing')\nseed {SEED}, mutated message " in output
    assert "last message was\nb'BYE sip:" in output


def test_a_port_that_is_not_released_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PortPool, "release", lambda *_: None)
    assert fuzz.run(500, SEED) == 1
    assert "of rest there are still {'ports': " in capsys.readouterr().out


def test_more_than_three_octets_for_one_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(AddressValidator, "may_send", lambda *_: True)
    assert fuzz.run(3000, SEED) == 1
    assert "FAILED: Failure('" in (output := capsys.readouterr().out) and " octets to " in output


def test_no_mutated_message_is_longer_than_a_datagram_and_all_mutations_work() -> None:
    chance = random.Random(SEED)
    for mutation in MUTATIONS:
        for data in (*WIRE, b"\r\n", b"x"):
            for _ in range(20):
                assert isinstance(mutation(chance, data, chance.choice(WIRE)), bytes)
    mutants = [mutated(chance, chance.choice(WIRE), b"") for _ in range(500)]
    assert max(map(len, mutants)) <= LONGEST and len(set(mutants)) > 450
