"""Music on hold by SIP: all that can be right or wrong without a network.

The package is built in floors, and imports point down only (``tests/test_floors.py`` keeps this law):

- floor 0, words: ``errors``, ``actions``, ``timers``, ``addresses``, ``codecs``
- floor 1, octets to meaning and back: ``headers``, ``message``, ``reply``, ``sdp``, ``ports``
- floor 2, one exchange: ``screening``, ``identity``, ``transaction``
- floor 3, one caller: ``dialog``, ``call``
- floor 4, everybody: ``user_agent``
- beside the floors, for the shell only: ``config``, ``music``, ``stream``

Floors 0 to 4 are the core: a message and a clock go in, a list of actions comes out. The core opens no socket,
sleeps never, starts no process and never reads the time; ``sip_server.py`` owns socket, threads, lock and clock.
"""

__version__ = "0.1.0"
