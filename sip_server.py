#!/usr/bin/env python3
"""The music-on-hold server: the sockets, threads, lock and clock that the core in ``moh.sip`` needs.

The main thread reads datagrams (``socketserver``) and hands them to workers, which parse them. Under one lock the core
decides what to do, and the worker does it: send a message, start or stop a stream. Nothing under the lock waits. The
main thread calls ``service_actions`` at least every ``POLL`` seconds, and there handles timers, ended streams, new
music, resolved names and signals.

A call in short: INVITE, 180, 200, an ffmpeg or the shared stream that plays to the address in the SDP, BYE, silence.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # hold signals back during all other imports, which take most of the time of a start
    from moh.server.signals import hold_signals

    hold_signals()
    from moh.server.compiled import use_compiled_core

    use_compiled_core()  # before anything imports a module of the core
    from moh.server.beginning import begin

    asked = begin()

import logging
import math
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Optional, Union

from moh.common.actions import Action, Flow, Resolve, StartStream, StreamBegan, StreamEnded
from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.common.faults import FaultLog
from moh.common.tunes import Tunes
from moh.ffmpeg.launch import EncoderQuery
from moh.guard.address_validation import AddressValidator
from moh.guard.allowances import Allowances
from moh.guard.rate_limit import TOO_SHORT, RateLimiter
from moh.net.recvmmsg import MOST_READ, Datagram, DatagramReader
from moh.net.sockets import ask_for_local_address, family_of
from moh.server.compiled import core_fault
from moh.server.engines import Engines
from moh.server.load import LoadMeter
from moh.server.log_format import complaint
from moh.server.log_handler import start_log
from moh.server.message_log import log_message, without_keys
from moh.server.music import MusicSources
from moh.server.observers import Observers
from moh.server.outbox import Outbox
from moh.server.performer import Performer, Turn
from moh.server.signals import Signals
from moh.server.state import State
from moh.server.statistics import Statistics
from moh.server.stream_limit import StreamLimit
from moh.server.time_zone import time_zone_fault
from moh.server.tuning import IdleCollector, raise_descriptor_limit, steady_interpreter
from moh.server.wiring import available_codecs, binding, listen, open_shared_stream, user_agent
from moh.server.workers import Workers
from moh.sip.message import Request, Response
from moh.sip.parser import MAX_DATAGRAM, parse
from moh.sip.user_agent import UNEXPECTED
from moh.transport.resolver import Resolver
from moh.transport.tcp import TcpServer

POLL = 0.05
"""Longest time in seconds between two calls of ``service_actions``; a tenth of SIP's shortest timer."""
READ_EVERY = 0.002
"""Shortest time in seconds between two reads of the socket. At a thousand datagrams a second a read brings several, and
they pass from thread to thread together; a datagram that comes alone never waits."""
SERVICE_EVERY = 0.005
"""Shortest time in seconds after which ``service_actions`` does its work again, however many datagrams come."""
STOP_GRACE = 2.0
"""Seconds at the end in which the server's BYEs may be answered; Docker gives the server ten seconds to end."""
SOCKET_BUFFER = 1 << 21
"""Octets that the kernel may hold for the UDP socket, in each direction: a burst of a thousand large messages."""

log = logging.getLogger("moh")


class Stopped(Exception):
    """Raised to leave the serve loop: no calls remain, or the drain time is over."""


class SipServer(socketserver.UDPServer):
    """Threaded SIP over UDP, TCP and TLS. ``lock`` guards ``agent``, the core, and the order of its actions."""

    max_packet_size = MAX_DATAGRAM

    def __init__(
        self, settings: Settings, signals: Optional[Signals] = None, asked: Optional[EncoderQuery] = None
    ) -> None:
        codecs = available_codecs(asked)
        self.address_family = family_of(settings.bind)
        super().__init__((settings.bind, settings.sip_port), socketserver.BaseRequestHandler, bind_and_activate=False)
        self._settings = settings
        allowances = Allowances(settings.allow, settings.call_rate)
        validator = AddressValidator(allowances)
        self.limiter = RateLimiter(allowances, validator.is_host_validated, time.monotonic())
        self.stream_limit = StreamLimit(allowances)
        self.tcp: list[TcpServer] = []
        try:
            with binding(settings, "UDP"):
                self.server_bind()  # a port in use raises here, before any thread exists
            limits = self.limiter.allows, self.stream_limit.delay
            listen(settings, self.tcp, self.handle_message, self._connections_in_use, *limits)
            tunes = Tunes()
            shared = open_shared_stream(settings, tunes)
            self.observers = Observers(settings)
        except BaseException:
            self._close_sockets()
            raise
        self.lock = threading.Lock()
        self.agent = user_agent(settings, codecs, shared, validator)
        self.engines = Engines(tunes, shared)
        self.music = MusicSources(settings, self.agent, self.lock, self._drive_safely, self.engines)
        self.resolver = Resolver(self._discard_unwanted)
        self.workers = Workers(lambda datagrams, source: self.handle_messages(datagrams))
        self.faults = FaultLog("the server")
        outbox = Outbox(self.socket, self.tcp, self.agent.tally, self.observers.trace)
        self._performer = Performer(outbox, self.engines, self.resolver, self.faults, self._stream_gone)
        self._turn = Turn(self.lock, self._performer)
        faults = [self.faults, self.workers.faults, *self.music.faults, self.resolver.faults, *self.engines.faults]
        faults += [server.faults for server in self.tcp] + [self.observers.faults]
        parts = self.agent, self.lock, self.limiter, self.stream_limit, self.workers, self.engines, self.tcp, faults
        self.statistics = Statistics(*parts)
        state = State(settings, codecs, self.statistics, self.music.now_playing, library=self.music.library)
        self.observers.begin(state)
        self.observers.watch(state, codecs[0], self.statistics, self.music.now_playing)
        self.load = LoadMeter(settings.busy_at, self.engines.ffmpegs.pids)
        self._collector = IdleCollector()
        self._service_at = 0.0
        self._read_at = 0.0
        self._began: list[StreamBegan] = []  # these and the next: those that the core does not know of yet
        self._ended_streams: list[StreamEnded] = []
        self._signals = signals or Signals()
        self._stops_handled = 0
        self._stop_at: Optional[float] = None

    # -- reading: the main thread ----------------------------------------------------------------------------------

    def server_bind(self) -> None:
        """Bind the socket, and have the kernel report for each datagram which local address it was sent to."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        # datagrams that wait for a neighbour's hardware address also occupy this buffer, up to 200 KB of it
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        ask_for_local_address(self.socket)
        self.socket.setblocking(False)  # a full send buffer loses a datagram, and no thread waits for it
        super().server_bind()
        self._reader = DatagramReader(self.socket, MAX_DATAGRAM, str(self.server_address[0]))

    def get_request(self) -> tuple[Any, Any]:
        """Read the datagrams that have arrived: a turn of ``socketserver`` for each of them would take longer."""
        wait = self._read_at + READ_EVERY - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        datagrams = self._reader.read(time.monotonic())
        if not datagrams:
            raise BlockingIOError  # ``socketserver`` ignores it
        # after a full read more datagrams wait, and the kernel's buffer may overflow
        self._read_at = time.monotonic() if len(datagrams) < MOST_READ else 0.0
        return datagrams, datagrams[0].flow.remote

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give datagrams to the workers of their sources."""
        now = time.monotonic()
        try:
            for datagram in request:
                self._dispatch(datagram, now)
        finally:
            self.workers.wake()

    def _dispatch(self, datagram: Datagram, now: float) -> None:
        """Give a datagram to its source's worker, unless the rate limiter rejects it by source and first octets."""
        (host, _), local = datagram.flow.remote, datagram.flow.local.host
        if reason := self.limiter.refusal(host, datagram.data, now, local):
            if reason != TOO_SHORT and self.limiter.tally.count_and_should_log(reason, host, now):
                log.warning("rejected a datagram from %s: %s", host, reason)
                self.observers.note_received(datagram.data, datagram.flow, f"rejected: {reason}")
            return
        self.workers.submit(datagram, self.limiter.is_known(host, now, local))

    # -- deciding: the workers, and a thread for each connection ---------------------------------------------------

    def handle_message(self, data: bytes, flow: Flow) -> None:
        """Handle one message that came by ``flow``, in any thread."""
        self.handle_messages([Datagram(data, flow, time.monotonic())])

    def handle_messages(self, arrived: Sequence[Datagram]) -> None:
        """Handle messages in their order, in any thread: parse all without the lock, then hold it once for all.

        An exception costs its own message only.
        """
        parsed = []
        for datagram in arrived:
            data, flow, _ = datagram
            try:
                log_message("< from", flow.remote, flow.transport, data)
                self.observers.note_received(data, flow)
                message = parse(data)
            except Exception as error:
                self._report(error, datagram)
                continue
            if message is not None:
                parsed.append((message, datagram))
        if not parsed:
            return
        history = self.statistics.history
        arrivals: list[float] = []
        with self._turn:
            for message, datagram in parsed:
                answered = history.answered
                try:
                    self._performer.perform(self.agent.receive(message, datagram.flow, now=time.monotonic()))
                    if history.answered > answered:
                        arrivals.append(datagram.arrived)
                except Exception as error:
                    self._report(error, datagram)
                    self._refuse(message, datagram)
        if arrivals:
            self.statistics.note_set_up(arrivals, time.monotonic())

    def _refuse(self, message: Union[Request, Response], datagram: Datagram) -> None:
        try:
            refusal = self.agent.refuse(message, datagram.flow, 500, UNEXPECTED, now=time.monotonic())
            self._performer.perform(refusal)
        except Exception as error:
            self._report(error, datagram)

    def _report(self, error: Exception, datagram: Datagram) -> None:
        about = f"a message from {datagram.flow.remote}: {without_keys(datagram.data)[:2000]!r}"
        self.faults.report(error, time.monotonic(), about)

    def drive(self, step: Callable[..., list[Action]], *args: Any) -> None:
        """Have the core take one step, and perform its actions. One lock covers both: no stop overtakes its start."""
        with self._turn:
            self._performer.perform(step(*args, now=time.monotonic()))

    def _stream_gone(self, order: StartStream, why: str) -> list[Action]:
        return self.agent.stream_gone(order.call, order.serial, why, now=time.monotonic())

    def _connections_in_use(self) -> set[int]:
        with self.lock:
            return self.agent.connections

    def _discard_unwanted(self, asked: Resolve) -> bool:
        with self.lock:
            return self.agent.discard_unwanted(asked)

    # -- time: the main thread -------------------------------------------------------------------------------------

    def service_actions(self) -> None:
        """Handle timers, ended streams, resolved names, new music and signals.

        ``socketserver`` calls this after each turn of its loop; the work is done once in ``SERVICE_EVERY`` seconds at
        most. Some attributes of ``agent`` are read without the lock: each such read is one step, which no other thread
        can interrupt.
        """
        now = time.monotonic()
        if now < self._service_at:
            return
        self._service_at = now + SERVICE_EVERY
        with self.lock:  # ``next_due`` removes old entries of the schedule
            due = self.agent.next_due
        if due is not None and due <= now:
            self._drive_safely(self.agent.tick)
        ended, self._ended_streams = [*self._ended_streams, *self.engines.ended()], []
        for stream in ended:
            if not self._drive_safely(self.agent.stream_gone, *stream):
                self._ended_streams.append(stream)  # otherwise its call would keep its port for ever
        self._began += self.engines.began()
        if self._began and self._drive_safely(self.agent.streams_began, self._began):
            self._began = []  # otherwise these calls would count as starting to their ends
        if senders := self.engines.senders():
            self._drive_safely(self.agent.media_heard, senders)
        if reports := self.engines.reports():
            self._drive_safely(self.agent.reported, reports)
        for asked, address in self.resolver.drain():
            self._drive_safely(self.agent.resolved, asked, address)
        self.music.service(now)
        if self.music.now_playing.failure and not self._signals.stops:
            self.stop()
        self.statistics.log_periodically(now)
        self.observers.service(now)
        self._obey_signals(now)
        self._collector.collect(self.agent.idle, now)
        if self._stop_at is not None and (now >= self._stop_at or self.agent.may_end(now)):
            raise Stopped

    def _drive_safely(self, step: Callable[..., list[Action]], *args: Any) -> bool:
        """Call ``drive``. An exception is logged, and this thread goes on. Return whether there was no exception."""
        try:
            self.drive(step, *args)
            return True
        except Exception as error:
            self.faults.report(error, time.monotonic(), f"{step.__name__}{args!r}"[:2000])
            return False

    def _obey_signals(self, now: float) -> None:
        signals = self._signals
        if signals.reload:
            signals.reload = False
            self.music.check_now()
        if signals.summary:
            signals.summary = False
            self.statistics.log_summary()
        if signals.drains != self.agent.admission.draining:
            self._drive_safely(self.agent.drain, signals.drains)
        if self.load.due(now):
            self._drive_safely(self.agent.note_share, self.load.share(now))
        stops = signals.stops
        if stops > self._stops_handled and self._begin_stop(stops, now):
            self._stops_handled = stops

    # -- the end ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the main thread to end the server in order, soon. A second request ends the drain time."""
        self._signals.stops += 1

    def _begin_stop(self, stops: int, now: float) -> bool:
        """Take no more calls. Send BYE to every caller now, or when the drain time is over.

        Return ``False`` where this failed and has to be tried again.
        """
        drain = self._settings.drain if stops == 1 else 0.0
        self._stop_at = min(math.inf if self._stop_at is None else self._stop_at, now + drain + STOP_GRACE)
        return self._drive_safely(self.agent.close, drain)

    def serve_forever(self, poll_interval: float = POLL) -> None:
        """Serve UDP in this thread, and each TCP or TLS listener in a thread of its own, until ``stop`` is called."""
        for server in self.tcp:
            threading.Thread(target=server.serve_forever, args=(POLL,), name=server.transport, daemon=True).start()
        self.music.await_first(poll_interval)
        while True:
            try:
                self.service_actions()
                super().serve_forever(poll_interval)
                break
            except Stopped:
                break
            except Exception as error:
                self.faults.report(error, time.monotonic(), "the serve loop")
                time.sleep(poll_interval)
        for server in self.tcp:
            server.shutdown()
            server.close_connections()

    def server_close(self) -> None:
        """End the workers and all music, then close the sockets."""
        self.music.end()
        self.observers.close()
        self.workers.close()
        self.music.close()
        self.engines.close()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for server in self.tcp:
            server.server_close()
        self.socket.close()


def main(asked: Optional[EncoderQuery] = None) -> int:
    """Run until SIGTERM or SIGINT. Return 0 after an orderly end, or 1, with one line printed, if it cannot start."""
    signals = Signals()
    signals.handle()
    try:
        settings = Settings.from_environment(os.environ)
        handler = start_log(settings)
        for fault in filter(None, (time_zone_fault(os.environ), core_fault())):
            log.warning("%s", fault)
        raise_descriptor_limit()
        server = SipServer(settings, signals, asked)
    except SettingsError as error:
        print(complaint(str(error), os.environ), file=sys.stderr)
        return 1
    except OSError as error:
        print(complaint(f"Cannot start: {error}", os.environ), file=sys.stderr)
        return 1
    steady_interpreter()  # garbage collection and thread switching: no packet of music is to be late
    with server:  # the end of this block calls server_close
        server.serve_forever(poll_interval=POLL)
    if failure := server.music.now_playing.failure:
        handler.flush()
        print(complaint(failure, os.environ), file=sys.stderr)
        return 1
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(asked))
