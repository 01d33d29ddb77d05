#!/usr/bin/env python3
"""The music-on-hold server: socket, threads, lock and clock round the core in ``moh``.

One thread reads datagrams (``socketserver``), a few workers parse them, and under one lock the core decides what to do
and this shell does it: send, start music, stop music. Nothing under the lock waits. Everything that follows from time
comes through ``service_actions``, which the reading loop calls at least every ``POLL`` seconds.

More than 300 lines, because all that meets here meets nowhere else.
"""

from __future__ import annotations

import argparse
import base64
import gc
import logging
import math
import os
import queue
import resource
import secrets
import signal
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Optional

from moh import __version__
from moh.common.actions import Action, Address, Flow, Note, Resolve, Send, StartStream
from moh.common.addresses import is_unspecified
from moh.common.codecs import CODECS
from moh.common.config import Settings
from moh.common.errors import SettingsError
from moh.ffmpeg.launch import encoders
from moh.guard.address_validation import TOO_SHORT, AddressValidator, RateLimiter
from moh.guard.connection_rate import StreamRateLimiter
from moh.guard.media_policy import MediaPolicy
from moh.mastering.prepare import Bar, Music
from moh.mastering.reloader import Reloader, ReloadResult
from moh.net.recvmmsg import RECVMMSG, DatagramReader
from moh.net.sockets import (
    ask_for_local_address,
    destination,
    family_of,
    has_port,
    in_a_bridge,
    is_broadcast,
    is_ours,
    leaving_from,
    local_address,
    local_address_towards,
    plain,
)
from moh.rtp.port_pool import PortPool, shared_port
from moh.server.engines import Engines
from moh.server.log_handler import LogHandler
from moh.server.redaction import Redacted
from moh.shared.shared_stream import SharedStream
from moh.sip.identity import Identity
from moh.sip.parser import MAX_DATAGRAM, parse
from moh.sip.user_agent import Limits, UserAgent
from moh.transport.resolver import Resolver
from moh.transport.tcp import TcpServer, tls_context

POLL = 0.05
"""Longest time in seconds until the loop looks at the clock; a tenth of SIP's shortest timer."""
LOOKS = 0.005
"""Shortest time in seconds between two such looks: in a crowd not each datagram needs one."""
WORKERS = 8
FOR_STRANGERS = 2
"""How many of the workers take what strangers send: whom we know does not wait behind a flood of theirs."""
QUEUE = 512
"""Datagrams that may wait for one worker; what comes on top is dropped and counted, as a network would.

All that a PBX sends waits for one. They are done before it sends the first of them again, after half a second.
"""
BATCH = 64
"""Datagrams that are read before the loop takes its next turn, where the system does not give many at once."""
FAREWELL = 2.0
"""Seconds at the end for the BYEs to be answered; Docker gives ten in all."""
MOST_DESCRIPTORS = 1 << 16
TOO_FAST = "messages that came too fast"
CLIENT = tuple[str, int]

log = logging.getLogger("moh")


class Over(Exception):
    """The loop may end: nobody is left, or nobody has time to wait for the rest."""


class SipServer(socketserver.UDPServer):
    """Threaded SIP over UDP: a bounded number of workers, each with a queue of its own.

    A source always meets the same worker, until it is known another one, so its datagrams are handled in the order they
    came, and whoever floods the server fills one queue and not all.
    """

    max_packet_size = MAX_DATAGRAM

    def __init__(self, settings: Settings) -> None:
        available = encoders()
        codecs = tuple(codec for codec in CODECS if codec.encoder in available)
        if not codecs:
            raise SettingsError("ffmpeg does not run, or encodes nothing that a phone hears; expected it on the PATH")
        self.address_family = family_of(settings.bind)
        super().__init__((settings.bind, settings.sip_port), DatagramHandler, bind_and_activate=False)
        self.tcp: list[TcpServer] = []
        self._intake: Optional[DatagramReader] = None
        guard = AddressValidator(settings.allow)
        self.gate = RateLimiter(settings.allow, guard.is_host_validated, time.monotonic())
        self.turnstile = StreamRateLimiter(settings.allow, time.monotonic())
        self._at_turnstile = threading.Lock()
        try:
            self.server_bind()  # before there is any thread to end
            self._listen_on_tcp(settings)
        except BaseException:
            self._close_sockets()
            raise
        broadcast = open_shared_stream(settings)
        ports = PortPool(
            *settings.rtp_ports,
            usable=lambda port: has_port(settings.bind, port),
            most=settings.ffmpeg_calls,
            shared=broadcast.port if broadcast else None,
        )
        self.agent = UserAgent(
            Identity(
                new_token=lambda: secrets.token_hex(8),
                local_address=local_address_towards,
                new_key=lambda: base64.b64encode(secrets.token_bytes(30)).decode(),
                advertised=settings.advertised_address,
                secret=secrets.token_bytes(16),
            ),
            ports,
            Limits(codecs, settings.max_call, destinations_of(settings)),
            guard,
        )
        self._tally = self.agent.tally
        self.engines = Engines(broadcast)
        self._music: dict[int, Music] = {}  # while it is held here, its files stay
        self._bar = Bar() if sys.stderr.isatty() else None
        self.watch = Reloader(settings, tell=self._bar)
        self.trouble = ""
        """Why the server cannot go on, in one line for the owner."""
        self._settings = settings
        self.resolver = Resolver(self._unasked)
        self.lock = threading.Lock()
        self.dropped = 0
        self.asked = False
        """Somebody wants to know how it goes."""
        self.music_asked = False
        """Somebody wants the music looked at again. It is a signal that asks, and its handler may take no lock."""
        self._told = ((0, 0), 0.0)  # how much of what was turned away is in the log, and since when
        self._stop_at = 0.0
        self.stop_asked = 0
        """How often it was asked to end. No thread is made for that: there may be none left."""
        self._stops = 0
        self._over = False  # the loop has ended, and what is left is not worth an answer
        self._stumbled = False
        self._looks_at = 0.0  # when the loop looks at the clock and round it again
        self._cleaned = 0.0  # when the garbage was collected
        self._queues: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(WORKERS)]
        self._workers = [
            threading.Thread(target=self._work, args=(waiting,), name=f"worker-{n}", daemon=True)
            for n, waiting in enumerate(self._queues)
        ]
        for worker in self._workers:
            worker.start()

    # -- reading: the loop's thread --------------------------------------------------------------------------------

    def server_bind(self) -> None:
        """Bind, and ask the kernel to tell for each datagram which of our addresses it was sent to."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        # what waits for a host beside us that does not say where it is counts as well, up to 200 KB of it
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
        ask_for_local_address(self.socket)
        self.socket.setblocking(False)  # a full send buffer loses a datagram rather than holding up everybody
        super().server_bind()
        if RECVMMSG is not None:
            self._intake = DatagramReader(self.socket, MAX_DATAGRAM, str(self.server_address[0]))

    def get_request(self) -> tuple[Any, CLIENT]:
        """One datagram and the local address that it came to."""
        data, ancillary, _, client = self.socket.recvmsg(MAX_DATAGRAM, 256)
        # with the address as ``DatagramReader`` writes it: a source that had two spellings would have two workers
        return (data, local_address(ancillary, str(self.server_address[0]))), (plain(client[0]), client[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand the datagram to the worker of this source, and what else has come: that is quicker than a turn each."""
        self._hand_over(request, client_address)
        if self._intake is not None:
            for data, local, client in self._intake.read():
                self._hand_over((data, local), client)
            return
        try:
            for _ in range(BATCH):
                self._hand_over(*self.get_request())
        except OSError:
            pass  # nothing more is there

    def _hand_over(self, request: Any, client_address: CLIENT) -> None:
        """Into the queue of its worker; what the gate turns away costs no more than this look."""
        host, now = client_address[0], time.monotonic()
        if why := self.gate.refusal(host, request[0], now):
            if why != TOO_SHORT and self.gate.tally.count_and_should_log(why, host, now):
                log.warning("turned away a datagram from %s: %s", host, why)
            return
        place = hash(client_address)
        known = self.gate.is_known(host, now)
        waiting = self._queues[FOR_STRANGERS + place % (WORKERS - FOR_STRANGERS) if known else place % FOR_STRANGERS]
        if waiting.qsize() < QUEUE:
            waiting.put((request, client_address))
        else:
            self.dropped += 1

    def service_actions(self) -> None:
        """Whatever time or a finished stream brings; also called after each datagram, so it does not always look."""
        now = time.monotonic()
        if now < self._looks_at:
            return
        self._looks_at = now + LOOKS
        with self.lock:  # to look is to tidy up: the schedule drops what is out of date
            due = self.agent.next_due
        if due is not None and due <= now:
            self._advance(self.agent.tick)
        for over in self.engines.ended():
            self._advance(self.agent.stream_gone, *over)
        if self.music_asked:
            self.music_asked = False
            self.watch.check_now()
        for news in self.watch.drain():
            self._take_news(news)
        for asked, address in self.resolver.drain():
            self._advance(self.agent.resolved, asked, address)
        self._tell_dropped(now)
        if self._stumbled:
            self._stumbled = False
            log.error("the server's loop stumbled, most likely for want of memory")
        if self.asked:
            self.asked = False
            with self.lock:  # while a worker takes a call in, nobody can count them
                calls = self.agent.calls
                so_far = self._tally.summary()
            log.info("%d calls: %s", calls, self.engines.summary())
            away = f"{self.dropped} for want of workers, {self.gate.tally.summary()}".rstrip(", ")
            with self._at_turnstile:
                held = self.turnstile.tally.summary() or "none"
            told = "since the start: %s; datagrams turned away: %s; held back by TCP: %s"
            log.info(told, so_far or "nothing", away, held)
        self._clean_up(now)
        if self.stop_asked > self._stops:
            self._stops = self.stop_asked
            self._stop(now)
        if self._stop_at and (self.agent.idle or now >= self._stop_at):
            raise Over

    def _advance(self, step: Callable[..., list[Action]], *args: Any) -> None:
        try:
            self.step(step, *args)
        except Exception:  # a fault of ours with one call; the loop has to go on for all the others
            log.exception("the server stumbled over %s%r", step.__name__, args)

    def _take_news(self, news: ReloadResult) -> None:
        """New music is ready, or the owner's file is none: then what plays goes on playing, if anything does."""
        if self._bar:
            self._bar.clear()
        if isinstance(news, Music):
            first = not self.agent.ready
            tune = self.engines.add_tune(news.paths, news.seconds)
            self._music[tune] = news
            self._advance(self.agent.music_ready, tune)
            with self.lock:
                tunes = self.agent.tunes
            self._music = {tune: music for tune, music in self._music.items() if tune in tunes}
            self.engines.keep(tunes)
            log.info("%s %s", "music:" if first else "new music, for the next callers:", news.summary())
            if first:
                log.info("moh %s %s", __version__, ready_line(self._settings, news))
        elif self.agent.ready:
            log.error("the new music is refused, the former plays on: %s", news)
        elif not self.trouble:
            self.trouble = str(news)
            self.stop()

    def _clean_up(self, now: float) -> None:
        """Collect the garbage while nobody is played to, once a minute at the most; see ``be_steady``."""
        if self.agent.idle and now - self._cleaned >= 60:
            gc.collect()
            self._cleaned = now

    def _tell_dropped(self, now: float) -> None:
        """One line in ten seconds for all that was turned away, however much it is."""
        if news := self.gate.tally.drain(now):
            log.warning("turned away more datagrams: %s", news)
        with self._at_turnstile:
            news = self.turnstile.tally.drain(now)
        if news:
            log.warning("held back more by TCP: %s", news)
        with self.lock:
            news = self._tally.drain(now)
        if news:
            log.info("more of the same: %s", news)
        refused = sum(server.refused for server in self.tcp)
        (dropped_before, refused_before), when = self._told
        if now - when < 10 or (self.dropped, refused) == (dropped_before, refused_before):
            return
        if self.dropped > dropped_before:
            more = self.dropped - dropped_before
            log.warning("dropped %d datagrams: more came than %d workers can take", more, WORKERS)
        if refused > refused_before:
            why = "too many at once, too many from one address, or not in MOH_ALLOW"
            log.warning("refused %d connections: %s", refused - refused_before, why)
        self._told = ((self.dropped, refused), now)

    # -- deciding: the workers -------------------------------------------------------------------------------------

    def _work(self, waiting: queue.Queue[Any]) -> None:
        while (job := waiting.get()) is not None and not self._over:
            try:
                self.finish_request(*job)
            except Exception:
                try:
                    self.handle_error(*job)
                except Exception:  # no memory, not even for that: this thread has to go on for the next datagram
                    time.sleep(POLL)

    def step(self, step: Callable[..., list[Action]], *args: Any) -> None:
        """Let the core take one step and do what it asks; in one piece, so that a stop cannot overtake its start.

        What fails keeps nothing else from being done. A stream that could not be ordered is one that has ended; else
        its call would wait for it, and keep its port, for ever.
        """
        with self.lock:
            now = time.monotonic()
            actions = step(*args, now=now)
            for action in actions:
                try:
                    self.perform(action)
                except Exception:
                    kind = type(action).__name__
                    log.exception("the server stumbled over a %s", kind)
                    if isinstance(action, StartStream):
                        why = f"the server stumbled over its {kind}"
                        actions.extend(self.agent.stream_gone(action.call, action.serial, why, now=now))

    def handle_message(self, data: bytes, flow: Flow) -> None:
        """One message that came by ``flow``, in whatever thread: parse it without the lock, decide under it."""
        log.debug("< from %s by %s%s", flow.remote, flow.transport, Redacted(data))
        message = parse(data)
        if message is None:
            return
        try:
            self.step(self.agent.receive, message, flow)
        except Exception:
            log.exception("a message from %s made the server stumble: %r", flow.remote, data[:2000])
            self.step(self.agent.refuse, message, flow, 500, "The server stumbled over this request")

    def perform(self, action: Action) -> None:
        """Do one thing that the core asked for."""
        if isinstance(action, Send):
            self._send(action)
        elif isinstance(action, Note):
            log.log(action.level, "%s%s", f"[{action.about[:8]}] " if action.about else "", action.text)
        elif isinstance(action, Resolve):
            self.resolver.request(action)
        else:
            self.engines.order(action)

    def _send(self, send: Send) -> None:
        way_back = send.flow.remote if send.flow.reliable else send.to
        log.debug("> to %s by %s%s", way_back, send.flow.transport, Redacted(send.data))
        if send.flow.reliable:
            for server in self.tcp:
                if server.transport == send.flow.transport:
                    server.send(send)
            return
        family = self.address_family
        ancillary = leaving_from(send.flow.local.host, family)
        try:
            self.socket.sendmsg([send.data], ancillary, 0, destination(send.to, family))
        except OSError as error:
            # lost like any datagram; what matters is sent again by its timer
            if self._tally.count_and_should_log("could not be sent", send.to.host, time.monotonic()):
                log.info("could not send to %s: %s", send.to, error.strerror)

    def _unasked(self, asked: Resolve) -> bool:
        with self.lock:
            return self.agent.unasked(asked)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A fault of ours: tell it in the log, with the datagram, and go on."""
        log.exception("a datagram from %s made the server stumble: %r", client_address, request[0][:2000])

    # -- TCP and TLS -----------------------------------------------------------------------------------------------

    def _listen_on_tcp(self, settings: Settings) -> None:
        """Open the other doors of RFC 3261 §18: TCP always, TLS where there is a certificate."""
        doors: list[tuple[int, Optional[ssl.SSLContext]]] = [(settings.sip_port, None)]
        if settings.tls_cert:
            doors.append((settings.tls_port, tls_context(settings.tls_cert, settings.tls_key)))
        for port, tls in doors:
            address = Address(settings.bind, port)
            self.tcp.append(TcpServer(address, self.handle_message, self._in_use, tls, self.gate.allows, self._wait))

    def _in_use(self) -> set[int]:
        with self.lock:
            return self.agent.connections

    def _wait(self, host: str, data: bytes) -> float:
        """Seconds that a message has to wait, told in the thread of its connection; the first has a line."""
        now = time.monotonic()
        with self._at_turnstile:
            wait = self.turnstile.delay(host, data, now)
            told = wait > 0 and self.turnstile.tally.count_and_should_log(TOO_FAST, host, now)
        if told:
            log.warning("holding back %s by TCP: %s", host, TOO_FAST)
        return wait

    def serve_forever(self, poll_interval: float = POLL) -> None:
        """Serve by UDP in this thread, by TCP and TLS in one more each."""
        for server in self.tcp:
            threading.Thread(target=server.serve_forever, args=(POLL,), name=server.transport, daemon=True).start()
        while True:
            try:
                super().serve_forever(poll_interval)
                break
            except Over:
                break
            except Exception:  # there was no memory for one turn of the loop, say; the next one may have it
                time.sleep(poll_interval)
                self._stumbled = True
        for server in self.tcp:
            server.shutdown()
            server.close_connections()

    def _close_sockets(self) -> None:
        for server in self.tcp:
            server.server_close()
        self.socket.close()

    # -- the end ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask for an orderly end, soon; who asks twice does not want to wait for anybody."""
        self.stop_asked += 1

    def _stop(self, now: float) -> None:
        """Take no more calls, and say BYE to every caller: now, or when their grace is over.

        The loop ends as soon as nobody is left, ``FAREWELL`` after the last BYE at the latest.
        """
        grace = self._settings.drain if self.stop_asked == 1 else 0.0
        self._stop_at = min(self._stop_at or math.inf, now + grace + FAREWELL)
        self._advance(self.agent.close, grace)

    def server_close(self) -> None:
        """End the workers and all music, then close the socket.

        What still waits for a worker is not looked at any more: with a full queue that would take seconds.
        """
        self._over = True
        for waiting in self._queues:
            waiting.put(None)
        for worker in self._workers:
            worker.join(timeout=1)  # one that still writes to the log when the interpreter ends would abort it
        self.watch.close()
        self.engines.close()
        self._close_sockets()


class DatagramHandler(socketserver.BaseRequestHandler):
    """What a worker does with one datagram: parse it without the lock, let the core decide under it."""

    server: SipServer

    def handle(self) -> None:
        """Read the message and hand it to the core."""
        data, local = self.request
        remote = Address(*self.client_address)
        self.server.handle_message(data, Flow(remote, Address(local, self.server.server_address[1])))


def destinations_of(settings: Settings) -> MediaPolicy:
    """Where music may go: not to the ports on which we listen ourselves, by whatever address they are reached."""
    first, last = settings.rtp_ports
    sip = {settings.sip_port, settings.tls_port} if settings.tls_cert else {settings.sip_port}
    return MediaPolicy(
        is_ours=lambda host: host == settings.advertised_address or is_ours(host),
        is_broadcast=is_broadcast,
        own_ports=frozenset(sip.union(range(first, last + 1))),
        allowed=settings.allow_media,
    )


def open_shared_stream(settings: Settings) -> Optional[SharedStream]:
    """The stream for all who get no ffmpeg of their own; ``None`` with a line in the log where its port is taken."""
    port = shared_port(*settings.rtp_ports)
    try:
        return SharedStream(settings.bind, port)
    except OSError as error:
        log.warning("no shared stream: UDP port %d is not ours: %s; further calls get 503", port, error.strerror)
        return None


def ready_line(settings: Settings, music: Music) -> str:
    """What the owner types into the phone, as far as it can be known from here."""
    host = settings.advertised_address or settings.bind
    if is_unspecified(host):
        # the address on the way to everybody else: 192.0.2.1 is nobody's (RFC 5737), and nothing is sent
        host = local_address_towards("192.0.2.1") or "127.0.0.1"
        if in_a_bridge(host):
            host = "ADDRESS-OF-THIS-MACHINE"
    first, last = settings.rtp_ports
    return f"ready: sip:123@{Address(host, settings.sip_port)}, music {music.describe()}, RTP ports {first}-{last}"


def read_arguments() -> None:
    """There is only ``--help``: every setting is in the environment, where a container has it."""
    rows = [f"  {env:<24}{text} [{default or 'empty'}]" for env, default, text in Settings.table()]
    argparse.ArgumentParser(
        prog="sip_server.py",
        description="Plays music to whoever calls: the server behind the Music On Hold URI of a SIP phone.",
        epilog="settings, from the environment, with their defaults:\n" + "\n".join(rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


def be_steady() -> None:
    """Keep the interpreter from holding up a packet of music: each thread waits for one lock, and so does the music.

    - A full garbage collection looks at all that lives, 13 µs for each call that is up: with 10,000 calls nobody plays
      for 0.13 s. No call leaves anything that only the collector finds, so it is made where nobody hears it
      (``_clean_up``) and else only where a leak of millions of objects would be worse. What is there when we begin is
      never looked at again. The young are looked at as ever: that takes less than a millisecond.
    - A thread that computes gives the lock away after 0.5 ms, not after 5, if another wants it: beside a worker that
      reads one nasty message after another, who wakes each millisecond is 0.8 ms late instead of 3.2. Ordinary calls
      wait for the network often enough that it changes nothing for them; it costs them some 5 % of processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 1000)
    sys.setswitchinterval(0.0005)


def have_descriptors() -> None:
    """Take as many as there may be: an ffmpeg needs three, and many a system begins with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> int:
    """Run until SIGTERM or SIGINT. Exit status 0 after an orderly end, 1 with one line where it cannot start."""
    read_arguments()
    try:
        settings = Settings.from_environment(os.environ)
        journal = LogHandler(sys.stdout.fileno())
        logging.basicConfig(handlers=[journal], level=settings.log, format="%(asctime)s %(levelname)-7s %(message)s")
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # nobody reads of them
        have_descriptors()
        server = SipServer(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        where = f"MOH_BIND {settings.bind}, MOH_SIP_PORT {settings.sip_port}, UDP and TCP"
        why = f"{error.strerror}; expected an address of this machine and a port that is free"
        print(f"Cannot listen on {where}: {why}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    signal.signal(signal.SIGHUP, lambda *_: setattr(server, "music_asked", True))
    signal.signal(signal.SIGUSR1, lambda *_: setattr(server, "asked", True))
    be_steady()
    with server:
        server.serve_forever(poll_interval=POLL)
    if server.trouble:
        journal.flush()
        print(server.trouble, file=sys.stderr)
        return 1
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
