"""Tests of the architecture: imports point down the table in ``docs/architecture.md``, and the core touches nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_LINES = 400
"""The most lines of a module."""

# -- the tables of the document --------------------------------------------------------------------------------------


def rows(heading: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the table whose first column has the heading ``heading``."""
    for row in DOCUMENT.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]:
        yield [cell.strip() for cell in row.strip("|").split("|")]


class Package(NamedTuple):
    """A row of the table of packages. ``name`` is ``sip`` for ``moh.sip``, or ``sip_server.py``."""

    name: str
    imports: set[str]
    """What the package may import: other packages, or single modules such as ``sip.framing``."""
    touches: set[str]
    """What the package touches: words of the second table, such as ``sockets``."""

    @property
    def files(self) -> list[Path]:
        return [ROOT / self.name] if self.name.endswith(".py") else sorted((ROOT / "moh" / self.name).glob("*.py"))


def read_packages() -> Iterator[Package]:
    for name, _, imports, touches in rows("package"):
        name = name.strip("`")
        yield Package(name.removeprefix("moh."), set(imports.split()) - {"–"}, set(touches.split()) - {"–"})


PACKAGES = list(read_packages())
CORE = [package for package in PACKAGES if not package.touches]
LIBRARY = {word: set(re.findall(r"`(\w+)`", modules)) for word, modules in rows("word")}
"""Modules of the standard library, by the word for what they touch."""
ALWAYS_ALLOWED = LIBRARY.pop("(always allowed)")


def each(packages: list[Package]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("package", packages, ids=[package.name for package in packages])


# -- the imports of a file -------------------------------------------------------------------------------------------


class Import(NamedTuple):
    """One import of a module. ``names`` follow ``from module import``; ``import module`` has none."""

    module: str
    names: list[str]
    line: int
    for_types_only: bool
    """Whether the import is below ``if TYPE_CHECKING``."""

    @property
    def is_of_the_project(self) -> bool:
        return self.module == "moh" or self.module.startswith("moh.")


def imports_of(path: Path) -> Iterator[Import]:
    """Yield all imports in a file, with absolute names of modules."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    folder = path.relative_to(ROOT).parts[:-1]
    checks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    for_types = {inner for check in checks for statement in check.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package = folder[: len(folder) - node.level + 1] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            yield Import(module, [alias.name for alias in node.names], node.lineno, node in for_types)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, [], node.lineno, node in for_types)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# -- imports point down ----------------------------------------------------------------------------------------------


def test_the_table_names_each_package() -> None:
    folders = {path.parent.name for path in (ROOT / "moh").glob("*/__init__.py")}
    assert {package.name for package in PACKAGES} == folders | {"sip_server.py"}
    assert [package.name for package in CORE] == ["common", "sdp", "guard", "rtp", "sip"]


def test_a_row_names_only_rows_above_it() -> None:
    above: set[str] = set()
    for package in PACKAGES:
        below = {name for name in package.imports if name.partition(".")[0] not in above}
        assert not below, f"the row of {package.name} in docs/architecture.md imports {below} from rows below it"
        above.add(package.name)


@each(PACKAGES)
def test_a_package_imports_what_its_row_names(package: Package) -> None:
    for path in package.files:
        for found in imports_of(path):
            name = found.module.removeprefix("moh.")
            owner = name.partition(".")[0]
            if found.is_of_the_project and found.module != "moh" and owner != package.name:
                assert {owner, name} & package.imports, (
                    f"{name_of(path)} line {found.line} imports {found.module}; "
                    f"its row in docs/architecture.md allows {sorted(package.imports)}"
                )


@each(PACKAGES)
def test_an_import_names_the_module_that_it_is_from(package: Package) -> None:
    """The import is written ``from .module import name``. An import of a package would hide which module is used."""
    for path in package.files:
        for found in imports_of(path):
            if found.is_of_the_project and found.names != ["__version__"]:
                assert len(found.module.split(".")) == 3, (
                    f"{name_of(path)} line {found.line}: expected 'from .module import name'"
                )


# -- no circle of imports --------------------------------------------------------------------------------------------


def graph_of(folder: str) -> dict[str, set[str]]:
    """Return for each module below ``folder`` which other modules below ``folder`` it imports."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / folder).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        imports = list(imports_of(path))
        named = {f"{found.module}.{name}" for found in imports for name in found.names}
        graph[name] = ({found.module for found in imports} | named) & paths.keys()
    return graph


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the names along one circle of imports; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name not in done:
            for other in sorted(graph[name]):
                if found := walk(other, [*trail, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


@pytest.mark.parametrize("folder", ["moh", "bench"])
def test_there_is_no_circle_of_imports(folder: str) -> None:
    graph = graph_of(folder)
    assert any(graph.values()), "imports are found"
    assert find_cycle(graph) == []


def test_a_circle_is_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


# -- what a package touches ------------------------------------------------------------------------------------------


@each([package for package in PACKAGES if package.touches != {"everything"}])
def test_a_package_touches_what_its_row_names(package: Package) -> None:
    allowed = ALWAYS_ALLOWED.union(*(LIBRARY[word] for word in package.touches))
    for path in package.files:
        for found in imports_of(path):
            if not found.is_of_the_project and not found.for_types_only:
                assert found.module.partition(".")[0] in allowed, (
                    f"{name_of(path)} line {found.line} imports {found.module}; "
                    f"its row in docs/architecture.md allows {sorted(package.touches) or 'no touch'}"
                )


@each(CORE)
def test_the_core_calls_no_builtin_that_touches_anything(package: Package) -> None:
    for path in package.files:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        called = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
        assert not called & {"open", "print", "input", "exec", "eval", "__import__"}, name_of(path)


# -- size ------------------------------------------------------------------------------------------------------------


def test_a_module_has_at_most_400_lines() -> None:
    """``test_sip_client.py`` may have more. It is one file, so that it can be copied to the phones' network."""
    paths = [
        *ROOT.glob("*.py"),
        *(path for name in ("moh", "tests", "bench", "tools") for path in (ROOT / name).rglob("*.py")),
    ]
    counts = {name_of(path): path.read_text(encoding="utf-8").count("\n") for path in paths}
    del counts["test_sip_client.py"]
    long = {name: count for name, count in counts.items() if count > MOST_LINES}
    assert not long, f"split these: {long}"
