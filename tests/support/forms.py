"""The two forms of the core: as it is written, and compiled, as ``COMPILED_CORE=FOLDER`` has it."""

from __future__ import annotations

import pytest

from moh.server.compiled import is_compiled

pure_only = pytest.mark.skipif(is_compiled(), reason="compiled functions can be neither replaced nor traced")
"""For tests that put another function in the place of one of the core, or raise an exception at each of its calls."""
