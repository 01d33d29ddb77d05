"""End to end: what ``start.sh`` passes on to the server. A copy of it starts a program that prints its environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PRINT = "import json, os; print(json.dumps({n: v for n, v in os.environ.items() if n.startswith('MOH') or n == 'TZ'}))"
HOME = "/home/me"
ENV_FILES = {
    "MOH_LOG=debug": {"MOH_LOG": "debug"},
    "MOH_LOG=debug\r\nMOH_DRAIN=30s\r\n": {"MOH_LOG": "debug", "MOH_DRAIN": "30s"},
    "\ufeffMOH_LOG=debug": {"MOH_LOG": "debug"},
    "export MOH_LOG=debug": {"MOH_LOG": "debug"},
    "  MOH_LOG =  debug  ": {"MOH_LOG": "debug"},
    "MOH_LOG: debug": {"MOH_LOG": "debug"},
    "MOH_LOG=debug # each message": {"MOH_LOG": "debug"},
    "#MOH_LOG=debug\n# MOH_DRAIN=1s\n\nMOH_LOG=": {"MOH_LOG": ""},
    'MOH_MUSIC="my music.mp3" # mine': {"MOH_MUSIC": "my music.mp3"},
    "MOH_MUSIC='my #1.mp3'": {"MOH_MUSIC": "my #1.mp3"},
    "MOH_MUSIC=my music.mp3": {"MOH_MUSIC": "my music.mp3"},
    "MOH_MUSIC=a#b.mp3": {"MOH_MUSIC": "a#b.mp3"},
    "MOH_MUSIC=./曲.mp3": {"MOH_MUSIC": "./曲.mp3"},
    "MOH_MUSIC=$HOME/a.mp3": {"MOH_MUSIC": f"{HOME}/a.mp3"},
    'MOH_MUSIC="${HOME}/a.mp3"': {"MOH_MUSIC": f"{HOME}/a.mp3"},
    "MOH_MUSIC='$HOME/a.mp3'": {"MOH_MUSIC": "$HOME/a.mp3"},
    "MOH_ALLOW=192.168.0.0/16,203.0.113.7\nTZ=Asia/Tokyo\nOTHER=1": {
        "MOH_ALLOW": "192.168.0.0/16,203.0.113.7", "TZ": "Asia/Tokyo",
    },
    "MOH_ALOW=1": {"MOH_ALOW": "1"},
    "MOH_ALLOW=0.0.0.0/0\nMOH_LOG=info\nMOH_ALLOW=192.168.0.0/16": {"MOH_ALLOW": "192.168.0.0/16", "MOH_LOG": "info"},
}  # fmt: skip
"""Contents of ``.env``, and what comes of them: the same as with Docker Compose, which reads the same file."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with ``start.sh``, and with a program in the place of the server."""
    folder = tmp_path / "moh"
    (folder / "tools").mkdir(parents=True)
    for name in ("start.sh", "tools/setup.sh", "requirements.txt"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "sip_server.py").write_text(PRINT)
    return folder


def run(project: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (project / ".env").write_bytes(text.encode())
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MOH", "PYTHON", "TZ"))}
    return subprocess.run(
        [str(project / "start.sh")], cwd=project.parent, env={**others, "HOME": HOME, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def started(project: Path, text: str, **environment: str) -> dict[str, str]:
    if not shutil.which("ffmpeg"):
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    ran = run(project, text, PYTHON=sys.executable, **environment)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    settings: dict[str, str] = json.loads(ran.stdout.splitlines()[-1])
    return settings


@pytest.mark.parametrize("text", ENV_FILES, ids=range(len(ENV_FILES)))
def test_start_sh_reads_the_env_file(project: Path, text: str) -> None:
    assert started(project, text) == ENV_FILES[text]


@pytest.mark.parametrize("text", ENV_FILES, ids=range(len(ENV_FILES)))
def test_docker_compose_reads_the_env_file_alike(tmp_path: Path, text: str) -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs Docker Compose")
    (tmp_path / ".env").write_bytes(text.encode())
    (tmp_path / "docker-compose.yml").write_text("services: {moh: {image: moh, env_file: .env}}")
    others = {name: value for name, value in os.environ.items() if not name.startswith("MOH") and name != "TZ"}
    ran = subprocess.run(
        ["docker", "compose", "config", "--format", "json"], cwd=tmp_path, env={**others, "HOME": HOME},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    environment = json.loads(ran.stdout.replace("$$", "$"))["services"]["moh"]["environment"]
    assert {name: value for name, value in environment.items() if name != "OTHER"} == ENV_FILES[text]


def test_a_variable_of_the_shell_comes_before_the_env_file(project: Path) -> None:
    settings = started(project, "MOH_LOG=debug\nMOH_DRAIN=30s", MOH_LOG="error", MOH_DRAIN="")
    assert settings == {"MOH_LOG": "error", "MOH_DRAIN": "30s"}


def test_a_home_with_an_ampersand_is_put_in_as_it_is(project: Path) -> None:
    """From bash 5.2 on, an unquoted & in a replacement stands for the text that is replaced."""
    settings = started(project, "MOH_MUSIC=$HOME/a.mp3\nMOH_CACHE=${HOME}/b", HOME="/home/r&d")
    assert settings == {"MOH_MUSIC": "/home/r&d/a.mp3", "MOH_CACHE": "/home/r&d/b"}


def test_a_relative_path_starts_where_it_was_written(project: Path) -> None:
    """In the shell that is the working folder, in ``.env`` the folder of that file, in which the server runs."""
    paths = {"MOH_MUSIC": "a.mp3", "MOH_CACHE": "./cache", "MOH_TLS_CERT": "c.pem", "MOH_TLS_KEY": "k.pem"}
    paths["MOH_TRACE"] = "t.pcapng,192.168.1.50"
    here = project.parent
    assert started(project, "", **paths) == {name: f"{here}/{path}" for name, path in paths.items()}
    text = "\n".join(f"{name}={path}" for name, path in paths.items())
    assert started(project, text) == paths
    absolute = {"MOH_MUSIC": "/a.mp3", "MOH_CACHE": "~/cache"}
    assert started(project, "", **absolute) == absolute
    assert started(project, "MOH_TLS_CERT=~/c.pem") == {"MOH_TLS_CERT": f"{HOME}/c.pem"}


def test_a_name_that_no_variable_can_have_stops_the_start(project: Path) -> None:
    ran = run(project, "MOH-ALLOW=10.0.0.0/8")
    assert ran.returncode == 1
    assert ran.stderr == "MOH-ALLOW in the file .env is not a setting; expected a name of letters, digits and _\n"


def test_the_env_file_may_choose_the_python(project: Path) -> None:
    ran = run(project, "PYTHON=/no/such/python3")
    assert ran.returncode == 1
    assert ran.stderr.startswith("PYTHON=/no/such/python3 does not run.")


def test_a_virtual_environment_that_is_a_link_is_not_emptied(project: Path) -> None:
    kept = project.parent / "environment of another project" / "file"
    kept.parent.mkdir()
    kept.touch()
    (project / ".venv").symlink_to(kept.parent)
    script = ". tools/setup.sh; python=python3 version=3.9; fill_venv requirements.txt"
    ran = subprocess.run(["bash", "-c", script], cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1 and ran.stderr.startswith(".venv is a link, and to make it anew would empty the folder")
    assert kept.exists()


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (["--explain", "my invite.txt"], ["--explain", "{here}/my invite.txt"]),
        (["--explain=my invite.txt"], ["--explain={here}/my invite.txt"]),
        (
            ["--explain", "/tmp/invite.txt", "--from", "10.0.0.9"],
            ["--explain", "/tmp/invite.txt", "--from", "10.0.0.9"],
        ),
        (["--explain"], ["--explain"]),
        (["--explain", "-"], ["--explain", "-"]),
        (["--from", "10.0.0.9", "--explain"], ["--from", "10.0.0.9", "--explain"]),
    ],
)
def test_the_file_that_is_explained_is_named_from_the_working_folder(
    project: Path, arguments: list[str], passed: list[str]
) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    (project / "sip_server.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    ran = subprocess.run(
        [str(project / "start.sh"), *arguments], cwd=project.parent, env={**os.environ, "PYTHON": sys.executable},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert json.loads(ran.stdout) == [each.format(here=project.parent) for each in passed], ran.stderr


# -- all is set up ----------------------------------------------------------------------------------------------------


@pytest.fixture
def set_up(project: Path) -> Path:
    """The project after a first start. The ``python3`` on its PATH says that it is 3.9, and does nothing else."""
    wrapper = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    for venv, version in ((".venv", "3.9"), (".venv-3.13", "3.13")):
        write_program(project / "home" / f"python{version}", wrapper)
        (project / venv / "bin").mkdir(parents=True)
        (project / venv / "bin" / "python").symlink_to(project / "home" / f"python{version}")
        (project / venv / "pyvenv.cfg").write_text(f"home = {project}/home\ninclude-system-site-packages = false\n")
        (project / venv / "requirements.txt").write_text(f"# {version}\n{(project / 'requirements.txt').read_text()}")
    asked = 'case $1 in -c) echo "python3 was asked" >&2; echo 3.9 ;; *) echo "python3 $*"; exit 1 ;; esac'
    write_program(project / "path" / "python3", f"#!/bin/sh\n{asked}\n")
    return project


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def start_again(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("ffmpeg"):
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    return run(project, "", PATH=f"{project / 'path'}{os.pathsep}{os.environ['PATH']}", **environment)


@pytest.mark.parametrize("python", ["", "python3.13", "/usr/bin/python3.13"])
def test_where_all_is_set_up_python3_is_not_asked_for_its_version(set_up: Path, python: str) -> None:
    ran = start_again(set_up, PYTHON=python)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("{}\n", "", 0)


def test_a_python_without_a_version_in_its_name_is_asked(set_up: Path) -> None:
    ran = start_again(set_up, PYTHON=str(set_up / "path" / "python3"))
    assert "Installing Python packages into .venv-3.9" in ran.stdout


def test_other_packages_are_installed(set_up: Path) -> None:
    with (set_up / "requirements.txt").open("a") as file:
        file.write("another==1.0\n")
    ran = start_again(set_up)
    assert "Installing Python packages into .venv" in ran.stdout and "python3 -m venv --clear .venv" in ran.stderr


def test_the_check_installs_nothing_and_gets_its_options(set_up: Path) -> None:
    """Not even ffmpeg: that it is missing is one of the findings."""
    (set_up / "sip_server.py").write_text("import os, sys; print(sys.argv[1:], os.environ['PATH'])")
    ran = subprocess.run(
        ["/bin/bash", "./start.sh", "--check", "--json"], cwd=set_up, capture_output=True, text=True, check=False,
        env={"PATH": "/no/programs"},
    )  # fmt: skip
    assert (ran.stdout, ran.stderr) == (f"['--check', '--json'] /no/programs:{set_up}/.ffmpeg\n", "")
    assert not (set_up / ".ffmpeg").exists()


@pytest.mark.parametrize("now", ["another version", "gone"])
def test_a_virtual_environment_is_made_anew_if_its_python_has_changed(set_up: Path, now: str) -> None:
    (set_up / "home" / "python3.9").unlink()
    if now == "another version":  # /usr/bin/python3 names the new one after an upgrade of the system
        write_program(set_up / "home" / "python3", "#!/bin/sh\n[ $1 = -c ] && echo 3.10\n")
        (set_up / ".venv" / "bin" / "python").unlink()
        (set_up / ".venv" / "bin" / "python").symlink_to(set_up / "home" / "python3")
        (set_up / "path" / "python3").unlink()
        (set_up / "path" / "python3").symlink_to(set_up / "home" / "python3")
    ran = start_again(set_up)
    assert "Installing Python packages into .venv" in ran.stdout


def test_the_script_finds_its_folder_by_a_link_and_by_a_relative_path(set_up: Path) -> None:
    (set_up.parent / "music").symlink_to(set_up / "start.sh")
    for script in ("./music", "moh/start.sh", f"{set_up}/start.sh"):
        ran = subprocess.run(
            ["bash", script], cwd=set_up.parent, capture_output=True, text=True, check=False,
            env={"PATH": os.environ["PATH"], "CDPATH": "/", "MOH_MUSIC": "a.mp3"},
        )  # fmt: skip
        assert ran.stdout == f'{{"MOH_MUSIC": "{set_up.parent}/a.mp3"}}\n', script


WAIT_FOR_SLIM = """
import json, shutil, time
give_up = time.monotonic() + 30
while not (slim := shutil.which("moh-ffmpeg")) and time.monotonic() < give_up:
    time.sleep(0.01)
print(json.dumps({"slim": slim}))
"""


def test_start_sh_builds_a_slim_ffmpeg_while_the_server_runs_and_installs_nothing_for_it(project: Path) -> None:
    (project / "sip_server.py").write_text(WAIT_FOR_SLIM)
    programs = {
        project / "tools" / "build_ffmpeg.sh": '[ "$INSTALL" = no ] && cp "$0" "$1/ffmpeg"',
        project / "fakes" / "sleep": "exit 0",
        project / "fakes" / "gcc": "exit 0",
    }
    for program, does in programs.items():
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
    path = f"{project / 'fakes'}{os.pathsep}{os.environ['PATH']}"
    assert started(project, "", PATH=path) == {"slim": str(project / ".ffmpeg" / "moh-ffmpeg")}
