"""What a visitor does, in a real browser: enrol by file and by voice, recognise, stream, correct, keep, forget."""

from __future__ import annotations

import pytest
from browsing import enrol, klass, labels, record
from pages import DEMO, clips, page_alone
from playwright.sync_api import expect

from app import limits
from app.languages import text
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.cli.main import main

pytest_plugins = ["browsing"]

COUNT = """() => {
  window.announcements = 0;  // to a screen reader: gradio changes what is around the region for every event, unseen
  new MutationObserver(() => { announcements += 1; })
    .observe(document.querySelector("#timeline-announcement [role=status]"),
             {childList: true, subtree: true, characterData: true});
}"""
NAMELESS = """() => [...document.querySelectorAll("button, input:not([type=file]), textarea, audio, [role=img]")]
  .filter((one) => one.checkVisibility() && !(one.ariaLabel || one.title || one.innerText || one.labels?.length
                   || one.placeholder))
  .map((one) => one.outerHTML.slice(0, 200))"""
QUERY = str(DEMO / "anger_en-us-Annie_2.ogg")


def test_a_visitor_enrols_recognises_streams_corrects_keeps_and_forgets(page, tmp_path, capsys):
    enrol(page, "anger", clips("anger"))
    enrol(page, "fear", clips("fear"))
    page.get_by_label("Name of the emotion").fill("sadness")
    record(page, "#record", milliseconds=2500)
    expect(klass(page, "sadness")).to_contain_text("1 clip")
    assert labels(page) == ["anger", "fear", "sadness"]

    # A clip, as a file and as a recording.
    page.set_input_files("#file-clip input[type=file]", QUERY)
    expect(page.locator("#answer .headline")).to_contain_text("anger")
    expect(page.locator("#answer .bars .unknown")).to_contain_text("%")
    record(page, "#clip", milliseconds=3200)
    expect(page.locator("#answer .headline")).to_contain_text("sadness")
    expect(page.locator("#answer")).to_contain_text("Sounds most like")
    voice = page.locator("#voice-clips")
    expect(voice).to_have_text("Getting used to this voice: 2 clips")
    page.get_by_role("button", name="New person").click()
    expect(voice).to_be_hidden()

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
    announced = page.locator("#timeline-announcement [role=status][aria-live=polite]")
    page.evaluate(COUNT)
    page.click("#stream .record-button")
    expect(page.locator("#timeline")).to_contain_text("Listening")
    expect(page.locator("#live-answer")).to_contain_text("computed in")
    expect(announced).to_have_text("sadness")
    expect(voice).to_contain_text("Getting used to this voice: ")
    expect(page.locator("#timeline rect").nth(5)).to_be_attached()
    page.click("#stream .stop-button")
    assert 0 < page.evaluate("announcements") < page.locator("#timeline rect").count()

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
    assert main(["predict", str(saved), QUERY]) == 0
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


def test_a_newcomer_with_a_phone_tries_the_example_set_in_korean_looks_inside_and_compares_learners(phone):
    expect(phone.locator("h1")).to_have_text(text("ko", "page.title").removeprefix("# "))
    expect(phone.locator("html")).to_have_attribute("lang", "ko")
    phone.click("#examples")
    expect(klass(phone, "anger")).to_contain_text("5")
    phone.click("#example")
    expect(phone.locator("#answer .headline")).to_be_visible()
    assert phone.evaluate(NAMELESS) == []
    klass(phone, "anger").locator("summary").tap()
    phone.locator("#inside button").first.click()
    expect(phone.locator("#map path[transform]")).to_have_count(16)
    expect(phone.locator("#confusion tbody tr")).to_have_count(3)
    phone.click("#compare")
    expect(phone.locator("#comparison tbody tr")).to_have_count(4)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.get_by_label("English").check()
    expect(phone.get_by_role("button", name="Load an example set")).to_be_visible()
    expect(phone.locator("#classes")).to_contain_text("5 clips")
    expect(phone.locator("#comparison table")).to_have_count(0)  # it was in the other language


def test_a_profile_comes_back_after_a_reload_and_is_replaced_and_deleted_only_if_confirmed(page):
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
    page.reload()
    expect(page.locator("#classes .empty")).to_be_visible()
    expect(chosen).to_have_value("aaa")
    page.click("#profile-open")
    expect(klass(page, "anger")).to_contain_text("5 clips")


def test_a_clip_that_cannot_be_used_is_refused_and_a_name_with_markup_is_shown_as_text(page, tmp_path):
    name = "<img src=x onerror=alert(1)>${1}{{a}}"
    page.on("dialog", lambda dialog: pytest.fail(f"a name ran as a script: {dialog.message}"))
    (tmp_path / "words.wav").write_text("this is no sound")
    page.get_by_label("Name of the emotion").fill(name)
    page.set_input_files("#drop input[type=file]", str(tmp_path / "words.wav"))
    expect(page.locator("#teach-notes .error")).to_contain_text("words.wav: this is no sound file")
    expect(page.locator("#classes .empty")).to_be_visible()
    enrol(page, name, clips("anger", 2))
    enrol(page, "fear", clips("fear", 2))
    page.set_input_files("#file-clip input[type=file]", QUERY)
    expect(page.locator("#answer .headline")).to_be_visible()
    page.get_by_role("button", name="Look inside").click()
    expect(page.locator("#map .legend")).to_contain_text(name)
    assert labels(page) == [name, "fear"]
    assert page.locator("#classes img, #answer img, #map img, #teach-notes img").count() == 0


def test_without_a_mouse_a_recording_waits_for_its_name_which_stays_for_the_next(page):
    label, recorder = page.get_by_label("Name of the emotion"), page.locator("#record")
    record(page, "#record", milliseconds=1500)
    expect(page.locator("#teach-notes")).to_contain_text("Name it first")
    expect(label).to_be_focused()
    page.keyboard.type("sadness")
    page.keyboard.press("Enter")
    expect(klass(page, "sadness")).to_contain_text("1 clip")
    expect(page.locator("#add")).to_have_count(0)
    expect(recorder.locator(".record-button")).to_be_focused()
    page.keyboard.press("Space")
    expect(recorder.locator(".stop-button")).to_be_focused()
    page.wait_for_timeout(1900)
    page.keyboard.press("Space")
    expect(klass(page, "sadness")).to_contain_text("2 clips")
    expect(recorder.locator(".record-button")).to_be_focused()
    # Another name replaces the first as it is typed; and back to the first by one button.
    label.click()
    page.keyboard.type("awe")
    expect(label).to_have_value("awe")
    klass(page, "sadness").get_by_role("button", name="Add clips to sadness").click()
    expect(label).to_have_value("sadness")
    label.fill("")
    page.set_input_files("#drop input[type=file]", clips("anger", 2))
    expect(page.locator("#add")).to_be_visible()
    label.fill("anger")
    page.click("#add")
    expect(klass(page, "anger")).to_contain_text("2 clips")


def test_without_a_mouse_the_focus_goes_to_a_neighbour_of_what_goes_and_folds_stay(page):
    enrol(page, "anger", clips("anger", 2))
    enrol(page, "fear", clips("fear", 1))
    anger, listed = klass(page, "anger"), klass(page, "anger").locator("ul.clips")
    expect(listed).to_be_hidden()
    page.get_by_label("Name of the emotion").fill("anger")
    page.set_input_files("#drop input[type=file]", clips("anger", 1, sentence=2))
    expect(anger).to_contain_text("3 clips")
    expect(listed).to_be_visible()  # the latest label
    anger.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(listed).to_be_hidden()
    page.get_by_role("button", name="Try an example voice").focus()
    page.keyboard.press("Space")
    name = page.get_by_label("Another name")
    name.fill("경ㅇ")
    name.evaluate(
        "(input) => input.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    name.fill("경외")
    name.press("Enter")
    expect(page.locator("#answer .corrected")).to_have_text("You said: 경외")  # not the syllable before it was whole
    expect(page.locator("#answer .answer")).to_be_focused()
    expect(listed).to_be_hidden()  # as it was folded
    assert labels(page) == ["anger", "fear", "경외"]
    page.click("#undo")
    anger.locator("summary").click()
    delete = anger.get_by_role("button", name="Delete the clip")
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


@pytest.mark.slow
def test_a_microphone_that_has_to_wait_says_so_and_is_heard_in_its_turn(browser, monkeypatch):
    monkeypatch.setattr(limits, "STREAMS", 1)
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
