// What the page does beside htmx: at once a new view for an old one, local times, copying, looking closer.
"use strict";
(() => {
  const said = document.getElementById("said");
  const say = (text) => { said.textContent = text; };

  // -- times ---------------------------------------------------------------------------------------
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const dayOf = (at) => `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;
  const isUtc = (at) => at.getTimezoneOffset() === 0;

  function times(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      if (time.dataset.done) continue;
      time.dataset.done = "1";
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.valueOf())) continue;
      time.title = `${time.dateTime.replace("T", " ").replace("+00:00", "")} UTC · here ${local.format(at)}`;
      if (isUtc(at)) continue;
      const here = document.createElement("span");
      here.className = "here";
      const other = dayOf(at) === at.toISOString().slice(0, 10) ? "" : `${dayOf(at)} `;
      here.textContent = `${other}${clock.format(at)} local`;
      time.append(here);
    }
  }

  // -- looking closer at the coverage --------------------------------------------------------------
  function axis(root) {
    const place = root.querySelector("#axis");
    if (!place) return;
    const whole = document.getElementById("coverage");
    const start = Date.parse(whole.dataset.start), end = Date.parse(whole.dataset.end);
    const at = (event) => {
      const box = place.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    let from = null, mark = null;
    place.addEventListener("pointerdown", (event) => { if (event.button === 0) from = at(event); });
    place.addEventListener("pointermove", (event) => {
      if (from === null || (Math.abs(at(event) - from) < 0.01 && !mark)) return;
      if (!mark) {
        mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        mark.setAttribute("class", "chosen");
        mark.setAttribute("height", "100%");
        place.firstElementChild.append(mark);
        place.setPointerCapture(event.pointerId);
      }
      mark.setAttribute("x", `${100 * Math.min(from, at(event))}%`);
      mark.setAttribute("width", `${100 * Math.abs(at(event) - from)}%`);
    });
    place.addEventListener("pointerup", (event) => {
      if (mark) {
        const time = (part) => new Date(start + part * (end - start)).toISOString().slice(0, 16);
        const [low, high] = [from, at(event)].sort((a, b) => a - b);
        const to = new URLSearchParams(location.search);
        to.set("view", "coverage");
        to.set("from", time(low));
        to.set("to", time(high));
        place.addEventListener("click", (click) => click.preventDefault(), { once: true, capture: true });
        go(`?${to}`);
      }
      from = mark = null;
    });
  }

  // -- htmx ----------------------------------------------------------------------------------------
  const go = (to) => htmx.ajax("GET", to, { target: "#view", swap: "innerHTML", push: to })
    .then(() => undefined);

  function current(name) {
    for (const link of document.querySelectorAll("nav a")) {
      if (link.dataset.view === name) { link.setAttribute("aria-current", "page"); link.scrollIntoView({ block: "nearest", inline: "nearest" }); }
      else link.removeAttribute("aria-current");
    }
  }

  function ready(root) {
    times(root);
    axis(root);
    document.getElementById("refresh").href = location.search || "?view=health";
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    const { target, elt } = event.detail;
    if (target.id === "view") {
      // The old view never stays under a new tab.
      const name = elt.dataset && elt.dataset.view;
      if (name) current(name);
      const title = name ? elt.textContent.trim() : document.querySelector("h1").textContent;
      const head = document.createElement("h1");
      head.textContent = title;
      const wait = document.createElement("p");
      wait.className = "loading";
      wait.textContent = "Loading…";
      target.replaceChildren(head, wait);
    }
    target.setAttribute("aria-busy", "true");
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const { target } = event.detail;
    target.removeAttribute("aria-busy");
    if (target.id === "view") { target.focus({ preventScroll: true }); say(`${document.title.split(" · ")[0]} is shown`); }
    else say("The result is shown");
  });
  document.addEventListener("htmx:afterSettle", (event) => ready(event.detail.target));
  document.addEventListener("htmx:pushedIntoHistory", () => { document.getElementById("refresh").href = location.search; });
  const failed = (event, text) => {
    if (event.detail.xhr && event.detail.xhr.status === 401) return location.reload();
    const { target } = event.detail;
    target.removeAttribute("aria-busy");
    const notice = document.createElement("div");
    notice.className = "notice bad";
    notice.setAttribute("role", "alert");
    notice.textContent = text;
    target.replaceChildren(notice);
  };
  document.addEventListener("htmx:responseError", (event) => failed(event, `The page answered ${event.detail.xhr.status}.`));
  document.addEventListener("htmx:sendError", (event) => failed(event, "The page does not answer: gapless ui may have ended."));
  document.addEventListener("htmx:timeout", (event) => failed(event, "This took too long. Choose a shorter period or one source."));

  // -- the rest ------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    navigator.clipboard.writeText(button.dataset.copy).then(
      () => { button.textContent = "Copied"; say("Copied"); setTimeout(() => { button.textContent = "Copy"; }, 1500); },
      () => { button.textContent = "Not allowed"; },
    );
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.id === "f-sql") event.target.form.requestSubmit();
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    if (event.key === "/" && !typing) { const box = document.getElementById("f-q"); if (box) { event.preventDefault(); box.focus(); } }
  });
  let timer;
  function every(seconds) {
    clearInterval(timer);
    sessionStorage.setItem("every", seconds);
    if (seconds) timer = setInterval(() => {
      if (!document.hidden && document.getElementById("result")) htmx.ajax("GET", location.search || "?view=health", { target: "#result", swap: "innerHTML" });
    }, 1000 * Number(seconds));
  }
  document.addEventListener("change", (event) => { if (event.target.id === "every") every(event.target.value); });
  document.addEventListener("DOMContentLoaded", () => {
    const chosen = document.getElementById("every");
    chosen.value = sessionStorage.getItem("every") || "";
    every(chosen.value);
    const now = new Date();
    document.getElementById("zone").textContent = isUtc(now) ? "Times in UTC" : `Times in UTC, local: ${zone}`;
    document.documentElement.classList.add("js");
    ready(document);
    current(new URLSearchParams(location.search).get("view") || "health");
  });
})();
