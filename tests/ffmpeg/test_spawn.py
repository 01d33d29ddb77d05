"""End to end: how an ffmpeg is started, with the Python interpreter and shell scripts in its place."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moh.ffmpeg import spawn
from moh.ffmpeg.spawn import Process, start_process

WAYS = ["posix_spawn", "subprocess"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with ``posix_spawnp``, and again as if the C library lacked a function that is needed."""
    if request.param == "subprocess":
        monkeypatch.setattr(spawn, "_SPAWNER", None)
    elif spawn._SPAWNER is None:
        pytest.skip("this C library has no posix_spawn_file_actions_addclosefrom_np")
    return str(request.param)


def output(process: Process) -> str:
    """Return all that the process writes to its standard error, when it has ended."""
    assert process.stderr is not None
    text = process.stderr.read().decode()
    process.stderr.close()
    process.wait(10)
    return text


def printed(expression: str) -> str:
    """Return the value of a Python expression in a new process."""
    program = f"import os, signal, sys; print({expression}, end='', file=sys.stderr)"
    return output(start_process([sys.executable, "-c", program]))


@pytest.mark.usefixtures("way")
def test_the_standard_error_is_a_pipe_and_the_rest_is_dev_null() -> None:
    assert printed("os.readlink('/proc/self/fd/0'), os.readlink('/proc/self/fd/1')") == "/dev/null /dev/null"
    assert printed("os.readlink('/proc/self/fd/2').partition(':')[0]") == "pipe"


@pytest.mark.usefixtures("way")
def test_output_and_errors_go_to_the_descriptors_of_the_caller(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "errors").open("wb") as errors:
        process = start_process(["/bin/sh", "-c", "echo music; echo trouble >&2"], out.fileno(), errors.fileno())
        assert process.wait(10) == 0 and process.stderr is None
    assert (tmp_path / "out").read_text() == "music\n"
    assert (tmp_path / "errors").read_text() == "trouble\n"


@pytest.mark.usefixtures("way")
def test_the_standard_input_is_the_descriptor_of_the_caller(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"music")
    os.close(writing)
    with (tmp_path / "out").open("wb") as out, (tmp_path / "errors").open("wb") as errors:
        assert start_process(["cat"], out.fileno(), errors.fileno(), reading).wait(10) == 0
    os.close(reading)
    assert (tmp_path / "out").read_text() == "music"


@pytest.mark.usefixtures("way")
def test_no_descriptor_leaks_even_if_it_may_be_inherited(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        # the fourth descriptor is that of the listing itself
        assert printed("sorted(map(int, os.listdir('/proc/self/fd')))") == "[0, 1, 2, 3]"


@pytest.mark.usefixtures("way")
def test_no_descriptor_of_the_start_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    output(start_process(["/bin/true"]))
    with pytest.raises(OSError):
        start_process(["/nowhere/ffmpeg"])
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.usefixtures("way")
def test_environment_and_working_directory_are_those_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOH_OF_THIS_TEST", "höher")
    monkeypatch.delenv("LANG", raising=False)
    assert printed("os.environ['MOH_OF_THIS_TEST'] == 'h\\xf6her', 'LANG' in os.environ") == "True False"
    assert printed("os.getcwd()") == os.getcwd()


@pytest.mark.usefixtures("way")
def test_a_word_of_the_command_is_handed_over_unchanged() -> None:
    words = ["", "a b", "$HOME", "ü", "*"]
    shown = output(start_process([sys.executable, "-c", "import sys; sys.stderr.write(repr(sys.argv[1:]))", *words]))
    assert shown == repr(words)


@pytest.mark.usefixtures("way")
def test_signals_that_python_ignores_have_their_default_again() -> None:
    assert printed("signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN") == "True", "the new Python ignores them itself"
    process = start_process(["/bin/sh", "-c", "kill -PIPE $$; sleep 60"])
    assert process.wait(10) == -signal.SIGPIPE
    assert output(process) == ""


def test_a_signal_that_the_starting_thread_blocks_is_not_blocked() -> None:
    if spawn._SPAWNER is None:
        pytest.skip("subprocess hands the blocked signals on")
    former = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        process = start_process(["/bin/sleep", "60"])
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM
        assert output(process) == ""
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


@pytest.mark.usefixtures("way")
def test_it_is_alone_in_its_process_group_so_that_ctrl_c_does_not_reach_it() -> None:
    assert printed("os.getpgid(0) == os.getpid()") == "True"


def test_it_stays_in_the_session_of_the_server() -> None:
    if spawn._SPAWNER is None:
        pytest.skip("subprocess makes a session")
    assert printed("os.getsid(0)") == str(os.getsid(0))


@pytest.mark.usefixtures("way")
def test_a_missing_program_is_an_os_error_with_its_reason() -> None:
    with pytest.raises(FileNotFoundError) as raised:
        start_process(["no-such-program-anywhere"])
    assert raised.value.strerror == "No such file or directory"


@pytest.mark.usefixtures("way")
def test_a_program_that_may_not_be_executed_is_an_os_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\n")
    with pytest.raises(PermissionError) as raised:
        start_process([str(tmp_path / "ffmpeg")])
    assert raised.value.strerror == "Permission denied"


@pytest.mark.usefixtures("way")
def test_a_program_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ffmpeg-of-this-test").write_text("#!/bin/sh\necho found >&2\n")
    (tmp_path / "ffmpeg-of-this-test").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert output(start_process(["ffmpeg-of-this-test"])) == "found\n"


@pytest.mark.usefixtures("way")
def test_the_exit_status_is_known_once_it_has_ended() -> None:
    process = start_process(["/bin/sh", "-c", "exit 3"])
    assert process.wait() == 3
    assert (process.poll(), process.returncode) == (3, 3)
    process.terminate()  # nothing happens: its number may belong to another process by now
    process.kill()
    output(process)


@pytest.mark.usefixtures("way")
def test_a_process_that_the_kernel_has_reaped_counts_as_ended() -> None:
    """In a server that was started with SIGCHLD ignored, the kernel reaps all children."""
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = start_process(["/bin/sh", "-c", "exit 3"])
        assert process.wait(10) == 0
        output(process)
    finally:
        signal.signal(signal.SIGCHLD, former)


@pytest.mark.usefixtures("way")
def test_a_process_that_runs_has_no_exit_status_and_can_be_killed() -> None:
    process = start_process(["/bin/sleep", "60"])
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    output(process)


def test_the_interpreters_lock_is_released_during_the_start() -> None:
    """``ctypes.CDLL`` releases it for each call, and ``ctypes.PyDLL`` does not."""
    if spawn._SPAWNER is None:
        pytest.skip("subprocess keeps the interpreter's lock")
    assert type(spawn._SPAWNER._libc) is ctypes.CDLL


def test_a_c_library_without_a_function_that_is_needed_makes_subprocess_start_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Lacking:
        def __init__(self, name: None) -> None:
            pass

        def __getattr__(self, name: str) -> object:
            raise AttributeError(name)

    monkeypatch.setattr(ctypes, "CDLL", Lacking)
    assert spawn._spawner() is None
