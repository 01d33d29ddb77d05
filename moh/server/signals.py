"""What signals ask of the server. A handler may take no lock, so it only leaves a mark for the serve loop.

The law kept here: from the first line of ``sip_server.py`` on, no signal that an owner sends is lost, and none ends the
process by itself. While the program is imported the kernel holds them back; ``Signals`` takes them from there.
"""

from __future__ import annotations

import signal

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def hold_signals() -> None:
    """Have the kernel keep all signals of ``HANDLED`` until there is a ``Signals`` that handles them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


class Signals:
    """What has been asked for and not been done yet."""

    def __init__(self) -> None:
        self.reload = False
        """The owner's file is to be prepared anew (SIGHUP)."""
        self.summary = False
        """The statistics are to be logged (SIGUSR1)."""
        self.stops = 0
        """How often the end was asked for (SIGTERM, SIGINT)."""

    def handle(self) -> None:
        """Handle all signals of ``HANDLED`` from now on, those that were held back first. For the main thread.

        To be called before another thread or process is started, which would hold back these signals for ever.
        """
        for number in HANDLED:
            signal.signal(number, self._mark)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def _mark(self, number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        elif number == signal.SIGUSR1:
            self.summary = True
        else:
            self.stops += 1
