() => {
  // Where a button goes when it is pressed, the focus would be lost: it follows to what comes in its place.
  const follow = {
    ".record-button": (recorder) => [recorder.querySelector(".stop-button")],
    ".stop-button": (recorder) => [
      recorder.id === "record" && seen("#add") && document.querySelector("#label input"),
      recorder.querySelector(".record-button"),
    ],
    "#add": () => [document.querySelector("#record .record-button")],
    "#delete": () => [document.querySelector("#rather-not")],
    "#sure, #rather-not": () => [document.querySelector("#delete")],
    "#profile-delete": () => [document.querySelector("#profile-rather-not")],
    "#profile-sure, #profile-rather-not": () => [document.querySelector("#profile-delete")],
    "#profile-replace": () => [document.querySelector("#profile-keep")],
  };
  const PATIENCE = 10000; // ms: a browser may ask for the microphone first
  const seen = (place) => document.querySelector(place)?.checkVisibility();

  // Never at once: the key that is down would press what it comes to.
  const soon = (pressed, next, until) => setTimeout(() => focus(pressed, next, until), 50);

  function focus(pressed, next, until) {
    const held = document.activeElement;
    if (held !== document.body && held !== pressed) return; // the visitor is elsewhere already
    const there = next().find((one) => one && one.checkVisibility());
    if (there && (!pressed.checkVisibility() || pressed.matches("input"))) there.focus();
    else if (performance.now() < until) soon(pressed, next, until);
  }

  document.addEventListener("click", (event) => {
    for (const [place, next] of Object.entries(follow)) {
      const pressed = event.target.closest(place);
      const recorder = pressed?.closest("#record, #clip, #stream");
      if (pressed) soon(pressed, () => next(recorder), performance.now() + PATIENCE);
    }
  }, true); // before the button itself hears of it, and perhaps goes
  // One press or Tab, and another name can be written over the last one.
  let entered = false;
  document.addEventListener("focusin", (event) => {
    entered = event.target.matches("#label input");
    if (entered) event.target.select(); // at once: what is typed next must not be selected with it
  });
  document.addEventListener("mouseup", (event) => {
    if (entered && event.target.matches("#label input")) event.preventDefault(); // it would undo the selection
    entered = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !event.target.matches("#label input")) return;
    soon(event.target, () => [document.querySelector("#record .record-button")], performance.now() + PATIENCE);
  });
}
