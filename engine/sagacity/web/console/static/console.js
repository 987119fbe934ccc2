// What the pages can do besides: keys, live rows, copying. Without this file every page works the same.
//
// The one rule of the live part: nothing moves under the pointer. A row that is on the page changes where it
// stands; what is new is announced and shown when somebody asks for it.
(() => {
  "use strict";
  const body = document.body;
  const keysOn = document.documentElement.hasAttribute("data-keys");
  const one = (what, from = document) => from.querySelector(what);
  const all = (what, from = document) => [...from.querySelectorAll(what)];

  // --- ages that go on ---------------------------------------------------------
  const skew = (() => {
    const said = one(".settings time");
    return said ? Date.parse(said.dateTime) - Date.now() : 0;
  })();
  const units = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  function length(seconds) {
    let left = Math.max(0, Math.floor(seconds));
    const parts = [];
    for (const [size, unit] of units) {
      const count = Math.floor(left / size);
      left -= count * size;
      if (count || parts.length) parts.push(count + unit);
    }
    return parts.slice(0, 2).filter((part) => !part.startsWith("0")).join(" ") || "0s";
  }
  function age() {
    const now = Date.now() + skew;
    for (const time of all("time[data-since]")) {
      const said = length((now - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== said) time.textContent = said;
    }
  }
  setInterval(age, 5000);

  // --- copying -----------------------------------------------------------------
  function copies(from = document) {
    if (!navigator.clipboard) return;
    for (const button of all("button.copy[hidden]", from)) button.hidden = false;
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
    say("copied");
  });
  copies();

  function say(text) {
    const place = one("#said");
    if (place) place.textContent = text;
  }

  // --- live rows -----------------------------------------------------------------
  const news = one("#news");
  const show = one("#show-news");
  let asleep = false, asking = false, again = false;

  const busy = () => document.activeElement && document.activeElement.closest("form:not(.find) input, form textarea, form select");

  // What is told apart: how long ago is no change.
  const told = (node) => {
    const copy = node.cloneNode(true);
    for (const time of all("time[data-since]", copy)) time.textContent = "";
    return copy.innerHTML;
  };

  function take(old, fresh) {
    if (told(old) === told(fresh)) return false;
    const at = document.activeElement && old.contains(document.activeElement) ? document.activeElement : null;
    const path = at && (at.id ? "#" + CSS.escape(at.id) : at.getAttribute("href") ? `[href="${CSS.escape(at.getAttribute("href"))}"]` : null);
    const open = new Set(all("details[open]", old).map((item) => item.id));
    const ticked = new Set(all("input:checked", old).map((item) => item.name + item.value));
    const typed = all("input[id]:not([type=checkbox], [type=radio]), textarea[id]", old).map((item) => [item.id, item.value]);
    old.innerHTML = fresh.innerHTML;
    for (const [id, value] of typed) { const item = document.getElementById(id); if (item && value) item.value = value; }
    for (const item of all("details", old)) if (open.has(item.id)) item.open = true;
    for (const item of all("input[type=checkbox]", old)) item.checked = ticked.has(item.name + item.value);
    if (path) (one(path, old) || old).focus({ preventScroll: true });
    copies(old);
    if (window.htmx) window.htmx.process(old);
    return true;
  }

  async function refresh() {
    if (asleep || document.hidden) return;
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      apply(fresh);
    } catch { /* the stream says when the server is there again */ } finally {
      asking = false;
      if (again) { again = false; setTimeout(refresh, 1000); }
    }
  }

  function apply(fresh) {
    let changed = 0, arrived = 0;
    for (const part of all("[data-live-part]")) {
      const other = part.id && fresh.getElementById(part.id);
      if (other && !(busy() && part.contains(document.activeElement)) && take(part, other)) changed += 1;
    }
    for (const row of all("[data-rows] [data-row]")) {
      const other = fresh.getElementById(row.id);
      if (other && take(row, other)) {
        changed += 1;
        row.classList.remove("changed");
        void row.offsetWidth;
        row.classList.add("changed");
      }
    }
    for (const row of all("[data-rows] [data-row]", fresh)) if (!document.getElementById(row.id)) arrived += 1;
    const gone = all("[data-rows] [data-row]").filter((row) => !fresh.getElementById(row.id)).length;
    const empty = all("[data-rows]").length === 0 && all("[data-rows]", fresh).length > 0;
    const count = arrived + gone;
    if (news && show && (count || empty)) {
      const text = `${count || 1} ${count === 1 ? "change" : "changes"}, show`;
      if (show.textContent !== text) { show.textContent = text; say(text); }
      news.hidden = false;
    }
    if (changed) body.dataset.changed = String(Number(body.dataset.changed || 0) + changed);
  }
  if (show) show.addEventListener("click", () => location.reload());

  if (body.dataset.live !== "no" && window.EventSource) {
    let timer = null;
    const stream = new EventSource("/console/events");
    const soon = () => { if (!timer) timer = setTimeout(() => { timer = null; refresh(); }, 250); };
    stream.addEventListener("moved", soon);
    stream.addEventListener("tick", () => { if (body.dataset.live === "plan") soon(); });
    stream.addEventListener("here", () => { body.dataset.stream = "here"; soon(); });
    if (body.dataset.live === "plan") setInterval(soon, 3000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
    window.addEventListener("pagehide", () => stream.close());
  }

  document.addEventListener("change", () => {
    const place = one("#ticked");
    if (place) place.textContent = String(all("[data-rows] input:checked").length || "");
  });

  // --- keys ------------------------------------------------------------------------
  if (!keysOn) return;
  let going = false;
  const rows = () => all("[data-row]").filter((row) => row.offsetParent !== null);

  function step(by) {
    const found = rows();
    if (!found.length) return;
    const now = found.findIndex((row) => row.contains(document.activeElement));
    const next = found[Math.max(0, Math.min(found.length - 1, now < 0 ? (by > 0 ? 0 : found.length - 1) : now + by))];
    const target = one("a, summary, button", next) || next;
    target.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, textarea, select");
    if (event.key === "Escape" && typing) { typing.blur(); return; }
    if (typing) return;
    if (going) {
      going = false;
      const link = one(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const act = {
      "/": () => one("#find").focus(),
      j: () => step(1),
      k: () => step(-1),
      g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
      r: () => { if (news && !news.hidden) location.reload(); },
      p: () => { asleep = !asleep; say(asleep ? "live updates stopped" : "live updates go on"); if (!asleep) refresh(); },
      ".": () => {
        const place = one("#allowed a, #allowed input:not([type=hidden]), #allowed button") || one("main form.form :is(input:not([type=hidden]), select, textarea, button)") || one("#allowed h2, main h1 a, main a");
        if (place) place.focus();
      },
      "?": () => { const list = one("#keys"); list.open = true; list.scrollIntoView({ block: "nearest" }); one("summary", list).focus(); },
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
})();
