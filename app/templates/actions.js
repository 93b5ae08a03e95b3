// Buttons inside the page's own HTML speak to the server; what a reader unfolded stays unfolded when the list is drawn anew.
const folded = new Map();
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (!button) return;
  const name = button.dataset.name ?? button.parentElement.querySelector("input").value;
  if (button.dataset.action === "remove") trigger("remove", { name });
  if (button.dataset.action === "forget") trigger("forget", { name });
  if (button.dataset.action === "correct") trigger("correct", { name });
});
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("input")) event.target.nextElementSibling.click();
});
element.addEventListener("click", (event) => {
  const summary = event.target.closest("summary");
  if (summary) folded.set(summary.parentElement.dataset.key, summary.parentElement.open);
});
watch("value", () => {
  for (const details of element.querySelectorAll("details")) {
    if (folded.get(details.dataset.key) === false) details.open = true;
  }
});
