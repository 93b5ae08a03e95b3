// Buttons inside the page's own HTML speak to the server; what a reader unfolded or folded stays so when the list is
// drawn anew, and the focus goes to what stands where the pressed button stood.
const unfolded = new Map();
let refocus = () => null;

const summaries = () => [...element.querySelectorAll("summary")];
const removers = (key) => [...element.querySelectorAll("details")]
  .filter((details) => details.dataset.key === key)
  .flatMap((details) => [...details.querySelectorAll("[data-action=remove]")]);

function neighbour(button) {
  const details = button.closest("details");
  if (!details) return () => element.querySelector(".answer");
  const place = summaries().indexOf(details.querySelector("summary"));
  const row = removers(details.dataset.key).indexOf(button);
  const key = details.dataset.key;
  return () => removers(key)[row] ?? removers(key).at(-1) ?? summaries()[place] ?? summaries().at(-1)
    ?? document.querySelector("#label input");
}

function more(name) {
  const label = document.querySelector("#label input");
  label.value = name;
  label.dispatchEvent(new Event("input", { bubbles: true }));
  document.querySelector("#record .record-button")?.focus();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (!button) return;
  const field = button.parentElement.querySelector("input");
  const name = button.dataset.name ?? field.value;
  if (field) field.value = "";
  if (button.dataset.action === "more") return more(name);
  refocus = neighbour(button);
  if (button.dataset.action === "remove") trigger("remove", { name });
  if (button.dataset.action === "forget") trigger("forget", { name });
  if (button.dataset.action === "correct") trigger("correct", { name });
});
element.addEventListener("keydown", (event) => {
  // While a syllable is being composed, Enter only ends it.
  if (event.key === "Enter" && !event.isComposing && event.target.matches("input")) event.target.nextElementSibling.click();
});
element.addEventListener("click", (event) => {
  const details = event.target.closest("summary")?.parentElement;
  if (details) unfolded.set(details.dataset.key, !details.open); // it turns after this
});
watch("value", () => {
  for (const details of element.querySelectorAll("details")) {
    const wish = unfolded.get(details.dataset.key);
    if (wish === true || wish === false) details.open = wish;
  }
  const held = document.activeElement;
  if (held === document.body || element.contains(held)) refocus()?.focus();
  refocus = () => null;
});
