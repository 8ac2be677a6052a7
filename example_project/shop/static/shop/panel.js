// Keep the panel up to date while somebody looks at the page. Without this script it shows how things were when
// the page was made.
"use strict";

(() => {
  const FASTEST = 1000; // milliseconds between two looks after a change
  const SLOWEST = 10000; // and after a long time without one
  const SLOWER = 1.25;

  const panel = document.querySelector("[data-panel]");
  const mark = panel.querySelector(".live");
  const news = panel.querySelector("[data-news]");
  const shown = new Map([...document.querySelectorAll("[data-live]")].map((part) => [part.id, part.outerHTML]));

  let delay = FASTEST / 2; // the fake Brevo has answered by then
  let timer;

  async function look() {
    let hasChanged = false;
    try {
      const response = await fetch(panel.dataset.panel, { cache: "no-store", redirect: "error" });
      if (!response.ok) throw new Error(`${response.status}`);
      hasChanged = show(new DOMParser().parseFromString(await response.text(), "text/html"));
      mark.hidden = false;
    } catch {
      mark.hidden = true; // The shop does not answer: ask again, ever more seldom.
    }
    delay = hasChanged ? FASTEST : Math.min(delay * SLOWER, SLOWEST);
    lookLater();
  }

  function lookLater() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(look, delay);
  }

  function show(fresh) {
    const changed = [...fresh.querySelectorAll("[data-live]")].filter((part) => part.outerHTML !== shown.get(part.id));
    changed.forEach(replace);
    return changed.length > 0;
  }

  function replace(part) {
    const old = document.getElementById(part.id);
    const known = new Set([...old.querySelectorAll("[data-event]")].map(textOf));
    const fresh = [...part.querySelectorAll("[data-event]")].filter((item) => !known.has(textOf(item)));
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    shown.set(part.id, part.outerHTML);
    fresh.forEach((item) => item.classList.add("changed"));
    old.replaceWith(part);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    // Only what has changed is read out, not the whole list.
    if (fresh.length) news.textContent = fresh.map(textOf).join(". ");
  }

  // Without the times that run down: each second would be news.
  function textOf(item) {
    const copy = item.cloneNode(true);
    copy.querySelectorAll("[data-ticks]").forEach((time) => time.remove());
    return copy.textContent.replace(/\s+/g, " ").trim();
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) return;
    delay = FASTEST;
    look();
  });
  window.addEventListener("pageshow", (event) => event.persisted && look());

  lookLater();
})();
