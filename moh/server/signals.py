"""The signals that the owner sends. A handler may take no lock, so it only leaves a mark for the main thread.

The law kept here: from the first line of ``sip_server.py`` on, no signal that an owner sends is lost, and none ends the
process by itself. The kernel holds signals back while the program is imported; ``Signals`` handles them afterwards.
"""

from __future__ import annotations

import signal

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def hold_signals() -> None:
    """Have the kernel keep all signals of ``HANDLED`` until there is a ``Signals`` that handles them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def release_signals() -> None:
    """Have signals end the program again, as they end any other."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


class Signals:
    """The marks that the signals left. The main thread clears ``reload`` and ``summary`` when it acts on them."""

    def __init__(self) -> None:
        self.reload = False
        """Whether the music is to be prepared anew (SIGHUP)."""
        self.summary = False
        """Whether the statistics are to be logged (SIGUSR1)."""
        self.drains = False
        """Whether the server is to take no more calls for now; each SIGUSR2 changes it."""
        self.stops = 0
        """How often a signal has asked the server to stop (SIGTERM, SIGINT)."""

    def handle(self) -> None:
        """Handle all signals of ``HANDLED`` from now on; signals that were held back come first.

        Only the main thread may call this, before any other thread or process is started: a thread or process that was
        started earlier holds back these signals for ever. The ffmpeg that lists its encoders may: it ends by itself.
        """
        for number in HANDLED:
            signal.signal(number, self._mark)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def _mark(self, number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        elif number == signal.SIGUSR1:
            self.summary = True
        elif number == signal.SIGUSR2:
            self.drains = not self.drains
        else:
            self.stops += 1
