"""The locked packages are those that ``pyproject.toml`` asks for, with hashes. These tests need no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PYTHONS = ("3.9.2", "3.9.25", "3.10.13", "3.11.2", "3.12.1", "3.13.5", "3.14.0")
LOCKS = {"server": "requirements.txt", "compile": "requirements-compile.txt", "dev": "requirements-dev.txt"}
"""For each group of ``pyproject.toml`` the file that ``tools/lock.sh`` writes."""


class Locked(NamedTuple):
    requirement: Requirement
    hashes: frozenset[str]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        return str(self.requirement.specifier).removeprefix("==")

    def is_for(self, python: str) -> bool:
        marker = self.requirement.marker
        return marker is None or marker.evaluate(linux(python))

    def is_here(self) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def linux(python: str) -> dict[str, str]:
    return {
        "python_full_version": python, "python_version": ".".join(python.split(".")[:2]), "sys_platform": "linux",
        "platform_system": "Linux", "os_name": "posix", "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }  # fmt: skip


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def locked(name: str) -> list[Locked]:
    lines = re.sub(r" \\\n +", " ", text_of(name)).splitlines()
    found = []
    for line in lines:
        if line and not line.startswith(("#", "--")):
            requirement, *hashes = line.split(" --hash=")
            found.append(Locked(Requirement(requirement), frozenset(hashes)))
    return found


def asked(group: str) -> list[Requirement]:
    """The ranges of a group of ``pyproject.toml``, and of the groups that it includes."""
    table = text_of("pyproject.toml").partition("[dependency-groups]")[2].partition("\n[")[0]
    body = re.search(rf"^{group} = \[\n(.*?)^\]", table, re.MULTILINE | re.DOTALL)
    assert body, f"pyproject.toml has no group {group}"
    found = [Requirement(text) for text in re.findall(r'^    "([^"]*)"', body[1], re.MULTILINE)]
    for included in re.findall(r'include-group = "(\w+)"', body[1]):
        found += asked(included)
    return found


def needed(requirements: list[Requirement], done: set[str]) -> Iterator[str]:
    """Yield the names of all packages that ``requirements`` need here, by what the installed packages say."""
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        key = f"{name}[{','.join(sorted(requirement.extras))}]"
        if key in done or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        done.add(key)
        yield name
        for text in requires(name) or []:
            further = Requirement(text)
            extras = ["", *requirement.extras]
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                further.marker = None
                yield from needed([further], done)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("group", LOCKS)
def test_each_python_gets_one_version_of_each_package_and_it_is_one_that_was_asked_for(group: str, python: str) -> None:
    here = [entry for entry in locked(LOCKS[group]) if entry.is_for(python)]
    versions = {entry.name: entry.version for entry in here}
    assert len(versions) == len(here)
    for requirement in asked(group):
        if requirement.marker is None or requirement.marker.evaluate(linux(python)):
            name = canonicalize_name(requirement.name)
            assert name in versions, f"{LOCKS[group]} lacks {name} for Python {python}: run tools/lock.sh"
            assert requirement.specifier.contains(versions[name]), (
                f"{LOCKS[group]} has {name} {versions[name]}; pyproject.toml wants {requirement}: run tools/lock.sh"
            )


@pytest.mark.parametrize("name", LOCKS.values())
def test_each_package_has_hashes_and_no_line_names_a_host(name: str) -> None:
    entries = locked(name)
    assert entries
    for entry in entries:
        assert re.fullmatch(r"==[\w.]+", str(entry.requirement.specifier)), entry.requirement
        assert entry.hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in entry.hashes)
    assert "://" not in text_of(name)
    assert "--only-binary :all:" in text_of(name).splitlines(), (
        "an sdist would run with build tools that are not locked"
    )


def test_the_tests_have_the_packages_of_the_server_and_of_its_compiler() -> None:
    dev = {(entry.name, entry.version, entry.hashes) for entry in locked("requirements-dev.txt")}
    server = locked("requirements.txt")
    assert {(entry.name, entry.version, entry.hashes) for entry in server} <= dev
    assert {(entry.name, entry.version, entry.hashes) for entry in locked("requirements-compile.txt")} <= dev
    assert not [entry for entry in server if entry.requirement.marker], "in_python of tools/setup.sh reads no markers"


def test_the_lock_has_all_packages_that_are_needed_here_and_no_others() -> None:
    here = {entry.name: entry.version for entry in locked("requirements-dev.txt") if entry.is_here()}
    try:
        names = set(needed(asked("dev"), set()))
        installed = {name: version(name) for name in names}
    except PackageNotFoundError as error:
        pytest.fail(f"the package {error} is not installed; expected all of requirements-dev.txt, as by ./test.sh")
    tool = {"pip": installed.get("pip", "")}  # any version of it installs all others
    assert {**installed, **tool} == {**here, **tool}


@pytest.mark.parametrize("path", ["tools/setup.sh", "Dockerfile"])
def test_packages_are_installed_by_their_hashes(path: str) -> None:
    text = text_of(path).replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert installs and all("--require-hashes" in line for line in installs)


def test_mypy_reads_the_packages_as_the_python_that_has_them() -> None:
    """With a ``python_version`` mypy refuses the syntax of packages that are installed for a newer Python."""
    assert not re.search(r"^python_version\b", text_of("pyproject.toml"), re.MULTILINE)
