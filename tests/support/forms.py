"""The two forms of the core: pure Python, and the compiled form in the folder ``COMPILED_CORE``."""

from __future__ import annotations

import pytest

from moh.server.compiled import is_compiled

pure_only = pytest.mark.skipif(is_compiled(), reason="compiled functions can be neither replaced nor traced")
"""For tests that replace a function of the core, or raise an exception at each of its calls."""
