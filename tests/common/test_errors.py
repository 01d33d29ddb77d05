"""The errors that the server answers with a SIP response."""

from __future__ import annotations

from moh.common.errors import Refusal


def test_a_refusal_has_what_its_response_needs() -> None:
    refusal = Refusal(420, "Extension is 'foo'", ("Unsupported", "foo"))
    assert (refusal.status, refusal.why, refusal.headers) == (420, "Extension is 'foo'", (("Unsupported", "foo"),))
    assert str(refusal) == "420 Extension is 'foo'"
