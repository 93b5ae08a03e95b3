document.addEventListener("click", (event) => {
  const mark = event.target.closest("a.play");
  if (!mark) return;
  event.preventDefault();
  const sound = document.getElementById(mark.getAttribute("href").slice(1));
  for (const other of document.querySelectorAll("audio")) other.pause();
  sound.currentTime = 0;
  sound.play();
});
