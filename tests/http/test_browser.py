"""End to end: the page in a real browser, beside a real server with real calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.names_state import names_state, radio
from tests.http.page_state import call, ended, sample_state
from tests.support.chromium import Browser, Page, Visit, chromium, why_no_browser
from tests.support.phone import Ear, Phone, offer
from tests.support.rtcp import block, receiver_report
from tests.support.running import Running, free_ports

pytestmark = pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "there is a browser")

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 740}
IS_MADE = """async (player) => {
  const ready = async () => (await fetch(player.src, { headers: { Range: "bytes=0-1" } })).ok;
  for (let trials = 0; !await ready(); trials += 1) {
    if (trials > 60) throw new Error(`no ${player.src}`);
    await new Promise((done) => setTimeout(done, 500));
  }
}"""
"""Waits until the server has made the music of a player."""
HEAR = """async (player) => {
  const context = new AudioContext(), analyser = context.createAnalyser(), begin = performance.now();
  context.createMediaElementSource(player).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let loudest = 0;
  while (player.currentTime < 0.5) {
    if (performance.now() - begin > 20_000) throw new Error(`${player.src} does not play: ${player.error?.message}`);
    await new Promise((done) => setTimeout(done, 20));
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples.map(Math.abs));
  }
  return loudest;
}"""
"""The highest sample of the first half second that a player plays."""
OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, music_cache: Path) -> Iterator[Running]:
    """A server with a page. Each test ends its calls."""
    port = free_ports(1)
    with Running(tmp_path_factory.mktemp("page"), music_cache, MOH_HTTP=f"127.0.0.1:{port}") as server:
        yield server.ready()


@pytest.fixture
def open_page(browser: Browser, running: Running) -> Iterator[OpenPage]:
    """Opens the page as a reader sees it. At the end the browser must not have complained of anything."""
    visits: list[Visit] = []

    def opened(state: Any = None, fragment: str = "", **reader: Any) -> Page:
        visits.append(Visit(browser, **{"viewport": WIDE, **reader}))
        page = visits[-1].open(f"http://{running.settings['MOH_HTTP']}/{fragment}", state)
        page.wait_for_selector("#status:not([data-kind=waiting])")
        return page

    yield opened
    for visit in visits:
        visit.close()
    assert [each for visit in visits for each in visit.complaints] == []


def rows(page: Page, table: str) -> Any:
    return page.locator(f"#{table} tbody tr")


def wait_for_text(page: Page, selector: str, text: str) -> None:
    """Wait until an element with ``selector`` holds ``text``, for longer than the page and the server need."""
    page.locator(selector).filter(has_text=text).first.wait_for(timeout=15_000)


# -- with a real call ------------------------------------------------------------------------------------------------


def test_a_call_comes_and_ends_before_the_eyes_of_the_owner(running: Running, open_page: OpenPage) -> None:
    page = open_page()
    wait_for_text(page, "#calls-count", "0 calls")
    with Phone(running.address) as phone, Ear("127.0.0.2") as held:
        answer = phone.call_with(offer(held.address, "a=recvonly", formats="0"))
        wait_for_text(page, "#calls tbody tr", "201@127.0.0.1")
        wait_for_text(page, "#calls-count", "1 call")
        shown = rows(page, "calls").inner_text()
        for expected in ("PCMU", f"127.0.0.2:{held.address[1]}", f"from port {answer.media[1]}", "plays", "ffmpeg"):
            assert expected in shown
        heard = held.packets(100)[-1]
        report = receiver_report(block(heard.ssrc, 0, 2, heard.sequence, 56))
        held.send_rtcp(report, (answer.media[0], answer.media[1] + 1))
        wait_for_text(page, "#calls tbody tr", "2% lost, jitter 7 ms")
        phone.bye()
    wait_for_text(page, "#calls-count", "0 calls")
    wait_for_text(page, "#ended tbody tr", "The caller took the call back, or hung up")
    assert "201@127.0.0.1" in rows(page, "ended").first.inner_text()


def test_a_refused_call_is_told_in_plain_words(running: Running, open_page: OpenPage) -> None:
    page = open_page(locale="ja-JP")
    with Phone(running.address) as phone:
        refused = phone.ask(phone.request("INVITE", body=offer(("127.0.0.2", 4000), formats="18")))
        assert refused.status == 488
    wait_for_text(page, "#refusals tbody tr", "拒否：電話機が示したコーデックまたは送り先を、このサーバーは使えません")


def test_each_player_plays_what_callers_hear(open_page: OpenPage) -> None:
    page = open_page()
    players = page.locator("audio")
    page.wait_for_selector("audio")
    assert players.count() == page.locator("#players li").count() >= 3
    for index in range(players.count()):
        player = players.nth(index)
        player.evaluate(IS_MADE)
        player.focus()
        page.keyboard.press("Space")
        assert player.evaluate(HEAR) > 0.01, player.get_attribute("src")
        assert player.evaluate("(player) => player.duration") > 10
    assert page.locator("audio").evaluate_all("(all) => all.filter((each) => !each.paused).length") == 1


def test_the_waveform_is_drawn(open_page: OpenPage) -> None:
    page = open_page()
    page.wait_for_selector("#waveform path[d^=M]", state="attached")
    assert page.locator("#waveform").get_attribute("aria-label").startswith("Waveform of the music: ")


# -- what the page makes of a state ----------------------------------------------------------------------------------


def test_the_browser_chooses_the_language_and_the_owner_another(open_page: OpenPage) -> None:
    page = open_page(sample_state(), locale="ja-JP")
    assert page.locator("html").get_attribute("lang") == "ja"
    assert page.locator("#sentence").inner_text() == "正常です。保留中の相手に音楽が流れます。"
    assert "保留中の相手" in page.locator("#music h3").inner_text()
    assert not re.search(r"[a-z]{3,} [a-z]{3,} [a-z]{3,}", page.locator("#calls").inner_text()), "English is left"
    page.get_by_role("link", name="English").click()
    assert page.locator("#sentence").inner_text() == "All is well: callers on hold hear your music."
    assert page.url.endswith("#lang=en")
    assert page.locator("html").get_attribute("lang") == "en"
    assert open_page(sample_state(), fragment="#lang=ja").locator("html").get_attribute("lang") == "ja"
    assert open_page(sample_state(), locale="fr-FR").locator("html").get_attribute("lang") == "en"


def test_each_trouble_is_said_with_what_to_do(open_page: OpenPage) -> None:
    state = sample_state()
    state["trouble"] = "Cannot play your.mp3: it holds no sound"
    words = {"what": "Port closed.", "why": "No calls.", "do": "Open it."}
    state["findings"] = [
        {"id": "x", "level": "warning", "en": words, "ja": {"what": "ポート", "why": "理由", "do": "対処"}},
        {"id": "y", "level": "ok", "en": {"what": "Fine.", "why": "", "do": ""}, "ja": words},
    ]
    page = open_page(state)
    assert page.locator("#sentence").inner_text().startswith("Something is wrong. Your music cannot be played")
    found = page.locator("#findings").inner_text()
    for expected in (
        "Cannot play your.mp3: it holds no sound", "What to do: Replace the file",
        "Warning: Port closed.", "No calls.", "What to do: Open it.",
    ):  # fmt: skip
        assert expected in found
    assert "Fine." not in found
    assert page.title() == "Music on hold: something is wrong"


def test_what_the_start_found_of_the_music_is_gone_when_the_music_plays(open_page: OpenPage) -> None:
    words = {"what": "music.mp3 cannot be read.", "why": "Callers hear other music.", "do": "chmod a+r music.mp3"}
    state = sample_state()
    state["findings"] = [{"id": "music-unreadable", "level": "error", "en": words, "ja": words}]
    assert "All is well" in open_page(state).locator("#sentence").inner_text()
    state["trouble"] = "Cannot play music.mp3: Permission denied"
    page = open_page(state)
    assert page.locator("#sentence").inner_text() == "Something is wrong. music.mp3 cannot be read."
    assert page.locator("#findings li").count() == 1


def test_text_from_the_network_stays_text(open_page: OpenPage) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    state = sample_state(calls=1, ends=1)
    for row in (*state["calls"]["listed"], *state["ended"]):
        row.update(caller=evil, codec=evil, engine=evil, receiver=evil, heard=evil, state=evil, loss=None)
    state["ended"][0].update(reason=evil, why=evil)
    state["refusals"][0].update(reason=evil, text=evil, source=evil)
    state.update(trouble=evil, uri=evil, uri_advice=[evil], version=evil)
    state["music"].update(name=evil, summary=evil)
    named = {"name": evil, "why": evil, "state": evil, "kind": evil, "summary": evil}
    listed = [{**each, **named, "name": f"{evil}{number}"} for number, each in enumerate(names_state()["listed"])]
    state["names"] = names_state(listed=listed, folder=evil, default=evil, notes=[evil])
    state["names"]["missing"][0]["name"] = evil
    state["findings"] = [{"id": "x", "level": "note", "en": {"what": evil, "why": evil, "do": evil}}]
    page = open_page(state)
    assert page.locator("img, main script").count() == 0
    assert page.locator("body").inner_text().count("<img src=x") > 15


def test_the_page_says_so_when_the_server_does_not_answer_any_more(open_page: OpenPage) -> None:
    page = open_page(sample_state())
    page.unroute("**/state.json")
    page.route("**/state.json", lambda route: route.fulfill(status=200, body="{"))
    wait_for_text(page, "#sentence", "The server does not answer any more.")
    assert "Its last answer came at" in page.locator("#findings").inner_text()
    assert page.locator("#announcer").inner_text() == "The server does not answer any more."
    page.unroute("**/state.json")
    page.route("**/state.json", lambda route: route.fulfill(json=sample_state()))
    wait_for_text(page, "#sentence", "All is well")


def with_names(**changed: Any) -> dict[str, Any]:
    """A state with names, which three calls hear."""
    state = sample_state(calls=3)
    state["names"] = names_state(**changed)
    heard = (("jazz", "jazz"), ("", "jaz"), ("", "123"))
    for row, (name, dialled) in zip(state["calls"]["listed"], heard):
        row.update(name=name, dialled=dialled)
    return state


def test_a_default_that_is_a_radio_has_no_length_and_no_player(open_page: OpenPage) -> None:
    state = with_names()
    state["music"].update(name="news", live=True, seconds=120.0, loudness=None)
    page = open_page(state)
    facts = page.locator("#music-facts").inner_text()
    assert "news" in facts and "Length" not in facts
    assert not page.locator("#music-sound").is_visible()
    assert page.locator("#music-default").inner_text().startswith("The default: it plays for each name")


def test_without_a_folder_there_are_no_names(open_page: OpenPage) -> None:
    assert not open_page(sample_state()).locator("#names-card").is_visible()
    assert not open_page({**sample_state(), "names": None}).locator("#names-card").is_visible()


def test_a_file_beside_the_folder_plays_for_all_other_names(open_page: OpenPage) -> None:
    """Docker can bind both /music and /music.mp3."""
    state = with_names(default=None)
    state["music"] |= {"name": "your.mp3", "builtin": False}
    assert "your.mp3" in open_page(state).locator("#names-facts").inner_text()
    state["music"]["builtin"] = True
    assert "built-in piece" in open_page(state).locator("#names-facts").inner_text()


def test_the_names_are_shown_with_their_state_and_their_listeners(open_page: OpenPage) -> None:
    page = open_page(with_names(), timezone_id="UTC")
    shown = [row.inner_text().split() for row in rows(page, "names").all()]
    assert [each[0] for each in shown] == ["jazz", "news", "shop", "fax", "big", "default", "受付"]
    text = "\n".join(" ".join(each) for each in shown)
    for expected in (
        "jazz folder, 12 pieces ready 40 mins 4 announcements -24 LUFS 3 Listen", "News at ten", "away since",
        "the address answers with a web page", "cannot be played it is almost silent", "the cache is full (2.0 GB)",
        "default the default · one piece", "type %E5%8F%97%E4%BB%98%201",
    ):  # fmt: skip
        assert expected in text, text
    facts = page.locator("#names-facts").inner_text()
    assert "/music" in facts and "1.1 GB of 2 GB at most" in facts and "ready: 3 · plays: 1 · away: 1" in facts
    assert "sip:jazz@192.0.2.10:5060 plays “jazz”" in page.locator("#names-explanation").inner_text()
    assert "jaz 4" in " ".join(page.locator("#missing tbody").inner_text().split())
    assert rows(page, "missing").count() == 1, "123 is in the address that the page shows"
    assert "jazz.wav is not played" in page.locator("#names-notes").inner_text()
    heard = [" ".join(row.inner_text().split()) for row in rows(page, "calls").all()]
    for call_row, expected in zip(heard, ("plays jazz", "plays the default in place of “jaz”", "plays the default")):
        assert expected in call_row
    assert "in place of" not in heard[2], "it dialled 123"


def test_a_name_has_players_and_a_radio_none(open_page: OpenPage) -> None:
    page = open_page(with_names())
    assert page.locator("#names button:visible").count() == 3
    page.get_by_role("button", name="Listen to 受付 1").click()
    assert page.evaluate("document.activeElement.id") == "names-listening"
    sources = page.locator("#names-players audio").evaluate_all("(all) => all.map((each) => each.src)")
    assert sources[0].endswith("/music/%E5%8F%97%E4%BB%98%201/pcmu.wav?music=9") and len(sources) == 4
    page.unroute("**/state.json")
    page.route("**/state.json", lambda route: route.fulfill(json=with_names(listed=[radio("受付 1", "plays")])))
    page.locator("#names-listen").wait_for(state="hidden")


def test_of_ten_thousand_names_two_hundred_are_listed(open_page: OpenPage) -> None:
    page = open_page(with_names(more=193, count=10_000))
    assert rows(page, "names").count() == 20
    assert page.locator("#names-count").inner_text() == (
        "10,000 names; 200 of them are listed, those with callers first"
    )
    page.locator("#names-more").click()
    assert rows(page, "names").count() == 200


def test_the_focus_and_what_is_open_stay_while_the_page_updates(open_page: OpenPage) -> None:
    page = open_page(sample_state())
    page.locator("#ended-more").click()
    page.locator("summary").last.click()
    player = page.locator("audio").first
    player.evaluate("(player) => { player.mark = 1; }")
    assert rows(page, "ended").count() == 14
    changed = sample_state(calls=5, ends=15)
    page.unroute("**/state.json")
    page.route("**/state.json", lambda route: route.fulfill(json=changed))
    wait_for_text(page, "#calls-count", "5 calls")
    assert rows(page, "ended").count() == 15
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert page.locator("details").last.get_attribute("open") is not None
    assert player.evaluate("(player) => player.mark") == 1


def test_the_keyboard_reaches_everything_and_the_address_is_copied(open_page: OpenPage) -> None:
    page = open_page(sample_state())
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.className || document.activeElement.id || "
                                     "document.activeElement.tagName + document.activeElement.lang"))  # fmt: skip
    assert reached[:5] == ["skip", "Aen", "Aja", "copy", "SUMMARY"]
    assert reached.count("AUDIO") >= 4
    page.locator("#copy").focus()
    page.keyboard.press("Enter")
    wait_for_text(page, "#copied", "Copied.")


def test_hundreds_of_calls_and_a_hundred_ends_are_shown_in_a_moment(open_page: OpenPage) -> None:
    state = sample_state(calls=200, ends=100)
    state["calls"]["now"] = 1234
    page = open_page(state)
    assert page.locator("#calls-count").inner_text() == "1,234 calls; the newest 200 of them are listed"
    assert rows(page, "calls").count() == 20 and rows(page, "ended").count() == 10
    page.locator("#calls-more").click()
    assert rows(page, "calls").count() == 200
    assert page.locator("#calls-more").inner_text() == "Show fewer calls"


@pytest.mark.parametrize(("colour", "viewport", "locale"), [
    ("light", WIDE, "en-GB"), ("dark", WIDE, "ja-JP"), ("light", NARROW, "ja-JP"), ("dark", NARROW, "en-GB"),
], ids=["light-wide", "dark-wide", "light-narrow", "dark-narrow"])  # fmt: skip
def test_axe_finds_no_violation_and_nothing_is_cut_off(
    open_page: OpenPage, colour: str, viewport: dict[str, int], locale: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    state = sample_state()
    state["calls"]["listed"] = [
        call(1, heard="the receiver reported 9.0 % lost, jitter 2 ms, and nothing in its last 9 s", loss=0.09),
        call(2, state="on hold, no music", receiver=None, codec="", encrypted=True),
        call(3, caller="a" * 60 + "@" + "b" * 60, packets=None, loss=None),
    ]
    state["ended"] += [ended(20, reason="408", why="the caller no longer has this call: 408 to our refresh")]
    words = {"what": "The ports 10000-10100/udp are closed. " * 3, "why": "x" * 200, "do": "http://" + "y" * 150}
    state["names"] = names_state(more=3, missing=[{"name": "z" * 80, "count": 1, "at": 1.0}], notes=["n" * 300])
    state["names"]["listed"][0].update(name="n" * 200)
    levels = ("error", "warning", "note")
    state["findings"] = [{"id": level, "level": level, "en": words, "ja": words} for level in levels]
    page = open_page(state, locale=locale, color_scheme=colour, viewport=viewport, reduced_motion="reduce")
    page.locator("details").evaluate_all("(all) => all.forEach((each) => { each.open = true; })")
    page.locator("#names button:visible").first.click()
    found = Axe().run(page).response
    assert len(found["passes"]) > 20
    violations = [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]]
    assert violations == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
