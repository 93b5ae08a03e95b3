"""What a visitor does, in a real browser: enrol by file and by voice, recognise, stream, correct, keep, forget."""

from __future__ import annotations

import pytest
from browsing import enrol, klass, labels, record
from pages import DEMO, clips, page_alone
from playwright.sync_api import expect

from app.sections import recognise
from app.texts import text
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.cli.main import main

pytest_plugins = ["browsing"]

COUNT = """() => {
  window.counted = [0, 0];  // answers, and how often a screen reader was told one
  for (const [number, place] of ["#timeline", "#timeline-said"].entries()) {
    new MutationObserver(() => { counted[number] += 1; })
      .observe(document.querySelector(place), {childList: true, subtree: true, characterData: true});
  }
}"""
UNHEARD = str(DEMO / "anger_en-us-Annie_2.ogg")


def test_a_visitor_enrols_recognises_streams_corrects_keeps_and_forgets(page, tmp_path, capsys):
    enrol(page, "anger", clips("anger"))
    enrol(page, "fear", clips("fear"))
    page.get_by_label("Name of the emotion").fill("sadness")
    record(page, "#record", milliseconds=2500)
    expect(klass(page, "sadness")).to_contain_text("1 clip")
    assert labels(page) == ["anger", "fear", "sadness"]

    # A clip, as a file and as a recording.
    page.set_input_files("#file-clip input[type=file]", UNHEARD)
    expect(page.locator("#answer .headline")).to_contain_text("anger")
    expect(page.locator("#answer .bars .unknown")).to_contain_text("%")
    record(page, "#clip", milliseconds=3200)
    expect(page.locator("#answer .headline")).to_contain_text("sadness")
    expect(page.locator("#answer")).to_contain_text("Sounds most like")

    # "No, this was awe": a new label, learned at once; then undone.
    page.get_by_label("Another name").fill("awe")
    page.get_by_label("Another name").press("Enter")
    expect(page.locator("#answer .corrected")).to_have_text("You said: awe")
    expect(klass(page, "awe")).to_contain_text("1 clip")
    page.click("#undo")
    expect(klass(page, "awe")).to_have_count(0)

    # The microphone, live; it was there before it is seen, so that it hears from the first press.
    expect(page.locator("#stream .record-button")).to_be_attached()
    expect(page.locator("#stream")).to_be_hidden()
    page.get_by_label("Live", exact=True).check()
    expect(page.locator("#clip")).to_be_hidden()
    said = page.locator("#timeline-said [role=status][aria-live=polite]")
    page.evaluate(COUNT)
    page.click("#stream .record-button")
    expect(page.locator("#timeline")).to_contain_text("Listening")
    expect(page.locator("#live-answer")).to_contain_text("computed in")
    expect(said).to_have_text("sadness")
    expect(page.locator("#timeline rect").nth(5)).to_be_attached()
    page.click("#stream .stop-button")
    windows, sayings = page.evaluate("counted")
    assert sayings < windows

    # One clip less, then the file.
    klass(page, "anger").locator("summary").click()
    klass(page, "anger").get_by_role("button", name="Delete the clip").first.click()
    expect(klass(page, "anger")).to_contain_text("2 clips")
    expect(klass(page, "anger").locator("ul.clips")).to_be_visible()  # unfolded, as it was
    page.click("#save")
    with page.expect_download() as download:
        page.click("#file a")
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert FewShotClassifier.load(saved).labels == ("anger", "fear", "sadness")
    assert main(["predict", str(saved), UNHEARD]) == 0
    assert "anger" in capsys.readouterr().out

    # Everything goes, and comes back from the file.
    page.click("#delete")
    page.click("#sure")
    expect(page.locator("#classes .empty")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.click("#load")
    chooser.value.set_files(saved)
    expect(klass(page, "sadness")).to_contain_text("1 clip")
    klass(page, "fear").locator("summary").click()
    klass(page, "fear").get_by_role("button", name="Forget fear").click()
    expect(klass(page, "fear")).to_have_count(0)
    assert labels(page) == ["anger", "sadness"]


def test_a_newcomer_tries_the_example_set_looks_inside_and_compares_learners(page):
    page.click("#examples")
    expect(klass(page, "anger")).to_contain_text("5 clips")
    page.click("#example")
    expect(page.locator("#answer .headline")).to_be_visible()
    page.get_by_role("button", name="Look inside").click()
    expect(page.locator("#map path[transform]")).to_have_count(16)
    expect(page.locator("#confusion tbody tr")).to_have_count(3)
    page.click("#compare")
    expect(page.locator("#comparison tbody tr")).to_have_count(4, timeout=60_000)
    for learner in ("Prototypical network", "Meta-transfer learning", "Fine-tuning"):
        expect(page.locator("#comparison")).to_contain_text(learner)


def test_a_reloaded_page_begins_anew_and_its_profile_comes_back(page):
    page.click("#examples")
    expect(klass(page, "anger")).to_contain_text("5 clips")
    page.get_by_label("Name of the profile").fill("mine")
    page.click("#profile-keep")
    expect(page.locator("#keep-notes")).to_contain_text("mine")
    page.reload()
    expect(page.locator("#classes .empty")).to_be_visible()
    expect(page.get_by_label("Profile", exact=True)).to_have_value("mine")
    page.click("#profile-open")
    expect(klass(page, "anger")).to_contain_text("5 clips")


def test_a_profile_is_neither_replaced_nor_deleted_before_the_visitor_said_so_twice(page):
    page.click("#examples")
    expect(klass(page, "anger")).to_contain_text("5 clips")
    chosen, notes = page.get_by_label("Profile", exact=True), page.locator("#keep-notes")
    for name in ("aaa", "zzz"):
        page.get_by_label("Name of the profile").fill(name)
        page.click("#profile-keep")
        expect(notes).to_contain_text(f"Profile {name} is kept")
        expect(chosen).to_have_value(name)
    page.click("#profile-keep")
    expect(notes).to_contain_text("There is a profile zzz already")
    page.click("#profile-replace")
    expect(notes).to_contain_text("Profile zzz is kept")
    expect(page.locator("#profile-replace")).to_have_count(0)
    page.click("#profile-delete")
    page.click("#profile-rather-not")
    expect(chosen).to_have_value("zzz")
    page.click("#profile-delete")
    page.click("#profile-sure")
    expect(notes).to_contain_text("Profile zzz is deleted")
    expect(chosen).not_to_have_value("zzz")


def test_a_recording_without_a_name_waits_for_it(page):
    record(page, "#record", milliseconds=1500)
    expect(page.locator("#teach-notes")).to_contain_text("Name it first")
    expect(page.get_by_label("Name of the emotion")).to_be_focused()
    page.keyboard.type("sadness")
    page.keyboard.press("Enter")
    expect(klass(page, "sadness")).to_contain_text("1 clip")
    expect(page.locator("#add")).to_have_count(0)
    page.get_by_label("Name of the emotion").fill("")
    page.set_input_files("#drop input[type=file]", clips("anger", 2))
    expect(page.locator("#add")).to_be_visible()
    page.get_by_label("Name of the emotion").fill("anger")
    page.click("#add")
    expect(klass(page, "anger")).to_contain_text("2 clips")


@pytest.mark.slow
def test_a_microphone_that_has_to_wait_says_so_and_is_heard_in_its_turn(browser, monkeypatch):
    monkeypatch.setattr(recognise, "STREAMS", 1)
    with page_alone() as where:
        pages = [browser.new_context(locale="en-US").new_page() for _ in range(2)]
        for page in pages:
            page.goto(where)
            page.wait_for_selector("#classes .empty")
            page.click("#examples")
            expect(klass(page, "anger")).to_contain_text("5 clips")
            page.get_by_label("Live", exact=True).check()
            page.click("#stream .record-button")
            expect(page.locator("#timeline")).to_contain_text("Listening" if page is pages[0] else "Still waiting")
        expect(pages[0].locator("#live-answer")).to_be_visible()
        expect(pages[1].locator("#timeline")).to_contain_text("Still waiting")
        pages[0].click("#stream .stop-button")
        expect(pages[1].locator("#live-answer")).to_be_visible()
        for page in pages:
            page.context.close()


def test_a_clip_that_cannot_be_used_is_refused_with_the_reason(page, tmp_path):
    text_file = tmp_path / "words.wav"
    text_file.write_text("this is no sound")
    page.get_by_label("Name of the emotion").fill("anger")
    page.set_input_files("#drop input[type=file]", str(text_file))
    expect(page.locator("#teach-notes .error")).to_contain_text("words.wav: this is no sound file")
    expect(page.locator("#classes .empty")).to_be_visible()


def test_a_name_with_markup_and_templates_is_shown_as_text(page):
    name = "<img src=x onerror=alert(1)>${1}{{a}}"
    page.on("dialog", lambda dialog: pytest.fail(f"a name ran as a script: {dialog.message}"))
    enrol(page, name, clips("anger", 2))
    enrol(page, "fear", clips("fear", 2))
    page.set_input_files("#file-clip input[type=file]", UNHEARD)
    expect(page.locator("#answer .headline")).to_be_visible()
    page.get_by_role("button", name="Look inside").click()
    expect(page.locator("#map .legend")).to_contain_text(name)
    assert labels(page) == [name, "fear"]
    assert page.locator("#classes img, #answer img, #map img, #teach-notes img").count() == 0


def test_everything_that_can_be_used_has_a_name(page):
    page.click("#examples")
    page.click("#example")
    expect(page.locator("#answer .headline")).to_be_visible()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input:not([type=file]), textarea, audio, [role=img]")]
        .filter((one) => one.checkVisibility() && !(one.ariaLabel || one.title || one.innerText || one.labels?.length
                         || one.placeholder))
        .map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert nameless == []


def test_a_phone_shows_it_in_korean_without_scrolling_sideways(phone):
    expect(phone.locator("h1")).to_have_text(text("ko", "page.title").removeprefix("# "))
    expect(phone.locator("html")).to_have_attribute("lang", "ko")
    phone.click("#examples")
    expect(klass(phone, "anger")).to_be_visible()
    phone.click("#example")
    expect(phone.locator("#answer .headline")).to_be_visible()
    klass(phone, "anger").locator("summary").tap()
    phone.locator("#inside button").first.click()
    expect(phone.locator("#confusion table")).to_be_visible()
    phone.click("#compare")
    expect(phone.locator("#comparison tbody tr")).to_have_count(4)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.get_by_label("English").check()
    expect(phone.get_by_role("button", name="Load an example set")).to_be_visible()
    expect(phone.locator("#classes")).to_contain_text("5 clips")
