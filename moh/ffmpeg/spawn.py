"""Starts an ffmpeg without the interpreter's lock.

``subprocess`` holds that lock until the new process executes its program, which takes milliseconds on a busy machine;
no packet of the shared stream leaves meanwhile. ``posix_spawnp`` of the C library does the same work, and ``ctypes``
releases the lock for it. Where the C library lacks a function that is needed (glibc before 2.34, musl), ``subprocess``
starts the ffmpeg, in a session of its own.

The new process has only its three standard descriptors. It blocks no signal, and does not ignore those that the
interpreter ignores. It is alone in its process group: Ctrl-C in a terminal reaches only the server, which then sends
BYE to its callers. But it stays in the server's session. Linux divides the processor among sessions first (autogroup),
so an ffmpeg in a session of its own would get as much of it as the whole server.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import IO, Optional, Protocol

SPAWN_SETPGROUP, SPAWN_SETSIGDEF, SPAWN_SETSIGMASK = 0x02, 0x04, 0x08
"""Flags of ``spawn.h``; the values are those of glibc."""
OPAQUE = ctypes.c_uint64 * 128
"""Room for a structure of ``spawn.h`` or a set of signals. They take 336 octets at most."""
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that the interpreter ignores; an ignored signal would stay ignored in the new process."""
POLL = 0.002
"""Seconds from one poll to the next while ``wait`` waits."""


class Process(Protocol):
    """What the supervisor needs of a process: the methods of ``subprocess.Popen``."""

    pid: int

    @property
    def returncode(self) -> Optional[int]:
        """The exit status, or the number of the signal that ended it, negative; ``None`` while it is not reaped."""

    @property
    def stderr(self) -> Optional[IO[bytes]]:
        """The pipe from its standard error."""

    def poll(self) -> Optional[int]:
        """Reap it if it has ended. Return ``returncode``."""

    def wait(self, timeout: Optional[float] = None) -> int:
        """Wait for its end and reap it. Raises ``subprocess.TimeoutExpired``."""

    def terminate(self) -> None:
        """Send it SIGTERM, unless it is reaped."""

    def kill(self) -> None:
        """Send it SIGKILL, unless it is reaped."""


class Spawned:
    """A child process. Only one thread may use it: once another one reaps it, its number may belong to any process."""

    def __init__(self, stderr: Optional[IO[bytes]]) -> None:
        self.pid = 0  # ``start_process`` sets it as soon as the process runs, so that no failure loses the number
        self.stderr = stderr
        self.returncode: Optional[int] = None

    def poll(self) -> Optional[int]:
        """See ``Process``."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # a server that was started with SIGCHLD ignored: the kernel has reaped it
                pid, status = self.pid, 0
            if pid:
                self.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.returncode

    def wait(self, timeout: Optional[float] = None) -> int:
        """See ``Process``."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if give_up is not None and time.monotonic() >= give_up:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(POLL)
        return code

    def terminate(self) -> None:
        """See ``Process``."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """See ``Process``."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class _Spawner:
    """``posix_spawnp`` with the attributes of each ffmpeg. Raises ``AttributeError`` where the C library lacks one."""

    def __init__(self) -> None:
        self._libc = libc = ctypes.CDLL(None)
        self._close_from = libc.posix_spawn_file_actions_addclosefrom_np
        self._spawn = libc.posix_spawnp
        self._environ = ctypes.c_void_p.in_dll(libc, "environ")
        signals = OPAQUE()
        self._attributes = OPAQUE()
        _check(libc.posix_spawnattr_init(self._attributes))
        flags = SPAWN_SETPGROUP | SPAWN_SETSIGDEF | SPAWN_SETSIGMASK
        _check(libc.posix_spawnattr_setflags(self._attributes, ctypes.c_short(flags)))
        _check(libc.posix_spawnattr_setpgroup(self._attributes, 0))
        libc.sigemptyset(signals)
        _check(libc.posix_spawnattr_setsigmask(self._attributes, signals))
        for number in IGNORED_BY_PYTHON:
            libc.sigaddset(signals, number)
        _check(libc.posix_spawnattr_setsigdefault(self._attributes, signals))

    def start(self, command: Sequence[str], stdin: Optional[int], stdout: Optional[int], stderr: int) -> int:
        """Start ``command`` with these descriptors. Return the number of the process."""
        words = [os.fsencode(word) for word in command]
        arguments = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        libc, actions, pid = self._libc, OPAQUE(), ctypes.c_int()
        _check(libc.posix_spawn_file_actions_init(actions))
        try:
            if stdin is None:
                _check(libc.posix_spawn_file_actions_addopen(actions, 0, os.devnull.encode(), os.O_RDWR, 0))
            else:
                _check(libc.posix_spawn_file_actions_adddup2(actions, stdin, 0))
            if stdout is None:
                _check(libc.posix_spawn_file_actions_addopen(actions, 1, os.devnull.encode(), os.O_RDWR, 0))
            else:
                _check(libc.posix_spawn_file_actions_adddup2(actions, stdout, 1))
            _check(libc.posix_spawn_file_actions_adddup2(actions, stderr, 2))
            _check(self._close_from(actions, 3))
            _check(
                self._spawn(ctypes.byref(pid), words[0], actions, self._attributes, arguments, self._environ), words[0]
            )
        finally:
            libc.posix_spawn_file_actions_destroy(actions)
        return pid.value


def _check(error: int, name: bytes = b"") -> None:
    """Raise the ``OSError`` whose number a function of ``spawn.h`` has returned. ``name`` names the program."""
    if error:
        raise OSError(error, os.strerror(error), *([os.fsdecode(name)] if name else []))


def _spawner() -> Optional[_Spawner]:
    try:
        return _Spawner()
    except (AttributeError, ValueError, OSError):
        return None


_SPAWNER = _spawner()


def start_process(
    command: Sequence[str], stdout: Optional[int] = None, stderr: Optional[int] = None, stdin: Optional[int] = None
) -> Process:
    """Start ``command``, whose first word is a program on the PATH. Raises ``OSError`` where it does not start.

    Its standard output is the descriptor ``stdout``, or ``/dev/null``; its standard error is ``stderr``, or a pipe; its
    standard input is ``stdin``, or ``/dev/null``.
    """
    if _SPAWNER is None:
        out = subprocess.DEVNULL if stdout is None else stdout
        errors = subprocess.PIPE if stderr is None else stderr
        given = subprocess.DEVNULL if stdin is None else stdin
        return subprocess.Popen(command, stdin=given, stdout=out, stderr=errors, start_new_session=True)
    if stderr is not None:
        process = Spawned(None)
        process.pid = _SPAWNER.start(command, stdin, stdout, stderr)
        return process
    reading, writing = os.pipe()
    try:
        pipe = os.fdopen(reading, "rb", buffering=0)
        try:
            process = Spawned(pipe)
            process.pid = _SPAWNER.start(command, stdin, stdout, writing)
        except BaseException:
            pipe.close()
            raise
    finally:
        os.close(writing)
    return process
