"""The texts of the page: whole in both languages, and none missing for what the server's code says in fixed words."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Optional, Union

import pytest

from moh.common.config import Settings
from moh.doctor.texts import TEXTS
from moh.guard.media_limits import TOO_MUCH_MUSIC
from moh.guard.rate_limit import TOO_MANY, TOO_SHORT
from moh.server.now_playing import UNDECIDED
from moh.server.stream_limit import TOO_FAST
from moh.server.wiring import STAND_IN
from moh.sip.snapshot import ON_HOLD, PLAYING, WAITING

ROOT = Path(__file__).parent.parent.parent
STATIC = ROOT / "moh" / "http" / "static"
SOURCES = [*sorted((ROOT / "moh").rglob("*.py")), ROOT / "sip_server.py"]
LANGUAGES = ("en", "ja")
SCRIPTS = "".join(path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js")))
PAGE = (STATIC / "page.html").read_text(encoding="utf-8")

Text = Union[str, dict[str, str]]


@cache
def texts(language: str) -> dict[str, Text]:
    found: dict[str, Text] = json.loads((STATIC / f"{language}.json").read_text(encoding="utf-8"))
    return found


def group(language: str, name: str) -> dict[str, str]:
    found = texts(language)[name]
    assert isinstance(found, dict)
    return found


def phrase(language: str, name: str, text: str) -> Optional[str]:
    """What the page shows for ``text``; ``None`` where it has nothing for it. ``phrase`` of words.js does the same."""
    for key, said in group(language, name).items():
        if re.fullmatch(re.escape(key).replace(r"\{\}", "(.*?)"), text, re.DOTALL):
            return said
    return None


# -- what the code says ----------------------------------------------------------------------------------------------


@cache
def trees(folder: str = "") -> list[ast.Module]:
    """The parsed modules, all or those in a folder of ``moh``."""
    return [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES if folder in (path.parent.name, "")]


@cache
def constants() -> dict[str, str]:
    """All texts that have a name at the top of a module."""
    found = {}
    for tree in trees():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                name, value = node.targets[0], node.value.value
                if isinstance(name, ast.Name) and isinstance(value, str):
                    found[name.id] = value
    return found


def written(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can be, with 7 in place of whatever is known only later; none for a variable."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from written(node.body)
        yield from written(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from written(value)
    elif isinstance(node, ast.Name) and node.id in constants():
        yield constants()[node.id]


def arguments(function: str, place: int, folder: str = "") -> set[str]:
    """The texts that the code gives to ``function`` as its argument number ``place``."""
    found: set[str] = set()
    for node in calls(folder):
        if name_of(node) == function and len(node.args) > place:
            found.update(written(node.args[place]))
    return found - {""}


@cache
def calls(folder: str) -> list[ast.Call]:
    """All calls in the modules."""
    return [node for tree in trees(folder) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    """The name of the function or method that is called."""
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def ends_by() -> set[str]:
    """All values of ``Call.ended_by`` but SIP statuses."""
    return {"longest call", constants()["SERVER_FAULT"]}.union(
        arguments("hang_up", 1), arguments("_end", 1, "sip"), arguments("end_at_latest", 1), arguments("Verdict", 1)
    )


def test_the_collected_texts_are_those_of_the_code() -> None:
    assert {"BYE", "no ACK", "server stops", "session timer", "RTCP BYE", "host unreachable"} <= ends_by()
    assert {"nothing arrives", "scanner", "dialled name without address"} <= arguments("log_first", 0)


# -- none is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_end_of_a_call_has_plain_words(language: str) -> None:
    assert {text for text in ends_by() if text not in group(language, "reasons")} == set()


def test_each_sentence_about_an_end_has_a_japanese_one() -> None:
    sentences = arguments("hang_up", 0) | arguments("_end", 0, "sip") | arguments("Verdict", 0)
    sentences |= {f"{by}, 7 s" for by in (*arguments("end_at_latest", 1), "longest call")}
    sentences |= {"BYE from the caller", "BYE from the caller ('SIP;cause=200')"}
    sentences -= {"7, 7 s", "BYE from the caller7"}
    assert {text for text in sentences if phrase("ja", "whys", text) is None} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_reason_of_a_refusal_has_plain_words(language: str) -> None:
    reasons = arguments("log_first", 0) | arguments("count_and_should_log", 0) | arguments("should_log", 0)
    reasons |= {*TOO_MANY, TOO_SHORT, TOO_FAST, TOO_MUCH_MUSIC, "not in MOH_ALLOW"}
    reasons |= {"unacknowledged"}  # ``Responder.only_first_notes``
    known = group(language, "refusals")
    assert {text for text in reasons if text not in known and not text.startswith("7")} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_status_of_a_refusal_has_plain_words(language: str) -> None:
    refusals = [node.args[0] for node in calls("") if name_of(node) == "Refusal"]
    statuses = {str(status.value) for status in refusals if isinstance(status, ast.Constant)}
    assert {"400", "488", "503"} <= statuses <= set(group(language, "statuses"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_state_of_a_call_has_plain_words(language: str) -> None:
    assert {WAITING, PLAYING, ON_HOLD} == set(group(language, "states"))


def test_what_receivers_report_has_japanese_words() -> None:
    said: set[str] = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name in ("heard", "text") and node.returns is not None:
                for each in ast.walk(node):
                    if isinstance(each, ast.Return) and each.value is not None:
                        said.update(text for text in written(each.value) if "receiver" in text)
    assert "no report from the receiver" in said and len(said) >= 4, said
    assert {text for text in said if phrase("ja", "heard", text) is None} == set()


def test_each_setting_has_its_japanese_text() -> None:
    assert [name for name, _, _ in Settings.table()] == list(group("ja", "settings"))


def test_what_was_done_to_the_music_has_japanese_words() -> None:
    """The same replacements as ``phrases`` of words.js."""
    sources = [ROOT / "moh" / "mastering" / name for name in ("report.py", "arrange.py")]
    trees = [ast.parse(source.read_text(encoding="utf-8")) for source in sources]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    said: set[str] = set()
    for function in functions:
        if function.name in ("in_plain_words", "_louder", "_seam", "_report"):
            nodes = [node for statement in function.body[ast.get_docstring(function) is not None :]
                     for node in ast.walk(statement) if isinstance(node, ast.expr)]  # fmt: skip
            parts = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
            said.update(text for node in nodes if node not in parts for text in written(node))
    said -= {", with any noise in it", "as it was", "faded"}  # the end of another; two values that are compared
    assert "as loud as it was" in said and "made 7 dB quieter" in said
    left = {}
    for text in said:
        rest = text
        for key, words in group("ja", "report").items():
            rest = re.sub(re.escape(key).replace(r"\{\}", r"([\d.]+)"), words, rest)
        if re.search("[a-z]{3}", rest):
            left[text] = rest
    assert left == {}


# -- the two languages -----------------------------------------------------------------------------------------------


def places(text: Text) -> set[str]:
    every = [text] if isinstance(text, str) else list(text.values())
    return {name for each in every for name in re.findall(r"\{\w*\}", each)}


def test_both_languages_have_the_same_texts_with_the_same_places() -> None:
    assert list(texts("en")) == list(texts("ja"))
    for key, english in texts("en").items():
        if key not in (
            "whys",
            "heard",
            "report",
            "settings",
            "namewhys",
            "notes",
        ):  # English ones are those of the server
            assert places(texts("ja")[key]) == places(english), key


def test_each_text_is_used_and_each_used_text_exists() -> None:
    used = set(re.findall(r'data-(?:text|label)="([\w.]+)"', PAGE)) | set(re.findall(r'"([a-z]+\.[\w.]+)"', SCRIPTS))
    used |= {"none", "title", "skip", "footer", "updated", "error.sentence", "warning.sentence"}
    made = {"level.", "sign.", "codec.", "engine.", "kind.", "namestate."}
    assert all(f"`{prefix}$" in SCRIPTS for prefix in made) and "`${worst.level}.sentence`" in SCRIPTS
    plain = {key for key, text in texts("en").items() if "." in key or isinstance(text, str)}
    assert {key for key in used if key not in plain and not key.endswith((".json", ".js"))} == set()
    assert {key for key in plain if key not in used and not key.startswith(tuple(made))} == set()


def test_the_script_knows_the_fixed_texts_of_the_server() -> None:
    assert f'UNDECIDED = "{UNDECIDED}"' in SCRIPTS
    assert f'STAND_IN = "{STAND_IN}"' in SCRIPTS


def test_the_script_knows_the_findings_about_refused_music() -> None:
    listed = re.search(r"const MUSIC_REFUSED = (\[.*?\]);", SCRIPTS)
    assert listed
    for name in json.loads(listed[1]):
        assert TEXTS[name].level == "error"


# -- nothing from elsewhere ------------------------------------------------------------------------------------------


def test_the_page_takes_no_file_from_elsewhere_and_has_no_inline_script_or_style() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path.name
        assert "innerHTML" not in text and "eval(" not in text, path.name
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)|javascript:", PAGE)


def test_the_pictures_of_the_page_are_there_and_small() -> None:
    """``python3 -m tools.page_pictures`` takes them."""
    made = product(LANGUAGES, ("wide", "narrow"), ("light", "dark"))
    pictures = [ROOT / "docs" / "pictures" / f"page-{'-'.join(each)}.png" for each in made]
    pictures += [ROOT / "docs" / "pictures" / f"page-{language}-names.png" for language in LANGUAGES]
    assert sum(picture.stat().st_size for picture in pictures) < 660_000
