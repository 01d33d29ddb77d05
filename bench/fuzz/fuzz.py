"""Mutated messages against the core, any number of them: ``python -m bench.fuzz --messages 1000000 --seed 7``.

The fuzzer has no socket and no server. It passes messages through ``moh.sip.parser.parse`` into a ``UserAgent``, as
``sip_server.py`` does, and its clock is a number. Callers make whole calls (``mutations.py``) from private and public
addresses, by UDP and TCP, so that a mutated message meets calls in all states. Streams end and names are resolved as in
the server. After each 10,000 messages the callers stop, and the clock runs on for 400 s: the rest. After the rest,
nothing of the calls may be left.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import hashlib
import random
import resource
import sys
import time
import traceback
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from bench.fuzz.mutations import FORGED, REAL, SERVER, WIRE, Caller, mutated
from moh.common.actions import Action, Fault, Flow, Resolve, Send, StartStream, StopStream
from moh.common.addresses import is_private
from moh.guard.media_policy import MediaPolicy
from moh.rtp.port_pool import PortPool
from moh.server.message_log import Redacted
from moh.sip.framing import PING, Framer
from moh.sip.identity import Identity
from moh.sip.limits import Limits
from moh.sip.names import MOST_MISSING
from moh.sip.parser import parse
from moh.sip.user_agent import UserAgent

INVARIANTS = """\
what has to hold:
- no exception is raised
- for each octet that comes by UDP, at most three leave towards public addresses without validation, and no music
- each line that leaves is a header field, of the server or copied whole from the message
- each call plays the default or the tune of a name; few names that are missing are remembered
- a stream is started with the next serial number, and stopped only while it plays
- after each 10,000 messages and a rest: no call, transaction, timer, pending name, port or stream is left
- at the end the process has no more memory than after the first tenth, apart from 4 MB of the allocator"""

ROUND, FACTOR = 10_000, 3
LONGEST_CALL = 120.0  # seconds
REST = 400.0
"""Seconds of the rest. They are enough for the longest call, its BYE and a slow end of its stream, and some more."""
GROWTH = 4.0
"""MB that the process may grow by, since the allocator cannot give back all that is free."""
REACHABLE = frozenset(flow.remote.host for flow in REAL)
"""Hosts that receive the answers to what they send."""


class Failure(Exception):
    """Raised when one of ``INVARIANTS`` does not hold."""


def check(holds: object, what: str) -> None:
    """Raise ``Failure(what)`` unless ``holds`` is true."""
    if not holds:
        raise Failure(what)


@dataclass
class Stream:
    """The stream that the server would play to one call."""

    serial: int
    ends: Optional[float]
    """The time at which the fuzzer reports the stream as ended; ``None`` if it plays on."""
    asked: bool = False
    """Whether the core has stopped the stream."""


class Slowest(NamedTuple):
    """The message that took the most processor time, in seconds."""

    seconds: float = 0.0
    data: bytes = b""


class Fuzz:
    """The agent, its callers, and a substitute for ``sip_server.py``. The same ``seed`` repeats the same run."""

    def __init__(self, seed: int) -> None:
        self._chance, tokens = random.Random(seed), random.Random(f"tokens {seed}")
        identity = Identity(
            new_token=lambda: f"{tokens.getrandbits(64):016x}",
            local_address=lambda host: "2001:db8::100" if ":" in host else SERVER.host,
            new_key=lambda: "K" * 40,
            secret=b"secret",
        )
        limits = Limits(longest_call=LONGEST_CALL, destinations=MediaPolicy(is_ours=lambda host: host == SERVER.host))
        self.agent = UserAgent(identity, PortPool(10000, 10021, most=8, shared=10020), limits)
        self.agent.music_ready(0, now=0.0)
        self.now = 0.0
        self._change_names()
        self.mutants = self.others = 0
        """The numbers of mutated messages and of unchanged messages that were sent."""
        self.data = b""  # the last message
        self.slowest = Slowest()
        self.answers = self.starts = self.most_calls = self._count = 0
        self.digest = hashlib.blake2b(digest_size=8)  # the hash of all messages: two equal runs have the same
        self._streams: dict[str, Stream] = {}
        self._resolving: dict[Resolve, float] = {}
        self._octets_in: dict[str, int] = {}
        self._octets_out: dict[str, int] = {}
        """Octets by host. ``_octets_in`` came by UDP from the host. ``_octets_out`` are the answers to its requests
        that went to public addresses without validation."""
        self._framers: dict[Flow, Framer] = {}
        self._callers: list[Caller] = []
        self._recent = [*WIRE]

    # -- one message -----------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Send one message, mutated or not, and advance the clock.

        Raises ``Failure``, or any exception that the core raises.
        """
        chance = self._chance
        caller = self._next_caller()
        data = caller.next_message() if chance.random() < 0.8 else chance.choice(self._recent)
        if chance.random() < (0.25 if caller.up else 0.5):
            self.others += 1
        else:
            self.mutants += 1
            data = mutated(chance, data, chance.choice(self._recent))
        position = chance.randrange(len(WIRE), 60)
        self._recent[position : position + 1] = [data]  # replaces an earlier message once there are 60
        flow = caller.flow if chance.random() < 0.95 else chance.choice(REAL)
        if flow.remote.host not in REACHABLE and any(call.encode() in data for call in self.agent.registry.calls):
            flow = chance.choice(REAL)  # a tag of the server would validate the forged address
        self._receive(data, flow)
        self._pass(chance.uniform(1.0, 40.0) if chance.random() < 0.0005 else chance.expovariate(50.0))

    def _next_caller(self) -> Caller:
        """Return one of thirty callers at random. A caller that has sent all its messages is replaced first."""
        chance = self._chance
        self._callers = [caller for caller in self._callers if caller.left]
        while len(self._callers) < 30:
            self._count += 1
            flow = chance.choice(REAL if chance.random() < 0.75 else FORGED)
            self._callers.append(Caller(chance, self._count, flow))
        return chance.choice(self._callers)

    def _receive(self, data: bytes, flow: Flow) -> None:
        """Handle ``data`` as the server does. Data that comes by TCP is first cut into messages."""
        self.data = data
        self.digest.update(data)
        if not flow.reliable:
            self._octets_in[flow.remote.host] = self._octets_in.get(flow.remote.host, 0) + len(data)
        for piece in self._cut(data, flow) if flow.reliable else [data]:
            began = time.thread_time()
            message = parse(piece)
            if message is not None:
                actions = self.agent.receive(message, flow, self.now)
                taken = time.thread_time() - began
                if taken > self.slowest.seconds:
                    self.slowest = Slowest(taken, piece)
                self._do(actions)
                if self._chance.random() < 0.001:
                    self._do(self.agent.refuse(message, flow, 500, "As after an unexpected error", self.now))
            str(Redacted(piece))
        self.most_calls = max(self.most_calls, len(self.agent.registry.calls))

    def _cut(self, data: bytes, flow: Flow) -> list[bytes]:
        framer = self._framers.setdefault(flow, Framer())
        at = self._chance.randrange(len(data) + 1)
        pieces = framer.feed(data[:at]) + framer.feed(data[at:])
        if framer.broken or self._chance.random() < 0.05:
            del self._framers[flow]  # the caller connects again
        return [piece for piece in pieces if piece != PING]

    # -- the substitute for sip_server.py --------------------------------------------------------------------------

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Fault):
                raise action.error
            if isinstance(action, Send):
                self._send(action)
            elif isinstance(action, StartStream):
                self._start(action)
            elif isinstance(action, StopStream):
                stream = self._streams.get(action.call)
                check(stream and not stream.asked, "a stream is stopped that does not play")
                self._streams[action.call].asked = True
                self._streams[action.call].ends = self.now + self._chance.uniform(0.0, 0.2)
            elif isinstance(action, Resolve):
                self._resolving[action] = self.now + self._chance.choice([0.01, 1.0, 3.0, 9.0])

    def _send(self, send: Send) -> None:
        self.answers += 1
        head, _, _ = send.data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        check(all(b":" in line and b"\n" not in line and b"\r" not in line for line in lines[1:]), f"sent {head!r}")
        message = parse(send.data)
        payer = send.flow.remote.host
        if not (send.flow.reliable or is_private(send.to.host) or send.to.host in REACHABLE):
            self._octets_out[payer] = gone = self._octets_out.get(payer, 0) + len(send.data)
            came = self._octets_in.get(payer, 0)
            check(gone <= FACTOR * came, f"{gone} octets to {send.to}, though {payer} sent {came}")
        if message is not None and payer in REACHABLE:
            call_id = message.first("call-id")
            for caller in self._callers:
                if caller.call_id == call_id:
                    caller.receive(message)

    def _start(self, start: StartStream) -> None:
        self.starts += 1
        former = self._streams.get(start.call)
        check(former is None or start.serial > former.serial, f"{start} is not the next after {former}")
        caller = self.agent.registry.calls[start.call].dialog.flow.remote.host
        check(start.tune in self.agent.tunes, f"tune {start.tune} is none that plays")
        check(caller in REACHABLE, f"music for {caller}, which is not validated")
        dies = self.now + self._chance.uniform(0.0, 60.0) if self._chance.random() < 0.1 else None
        self._streams[start.call] = Stream(start.serial, dies)

    def _change_names(self) -> None:
        """Give the agent other names and tunes, as after a change of the owner's folder."""
        names = {name: self._chance.choice([None, 1, 2, 3]) for name in ("jazz", "rock", "café", "..", "etc")}
        gone = self._chance.choice([*names, ""])
        self._do(self.agent.names_ready({name: tune for name, tune in names.items() if name != gone}, self.now))
        check(set(self.agent.names_wanted()) <= {*names}, "a name is wanted that is not there")
        check(len(self.agent.missing_names) <= MOST_MISSING, "more missing names than the table may hold")

    def _pass(self, seconds: float) -> None:
        """Advance the clock by ``seconds``, and do what is due by then."""
        self.now += seconds
        if (due := self.agent.next_due) is not None and due <= self.now:
            self._do(self.agent.tick(self.now))
        self.agent.tally.drain(self.now)
        if self._chance.random() < 0.001:
            self._change_names()
        for call, stream in list(self._streams.items()):
            if stream.ends is not None and stream.ends <= self.now:
                del self._streams[call]
                unreachable = self._chance.choice(["", "port unreachable"])
                self._do(self.agent.stream_gone(call, stream.serial, "ended", unreachable, now=self.now))
        for asked in [asked for asked, when in self._resolving.items() if when <= self.now]:
            del self._resolving[asked]
            if self._chance.random() < 0.5 or not self.agent.discard_unwanted(asked):
                address = self._chance.choice(["192.168.1.90", "203.0.113.4", "fd00::90", ""])
                self._do(self.agent.resolved(asked, address, self.now))

    def rest(self) -> None:
        """Run the clock on for ``REST`` seconds without messages. Raises ``Failure`` if anything of a call is left."""
        agent, guard, until = self.agent, self.agent.guard, self.now + REST
        while self.now < until and (agent.next_due is not None or self._streams or self._resolving):
            self._pass(0.5)
        kept: dict[str, Sized] = {
            **{name: range(size) for name, size in agent.table_sizes.items()},
            "ports": agent.registry.ports._taken, "sharing the stream": range(agent.registry.ports.sharing),
            "streams": self._streams, "unacknowledged": guard._unacknowledged,
            "unvalidated sources": guard._unvalidated, "sources with calls": guard._unacknowledged_of,
        }  # fmt: skip
        left = {name: len(table) for name, table in kept.items() if len(table)}
        check(not left, f"after {REST:.0f} s of rest there are still {left}")
        self._callers.clear()
        self._framers.clear()
        del self._recent[len(WIRE) :]  # long messages would count as growth of the memory


def memory() -> float:
    """Return the MB of memory of this process, without free memory in it; 0 if the system cannot give the number."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # the allocator's free memory must not count: it varies by megabytes
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except (AttributeError, OSError, TypeError):  # not glibc, or not Linux
        return 0.0


def run(messages: int, seed: int) -> int:
    """Send ``messages`` mutated messages and print the result. Return the exit status: 1 after a failure."""
    print(f"seed {seed}, {messages} mutated messages", flush=True)
    fuzz, began, before, after, garbage, rests = Fuzz(seed), time.monotonic(), 0.0, 0.0, 0, 0
    gc.collect()
    gc.disable()  # so that each rest can count the objects that only the collector finds
    try:
        while fuzz.mutants < messages:
            fuzz.step()
            if fuzz.mutants >= min((rests + 1) * ROUND, messages):
                fuzz.rest()
                rests += 1
                garbage += gc.collect()
                after = memory()
                if not before and fuzz.mutants >= messages / 10:
                    before = after
        check(after - before <= GROWTH, f"{after - before:.1f} MB more than after the first tenth")
    except Exception as failure:
        traceback.print_exc(file=sys.stdout)
        print(f"FAILED: {failure!r}\nseed {seed}, mutated message {fuzz.mutants}, the last message was\n{fuzz.data!r}")
        return 1
    finally:
        gc.enable()
    slowest, took = fuzz.slowest, time.monotonic() - began
    print(f"{fuzz.mutants} mutated messages and {fuzz.others} unchanged ones in {took:.0f} s")
    print(f"{fuzz.answers} messages sent, {fuzz.starts} streams, {fuzz.most_calls} calls at once, {rests} rests")
    print(f"memory after the first tenth {before:.1f} MB, at the end {after:.1f} MB; {garbage} objects in cycles")
    print(f"slowest: {slowest.seconds * 1000:.2f} ms of processor, {len(slowest.data)} octets: {slowest.data[:200]!r}")
    print(f"all messages: {fuzz.digest.hexdigest()}")
    return 0


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=INVARIANTS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000, help="number of mutated messages (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats a run; random by default")
    given = parser.parse_args()
    return run(given.messages, given.seed)
