"""The law of structure: imports point down as the table in ``docs/architecture.md`` says, and the core only decides."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LONGEST = 400
"""Lines that a module may have."""


def table(heading: str) -> Iterator[list[str]]:
    """The cells of each row below the table's head, which begins with ``heading``."""
    rows = DOCUMENT.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    for row in rows:
        yield [cell.strip() for cell in row.strip("|").split("|")]


WORLD = {word: set(re.findall(r"`(\w+)`", modules)) for word, modules in table("word")}
ALWAYS = WORLD.pop("(always allowed)")
PACKAGES = {
    name.strip("`").removeprefix("moh.") if name.startswith("`moh.") else name.strip("`"): (
        set(imports.split()) - {"–"},
        set(touches.split()) - {"–"},
    )
    for name, _, imports, touches in table("package")
}
CORE = [name for name, (_, touches) in PACKAGES.items() if not touches]


def modules(package: str) -> list[Path]:
    if package.endswith(".py"):
        return [ROOT / package]
    return sorted((ROOT / "moh" / package).glob("*.py"))


def imported(path: Path) -> tuple[set[str], set[str]]:
    """What a module imports: modules of ``moh`` as "package.module", and the others by their first name.

    Other modules that are imported for annotations only (below ``if TYPE_CHECKING``) are left out.
    """
    inside, outside = set(), set()
    here = path.relative_to(ROOT).with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = ".".join(here[: -node.level]) + "." if node.level else ""
            name = f"{base}{node.module or ''}".strip(".")
            if name == "moh" or name.startswith("moh."):
                assert len(name.split(".")) == 3 or [alias.name for alias in node.names] == ["__version__"], (
                    f"{path.relative_to(ROOT)} line {node.lineno}: write 'from .module import name'"
                )
                inside.add(name.removeprefix("moh").strip("."))
            elif node not in types_only:
                outside.add(name.partition(".")[0])
        elif isinstance(node, ast.Import) and node not in types_only:
            outside.update(alias.name.partition(".")[0] for alias in node.names)
    return inside - {""}, outside


def test_the_table_names_each_package() -> None:
    folders = {path.parent.name for path in (ROOT / "moh").glob("*/__init__.py")}
    assert {name for name in PACKAGES if not name.endswith(".py")} == folders
    assert CORE == ["common", "sdp", "guard", "rtp", "sip"]


def test_each_row_imports_from_the_rows_above_it_only() -> None:
    above: set[str] = set()
    for name, (imports, _) in PACKAGES.items():
        assert {word.partition(".")[0] for word in imports} <= above, f"the row of {name} points down"
        above.add(name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_what_its_row_names(package: str) -> None:
    allowed = PACKAGES[package][0]
    for path in modules(package):
        for name in imported(path)[0]:
            owner = name.partition(".")[0]
            assert owner == package or owner in allowed or name in allowed, (
                f"{path.relative_to(ROOT)} imports {name}; its row in docs/architecture.md allows {sorted(allowed)}"
            )


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The names along one circle of imports; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := walk(other, [*trail, name]):
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        if found := walk(name, []):
            return found
    return []


def test_the_product_has_no_circle_of_imports() -> None:
    graph = {f"{path.parent.name}.{path.stem}": imported(path)[0] for path in (ROOT / "moh").glob("*/*.py")}
    assert not cycle(graph), cycle(graph)


def test_the_benchmarks_have_no_circle_of_imports() -> None:
    graph: dict[str, set[str]] = {}
    for path in (ROOT / "bench").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                base = ".".join(path.relative_to(ROOT).with_suffix("").parts[: -node.level]) + "." if node.level else ""
                origin = f"{base}{node.module or ''}".strip(".")
                graph[name] |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    known = {name: {other for other in others if other in graph} for name, others in graph.items()}
    assert not cycle(known), cycle(known)


def test_a_circle_would_be_seen() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "sip_server.py"])
def test_a_package_touches_what_its_row_names(package: str) -> None:
    allowed = ALWAYS.union(*(WORLD[word] for word in PACKAGES[package][1]))
    for path in modules(package):
        unexpected = imported(path)[1] - allowed
        assert not unexpected, f"{path.relative_to(ROOT)} imports {unexpected}; see docs/architecture.md"


@pytest.mark.parametrize("package", CORE)
def test_the_core_calls_nothing_that_reads_the_world(package: str) -> None:
    for path in modules(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"open", "print", "input", "exec", "eval", "__import__"}, path


@pytest.mark.xfail(reason="the cuts are next")
def test_a_module_has_at_most_400_lines() -> None:
    product = [*(ROOT / "moh").rglob("*.py"), *ROOT.glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    long = {
        str(path.relative_to(ROOT)): count
        for path in [*product, *(ROOT / "bench").rglob("*.py"), *(ROOT / "tools").glob("*.py")]
        if (count := path.read_text(encoding="utf-8").count("\n")) > LONGEST and path.name != "test_sip_client.py"
    }
    assert not long, f"split these: {long}"
