"""The Librarian's page in a real browser: it streams, remembers, reconnects and survives crashes."""

from __future__ import annotations

import json
import re
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=30_000)  # on a loaded machine the first answer takes a while

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WITH = "What does the with statement do?"


def visit(page, server):
    page.goto(server.url)
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")


def ask(page, text):
    page.fill("#question", text)
    page.press("#question", "Enter")


def answered(page, count):
    expect(page.locator(".turn[data-state=done]")).to_have_count(count)


def streaming(page):
    """Wait until an answer is on its way and some of it is there."""
    prose = page.locator(".turn[data-state=streaming] .prose")
    expect(prose).to_contain_text(re.compile(r"\w+ \w+ \w+"))
    return prose.inner_text()


def texts(page):
    return page.locator(".turn .prose").all_inner_texts()


def test_an_answer_streams_in_and_shows_its_sources(page, house):
    visit(page, house)
    ask(page, WITH)
    begun = streaming(page)
    assert "return value from __enter__() is assigned" not in begun
    answered(page, 1)
    prose = page.locator(".turn .prose")
    expect(prose).to_contain_text("is used to wrap the execution of a block")
    cards = page.locator(".card")
    expect(cards.first).to_contain_text("The with statement")
    expect(cards.first).to_contain_text("Python language reference, help('with')")
    assert prose.locator(".cite").count() == cards.count()
    expect(page.locator("#title")).to_have_text(WITH)


def test_a_source_lights_up_with_its_footnote_and_can_be_asked_about(page, house):
    visit(page, house)
    ask(page, WITH)
    answered(page, 1)
    page.locator(".cite", has_text="2").click()
    expect(page.locator(".card[data-source='2']")).to_have_class(re.compile("lit"))
    page.locator(".card[data-source='2'] .card-more").click()
    answered(page, 2)
    expect(page.locator(".asked").last).to_have_text("Tell me more about source 2")
    expect(page.locator(".turn .prose").last).to_contain_text("With more than one item")


def test_a_reload_keeps_the_conversation(page, house):
    visit(page, house)
    ask(page, WITH)
    answered(page, 1)
    ask(page, "and the second one?")
    answered(page, 2)
    before = texts(page)
    page.reload()
    answered(page, 2)
    assert texts(page) == before
    assert page.locator(".asked").all_inner_texts() == [WITH, "and the second one?"]
    expect(page.locator(".card").first).to_be_visible()


def test_a_reload_in_the_middle_of_an_answer_loses_nothing(page, house):
    visit(page, house)
    ask(page, WITH)
    streaming(page)
    page.reload()
    answered(page, 1)
    whole = house.ask("other", WITH, "m1")["message"]
    assert plain(texts(page)[0]) == plain(whole)


def plain(text):
    return re.sub(r"[\s`*_\-\[\]]|\d", "", text)


def test_a_server_killed_in_mid_answer_goes_on_where_it_stopped(page, server):
    visit(page, server)
    ask(page, WITH)
    before = streaming(page)
    server.kill()
    expect(page.locator("#connection")).to_have_attribute(
        "data-state", re.compile("waiting|connecting")
    )
    server.start()
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    answered(page, 1)
    after = texts(page)[0]
    assert plain(after).startswith(plain(before))
    assert plain(after) == plain(server.ask("other", WITH, "m1")["message"])
    expect(page.locator(".asked")).to_have_count(1)
    expect(page.locator(".direction")).to_have_count(0)


def test_what_is_asked_while_the_server_is_away_is_asked_when_it_is_back(page, server):
    visit(page, server)
    server.kill()
    expect(page.locator("#connection")).to_have_attribute(
        "data-state", re.compile("waiting|connecting")
    )
    ask(page, "What does zip do?")
    expect(page.locator(".turn[data-state=waiting]")).to_have_count(1)
    server.start()
    answered(page, 1)
    expect(page.locator(".turn .prose")).to_contain_text("zip(*iterables, strict=False)")


def test_the_crash_button_restarts_the_agent_and_the_conversation_stands(page, house):
    visit(page, house)
    ask(page, WITH)
    answered(page, 1)
    before = texts(page)
    page.click("#crash")
    expect(page.locator("#crash-note")).to_contain_text(re.compile("understudy"))
    expect(page.locator(".node.yours .restarts:visible").first).to_contain_text("1")
    assert texts(page) == before
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    ask(page, "What was my first question?")
    answered(page, 2)
    expect(page.locator(".turn .prose").last).to_have_text(
        f"Your first question here was “{WITH}”."
    )


def test_a_crash_in_mid_answer_is_not_seen_in_the_answer(page, house):
    visit(page, house)
    ask(page, WITH)
    before = streaming(page)
    page.click("#crash")
    expect(page.locator("#crash-note")).to_contain_text(re.compile("understudy"))
    answered(page, 1)
    after = texts(page)[0]
    assert plain(after).startswith(plain(before))
    assert plain(after) == plain(house.ask("other", WITH, "m1")["message"])


def test_conversations_are_kept_apart_and_come_back(page, house):
    visit(page, house)
    ask(page, WITH)
    answered(page, 1)
    page.click("#new-thread")
    expect(page.locator("#opening")).to_be_visible()
    ask(page, "What was my first question?")
    answered(page, 1)
    expect(page.locator(".turn .prose")).to_have_text(
        "This is the first thing you ask me in this conversation."
    )
    expect(page.locator(".thread-open")).to_have_text(["What was my first question?", WITH])
    page.locator(".thread-open", has_text=WITH).click()
    expect(page.locator(".asked")).to_have_text([WITH])
    page.reload()
    expect(page.locator(".asked")).to_have_text([WITH])
    expect(page.locator(".thread[aria-current=true]")).to_have_text(re.compile("with statement"))


def test_a_conversation_can_be_taken_off_the_list(page, house):
    visit(page, house)
    ask(page, "What does zip do?")
    answered(page, 1)
    page.keyboard.press("Alt+KeyN")
    expect(page.locator(".thread")).to_have_count(2)
    page.locator(".thread", has_text="zip").hover()
    page.locator(".thread", has_text="zip").locator(".thread-drop").click()
    expect(page.locator(".thread")).to_have_count(1)


def test_another_window_of_the_same_conversation_follows_along(page, house):
    visit(page, house)
    ask(page, "What does zip do?")
    answered(page, 1)
    other = page.context.new_page()
    other.goto(page.url)
    answered(other, 1)
    ask(other, WITH)
    answered(other, 2)
    answered(page, 2)
    assert texts(page) == texts(other)
    ask(page, "and the second one?")
    answered(page, 3)
    answered(other, 3)
    assert other.locator(".asked").all_inner_texts() == page.locator(".asked").all_inner_texts()


def test_an_empty_data_directory_after_a_reload_is_a_new_beginning(page, server):
    visit(page, server)
    ask(page, "What does zip do?")
    answered(page, 1)
    server.kill()
    shutil.rmtree(server.data_dir)
    server.start()
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    ask(page, "what is a lambda")
    expect(page.locator(".turn .prose").last).to_contain_text("Lambda expressions")


def test_the_tree_shows_the_conversation_one_is_in(page, house):
    visit(page, house)
    ask(page, "What does zip do?")
    answered(page, 1)
    expect(page.locator(".node.yours").first).to_contain_text("this conversation")
    for name in ("storage", "sessions", "user"):
        expect(page.locator(f".node[data-path$='/{name}'] > .row").first).to_be_visible()
    expect(page.locator("#tree-summary")).to_contain_text("actors on duty")


def test_an_answer_can_be_stopped_from_the_keyboard(page, house):
    visit(page, house)
    ask(page, WITH)
    streaming(page)
    page.keyboard.press("Escape")
    expect(page.locator(".turn[data-state=cancelled]")).to_have_count(1)
    expect(page.locator(".failed")).to_contain_text("Stopped.")
    ask(page, "What does zip do?")
    answered(page, 1)


def test_nothing_found_is_said_without_sources(page, house):
    visit(page, house)
    ask(page, "Who won the football world cup in 1998?")
    answered(page, 1)
    expect(page.locator(".turn .prose")).to_contain_text("I found nothing about")
    expect(page.locator(".card")).to_have_count(0)


def test_what_is_typed_is_shown_as_text_and_never_run(page, house):
    visit(page, house)
    ask(page, '<img src=x onerror="document.title=1"> `<b>deque</b>`')
    answered(page, 1)
    expect(page.locator(".asked p")).to_have_text(
        '<img src=x onerror="document.title=1"> `<b>deque</b>`'
    )
    assert page.locator(".turn img, .turn b").count() == 0
    assert page.title() != "1"


def test_everything_comes_from_the_server_itself(page, house):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, house)
    ask(page, "What does zip do?")
    answered(page, 1)
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((house.url, "data:"))] == []


def test_nothing_jumps_while_an_answer_streams_in(page, house):
    visit(page, house)
    page.evaluate(
        """() => { window.shift = 0;
        new PerformanceObserver((list) => { for (const e of list.getEntries()) window.shift += e.value; })
          .observe({ type: "layout-shift" }); }"""
    )
    ask(page, WITH)
    answered(page, 1)
    assert page.evaluate("window.shift") < 0.02


@pytest.mark.parametrize("width", [390, 800, 1000, 1920])
def test_nothing_is_wider_than_the_window(page, house, width):
    page.set_viewport_size({"width": width, "height": 800})
    visit(page, house)
    ask(page, "How does functools.lru_cache work?")
    answered(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('.stage').scrollWidth") <= width
    if width < 1120:
        page.click("#show-tree")
        expect(page.locator("#crash")).to_be_in_viewport()
        page.keyboard.press("Escape")
        expect(page.locator("#crash")).not_to_be_in_viewport()


def test_light_and_dark_can_be_chosen_and_stay(page, house):
    page.emulate_media(color_scheme="light")
    visit(page, house)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("body")).not_to_have_css("background-color", light)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_every_button_and_field_has_a_name(page, house):
    visit(page, house)
    ask(page, "What does zip do?")
    answered(page, 1)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, textarea, a, [role=group]")]
        .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length))
        .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert json.dumps(nameless) == "[]"
