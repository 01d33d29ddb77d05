"""``python -m bench.playing burst|calls|engines|names|page|rate|start``."""

import sys

from bench.common.command_line import Choice, choose
from bench.playing import burst, calls, engines, names, page, rate, start

CHOICES = {
    "burst": Choice("what 50 calls at once do to their callers and to 1,000 listeners", burst.main),
    "calls": Choice("what a call with an ffmpeg of its own costs, and how its packets come", calls.main),
    "engines": Choice("what the shared stream costs with thousands of callers, beside a sender in C", engines.main),
    "names": Choice("what 1,000 files that appear in the music folder do to 1,000 callers", names.main),
    "page": Choice("what 20 open pages and a scrape each second do to 1,000 callers of the shared stream", page.main),
    "rate": Choice("how many calls a second the server takes from one PBX, and what one costs; needs SIPp", rate.main),
    "start": Choice("how long the server takes from its start to the first 200, and to music", start.main),
}

sys.exit(choose("python -m bench.playing", "Measure how music is played, on this machine alone.", CHOICES))
