// Keep the parts of a page that are marked as live up to date while someone looks at it, and announce new rows of the
// list. It fetches the page itself again, so an update always says the same as the page. Without this script, only the
// updates are missing.
"use strict";

(() => {
  const FASTEST = 5000; // milliseconds between two looks after a change
  const SLOWEST = 60000; // and after a long time without one
  const SLOWER = 1.5;

  const bar = document.querySelector("[data-updates]");
  if (!bar) return;
  const pause = bar.querySelector("[data-pause]");
  const news = bar.querySelector("[data-news]");
  const note = bar.querySelector("[data-note]");
  const seen = new Set(rowsOf(document));
  const shown = new Map(liveParts().map((part) => [part.id, trace(part)]));

  let delay = FASTEST;
  let timer;

  async function look() {
    try {
      const response = await fetch(location.href, { cache: "no-store", redirect: "error" });
      if (!response.ok) throw new Error(`${response.status}`);
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const changes = liveParts().filter((part) => update(part, fresh.getElementById(part.id))).length;
      delay = changes || tellOfNew(fresh) ? FASTEST : Math.min(delay * SLOWER, SLOWEST);
      note.textContent = "";
    } catch {
      // The site doesn't answer, or wants a login: try again, less and less often.
      note.textContent = bar.dataset.failed;
      delay = Math.min(delay * SLOWER, SLOWEST);
    }
    lookLater();
  }

  function lookLater() {
    clearTimeout(timer);
    const isDone = !liveParts().length && !isList();
    bar.hidden = isDone;
    if (!isDone && !document.hidden && !isPaused()) timer = setTimeout(look, delay);
  }

  function update(part, fresh) {
    const after = fresh && trace(fresh);
    if (!fresh || after === shown.get(part.id) || part.contains(document.activeElement)) return false;
    const height = part.offsetHeight;
    const opened = [...part.querySelectorAll("details")].map((each) => each.open);
    fresh.querySelectorAll("details").forEach((each, index) => (each.open = opened[index] ?? each.open));
    part.replaceWith(fresh);
    if (fresh.offsetHeight !== height && matchMedia("(hover: hover)").matches && document.querySelector("#content:hover")) {
      // Something under the pointer would move: wait until the pointer is elsewhere.
      fresh.replaceWith(part);
      return false;
    }
    shown.set(part.id, after);
    return true;
  }

  function tellOfNew(fresh) {
    const count = rowsOf(fresh).filter((row) => !seen.has(row)).length;
    const text = count ? (count === 1 ? bar.dataset.one : bar.dataset.many.replace("%d", count)) : "";
    const isNews = news.textContent !== text;
    if (isNews) news.textContent = text;
    news.hidden = !count;
    return isNews;
  }

  function liveParts() {
    return [...document.querySelectorAll("[data-live]")];
  }

  // A part as it came from the server, without what differs each time.
  function trace(part) {
    const copy = part.cloneNode(true);
    copy.querySelectorAll("[name=csrfmiddlewaretoken]").forEach((input) => input.remove());
    return copy.outerHTML;
  }

  // The rows of the list's first page; on other pages, every new event would move the rows.
  function rowsOf(page) {
    if (new URLSearchParams(location.search).get("p") > 0) return [];
    return [...page.querySelectorAll("#result_list tbody tr")].map((row) => row.querySelector("th a")?.pathname);
  }

  function isList() {
    return "list" in bar.dataset;
  }

  function isPaused() {
    return pause.getAttribute("aria-pressed") === "true";
  }

  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!isPaused()));
    delay = FASTEST;
    lookLater();
  });
  news.addEventListener("click", () => location.reload());
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && !isPaused()) look();
  });
  lookLater();
})();
