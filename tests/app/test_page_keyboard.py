"""The page without a mouse: the focus is never lost, in a real browser."""

from __future__ import annotations

from browsing import enrol, klass, labels
from pages import clips
from playwright.sync_api import expect

pytest_plugins = ["browsing"]


def test_the_keyboard_is_enough(page):
    page.get_by_role("button", name="Load an example set").focus()
    page.keyboard.press("Enter")
    expect(klass(page, "anger")).to_contain_text("5 clips")
    klass(page, "anger").locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")  # to the first clip's button or player
    expect(page.locator("#classes details :focus")).to_have_count(1)
    page.get_by_role("button", name="Try an example voice").focus()
    page.keyboard.press("Space")
    expect(page.locator("#answer .headline")).to_be_visible()


def test_a_name_is_followed_by_recording_after_recording(page):
    page.get_by_label("Name of the emotion").focus()
    page.keyboard.type("sadness")
    page.keyboard.press("Enter")
    for number, milliseconds in enumerate((1500, 1900), start=1):
        expect(page.locator("#record .record-button")).to_be_focused()
        page.keyboard.press("Space")
        expect(page.locator("#record .stop-button")).to_be_focused()
        page.wait_for_timeout(milliseconds)
        page.keyboard.press("Space")
        expect(klass(page, "sadness")).to_contain_text("1 clip" if number == 1 else "2 clips")
    expect(page.locator("#record .record-button")).to_be_focused()
    # Another name replaces the first as it is typed; and back to the first by one button.
    page.get_by_label("Name of the emotion").click()
    page.keyboard.type("awe")
    expect(page.get_by_label("Name of the emotion")).to_have_value("awe")
    klass(page, "sadness").get_by_role("button", name="Add clips to sadness").click()
    expect(page.get_by_label("Name of the emotion")).to_have_value("sadness")
    page.set_input_files("#drop input[type=file]", clips("sadness", 1))
    expect(klass(page, "sadness")).to_contain_text("3 clips")


def test_the_focus_goes_to_a_neighbour_of_what_is_deleted(page):
    enrol(page, "anger", clips("anger", 3))
    enrol(page, "fear", clips("fear", 1))
    klass(page, "anger").locator("summary").click()
    delete = klass(page, "anger").get_by_role("button", name="Delete the clip")
    for left, place in ((2, 1), (1, 0)):  # the second of three, then the second and last of two
        delete.nth(1).press("Enter")
        expect(delete).to_have_count(left)
        expect(delete.nth(place)).to_be_focused()
    delete.press("Enter")  # the label goes with its last clip
    expect(klass(page, "fear").locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    klass(page, "fear").get_by_role("button", name="Forget fear").press("Enter")
    expect(page.get_by_label("Name of the emotion")).to_be_focused()
    assert labels(page) == []
    page.locator("#delete").press("Enter")
    expect(page.locator("#rather-not")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#delete")).to_be_focused()


def test_enter_while_a_syllable_is_composed_corrects_nothing(page):
    page.click("#examples")
    expect(klass(page, "anger")).to_contain_text("5 clips")
    page.click("#example")
    name = page.get_by_label("Another name")
    name.fill("경ㅇ")
    name.evaluate(
        "(input) => input.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    name.fill("경외")
    name.press("Enter")
    expect(page.locator("#answer .corrected")).to_have_text("You said: 경외")
    expect(page.locator("#answer .answer")).to_be_focused()
    assert labels(page) == ["anger", "fear", "sadness", "경외"]


def test_what_a_reader_folded_stays_folded(page):
    enrol(page, "anger", clips("anger", 2))
    listed = klass(page, "anger").locator("ul.clips")
    expect(listed).to_be_visible()
    klass(page, "anger").locator("summary").click()
    expect(listed).to_be_hidden()
    page.set_input_files("#drop input[type=file]", clips("anger", 1, sentence=2))
    expect(klass(page, "anger")).to_contain_text("3 clips")
    expect(listed).to_be_hidden()
