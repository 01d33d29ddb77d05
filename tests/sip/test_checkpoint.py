"""A checkpoint of a call undoes what a turn has changed in the call and in its media session."""

from __future__ import annotations

from moh.sip.call import Call
from moh.sip.checkpoint import CALL, MEDIA_SESSION, checkpoint, restore
from tests.support.ladder import answered, make_agent


def state(call: Call) -> list[object]:
    return [getattr(call, name) for name in CALL] + [getattr(call.media, name) for name in MEDIA_SESSION]


def test_restore_undoes_all_changes_since_the_checkpoint() -> None:
    agent = make_agent()
    call = agent.registry.calls[answered(agent)]
    before, former = state(call), checkpoint(call)
    assert call.media.playing
    call.hang_up("a test", "a test", 5.0)
    assert call.ended and not call.media.playing and state(call) != before
    restore(call, former)
    assert not call.ended and call.media.playing and state(call) == before
