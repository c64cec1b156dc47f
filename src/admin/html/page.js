"use strict";
// Asks for the same page again and puts the new numbers in place of the old ones.
(() => {
  const beat = document.getElementById("beat");
  let paused = false, asking = false;
  const say = (text, late) => { beat.textContent = text; beat.classList.toggle("late", late); };
  const ask = async () => {
    if (paused || asking || document.hidden || String(getSelection())) return;
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("live");
      if (!answer.ok || !fresh) throw new Error(answer.status);
      document.getElementById("live").replaceWith(fresh);
      say("live", false);
    } catch (error) {
      say("no answer since " + (beat.dataset.since ||= new Date().toLocaleTimeString()), true);
      asking = false;
      return;
    }
    delete beat.dataset.since;
    asking = false;
  };
  const here = document.querySelector(`nav a[href="${location.pathname}"]`);
  if (here) here.setAttribute("aria-current", "page");
  document.querySelectorAll("[data-post]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const said = document.getElementById("said");
      const headers = { "Content-Type": "application/json", Accept: "text/plain" };
      button.disabled = true;
      try {
        const answer = await fetch(button.dataset.post, { method: "POST", headers, body: button.dataset.body });
        said.textContent = answer.ok ? "" : await answer.text();
      } catch (error) {
        said.textContent = "no answer";
      }
      button.disabled = false;
      ask();
    });
  });
  beat.hidden = false;
  beat.addEventListener("click", () => { paused = !paused; say(paused ? "paused" : "live", false); ask(); });
  setInterval(ask, 2000);
})();
