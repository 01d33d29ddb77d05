"""Music on hold by SIP: all that can be right or wrong without a network.

The package is built in floors, and imports point down only (``tests/test_floors.py`` keeps this law):

- floor 0, words: ``errors``, ``timers``, ``addresses``, ``codecs``, ``actions``, ``tally``
- floor 1, octets to meaning and back: ``headers``, ``sdp``, ``message``, ``answer``, ``reply``, ``framing``, ``rtcp``
- floor 2, one exchange: ``screening``, ``identity``, ``transaction``, ``session_timer``, ``ports``,
  ``destinations``, ``guard``, ``turnstile``
- floor 3, one caller: ``media``, ``dialog``, ``call``
- floor 4, everybody: ``user_agent``
- beside the floors, for the shell only: ``config``, ``shown``, ``journal``; ``command``, ``runner``, ``filters``,
  ``mastering``, ``seam``, ``cache``, ``music``, ``watch`` make the music ready; ``stream``, ``starts``, ``player``,
  ``witness`` play it by ffmpeg, ``frames``, ``many``, ``inbox``, ``batch``, ``pacer``, ``broadcast`` to all who share a
  stream, ``engines`` by either, and ``doubts`` says who counts as gone; ``threads`` begins what memory may fail;
  ``network``, ``intake``, ``resolver``, ``connection``, ``tcp`` drive sockets

Floors 0 to 4 are the core: a message and a clock go in, a list of actions comes out. The core opens no socket,
sleeps never, starts no process and never reads the time; ``sip_server.py`` owns socket, threads, lock and clock.
"""

__version__ = "0.1.0"
