// The page is drawn by the server. This script asks for it again whenever the
// server says that something changed, and merges what it gets into what is
// there, so that the focus, the scroll position and everything half typed stay.
"use strict";

const $ = (s, from = document) => from.querySelector(s);
const $$ = (s, from = document) => [...from.querySelectorAll(s)];
const app = () => $("#app");
const here = () => new URL(location.href).searchParams;
const wide = matchMedia("(min-width: 821px)");

// store keeps drafts and choices of this tab (or of this browser), where it may.
const store = (box) => ({
  read(key) { try { return box().getItem(key); } catch { return null; } },
  write(key, value) { try { value ? box().setItem(key, value) : box().removeItem(key); } catch { /* private mode: nothing is kept */ } },
});
const tab = store(() => sessionStorage), browser = store(() => localStorage);

/* ---- Merging ---- */

// What a person has done to an element is not the server's to undo.
const theirs = { DIALOG: ["open", "data-ready", "data-empty"], DETAILS: ["open"], TEXTAREA: ["style", "data-ready", "aria-expanded", "aria-activedescendant"] };

function merge(old, now) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue;
    return;
  }
  if (old.hasAttribute("data-js")) return;
  const keep = theirs[old.nodeName] || [];
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name) && !keep.includes(name)) old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value && !keep.includes(name)) old.setAttribute(name, value);
  if (old.nodeName === "TEMPLATE") { if (old.innerHTML !== now.innerHTML) old.innerHTML = now.innerHTML; return; }
  if (old.nodeName === "TEXTAREA") { if (old.defaultValue !== now.defaultValue) old.defaultValue = now.defaultValue; return; }
  mergeChildren(old, now);
}

function mergeChildren(old, now) {
  const known = new Map(), wanted = new Set();
  for (const c of old.children) if (c.id) known.set(c.id, c);
  for (const c of now.children) if (c.id) wanted.add(c.id);
  let at = old.firstChild;
  const drop = () => { const x = at; at = at.nextSibling; x.remove(); };
  for (const c of [...now.childNodes]) {
    while (at && at.id && !wanted.has(at.id)) drop();
    const same = c.id ? known.get(c.id) : at && !at.id && at.nodeType === c.nodeType && at.nodeName === c.nodeName ? at : null;
    if (same && same.nodeName === c.nodeName) {
      if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
      merge(same, c);
    } else {
      old.insertBefore(document.importNode(c, true), at);
    }
  }
  while (at) drop();
}

/* ---- Asking again ---- */

let loading = false, again = false;

async function refresh() {
  if (loading) { again = true; return; }
  loading = true;
  do {
    again = false;
    const asked = location.search, query = new URLSearchParams(asked);
    if (document.visibilityState === "visible") query.set("seen", "1");
    try {
      const res = await fetch("/ui/app?" + query, { headers: { Accept: "text/html" } });
      if (!res.ok) throw new Error(res.status);
      const html = await res.text();
      if (asked !== location.search) { again = true; continue; }
      draw(new DOMParser().parseFromString(html, "text/html"));
      offline(false);
    } catch {
      offline(true);
    }
  } while (again);
  loading = false;
}

function draw(doc) {
  const now = $("#app", doc);
  if (!now) return;
  const lists = new Map($$(".messages").map((l) => [l.id, { bottom: l.scrollHeight - l.scrollTop - l.clientHeight < 48, seen: new Set($$(".msg", l).map((m) => m.id)) }]));
  const focus = document.activeElement, inside = focus && focus.closest("[data-source], .msg, .composer, dialog");
  const insideID = inside && inside.id;
  merge(app(), now);
  document.title = doc.title;
  after(lists);
  // The focused element is gone, as the button of a decided card: stay near.
  if (focus && focus !== document.body && !focus.isConnected && document.activeElement === document.body) {
    const near = (insideID && document.getElementById(insideID)) || $("dialog[open] [data-first]") || $(".composer textarea");
    if (near) near.focus({ preventScroll: true });
  }
}

// after does what the HTML alone cannot say.
function after(lists) {
  dialogs();
  for (const l of $$(".messages")) {
    const was = lists && lists.get(l.id);
    if (!was || was.bottom) l.scrollTop = l.scrollHeight;
    if (was) announce($$(".msg", l).filter((m) => !was.seen.has(m.id) && !m.hasAttribute("data-mine")).map((m) => m.dataset.note));
  }
  for (const t of $$(".composer textarea")) {
    if (t.dataset.ready) { fit(t); continue; }
    t.dataset.ready = "1";
    if (!t.value) t.value = tab.read(draftKey(t)) || "";
    fit(t);
  }
  for (const id of busy) mark(id, true);
  toasts();
  sheets();
}

const offline = (yes) => { $("#offline").hidden = !yes; };

let told = 0;
function announce(notes) {
  const text = notes.filter(Boolean).join(". ");
  if (!text) return;
  const live = $("#live");
  live.textContent = "";
  const mine = ++told;
  requestAnimationFrame(() => { if (mine === told) live.textContent = text; });
}

// toasts shows what arrived in another channel or thread, in the words of a
// notification.
let newest = ""; // the last note told of; notes begin with their time
let first = true;
function toasts() {
  const notes = $$("#notes > li"), unread = new Set(notes.map((n) => n.dataset.key));
  for (const t of $$("#toasts [data-key]")) if (!unread.has(t.dataset.key)) t.remove();
  for (const { dataset: n } of notes) {
    if (n.key <= newest) continue;
    newest = n.key;
    if (first) continue;
    announce([n.from + ": " + n.text]);
    // A reply in this channel shows at its message, if that is on the screen.
    const root = new URL(n.href, location.href).searchParams.get("thread");
    if (!root || !$(`#chat [data-ts="${CSS.escape(root)}"]`)) toast(n.from, n.text, n.href, n.key);
  }
  first = false;
}

function toast(from, text, href, key) {
  const a = document.createElement(href ? "a" : "p"), b = document.createElement("b"), s = document.createElement("span");
  a.className = "toast";
  if (href) { a.href = href; a.dataset.nav = ""; a.dataset.key = key; }
  b.textContent = from; s.textContent = text;
  a.append(b, s);
  $("#toasts").append(a);
  while ($("#toasts").children.length > 3) $("#toasts").firstChild.remove();
  setTimeout(() => a.remove(), 8000);
}

/* ---- Live ---- */

// A browser opens six connections to one address at most, so only the tabs that
// can be seen keep a stream; a hidden one looks now and then, for its title.
let stream = null, looking = 0;

function listen() {
  stream?.close();
  clearInterval(looking);
  if (document.visibilityState === "hidden") { stream = null; looking = setInterval(refresh, 5000); return; }
  const mine = stream = new EventSource("/ui/events?as=" + encodeURIComponent(app().dataset.as));
  mine.addEventListener("hello", refresh);
  mine.addEventListener("changed", refresh);
  mine.onerror = () => { offline(true); if (mine.readyState === EventSource.CLOSED) setTimeout(() => mine === stream && listen(), 2000); };
}
document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (e) => { if (e.persisted) listen(); });

/* ---- Going places ---- */

document.addEventListener("click", (e) => {
  const a = e.target.closest("a[data-nav]");
  if (e.target.closest(".skip")) { e.preventDefault(); ($("#chat textarea") || $("#chat")).focus(); }
  if (!a || e.metaKey || e.ctrlKey || e.shiftKey || e.button) return;
  if (new URL(a.href).searchParams.get("as") !== app().dataset.as) return; // another person: a page of their own
  e.preventDefault();
  go(a.href);
  if (a.classList.contains("toast")) a.remove();
});
async function go(href) {
  const before = here();
  history.pushState(null, "", href);
  document.body.classList.remove("drawer-open");
  if (here().get("home") === "1") await ask("home", {});
  await refresh();
  const now = here(), thread = now.get("thread");
  if (thread && thread !== before.get("thread")) $("#thread textarea")?.focus();
  else if (now.get("channel") !== before.get("channel")) (wide.matches && $("#chat textarea") || $("#chat")).focus();
  else if (!thread && before.get("thread")) ($(`[data-ts="${CSS.escape(before.get("thread"))}"] .replies`) || $("#chat textarea"))?.focus();
}
addEventListener("popstate", refresh);

/* ---- Sending ---- */

async function post(path, body) {
  const res = await fetch("/ui/" + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ as: app().dataset.as, ...body }) });
  const answer = await res.json().catch(() => ({ error: "The simulator answered " + res.status + "." }));
  return answer;
}
async function ask(path, body) {
  try { return await post(path, body); } catch { offline(true); return { error: "The simulator cannot be reached." }; }
}

const busy = new Set();
function mark(id, on) {
  const e = document.getElementById(id);
  if (!e) return;
  e.classList.toggle("busy", on);
  on ? e.setAttribute("aria-busy", "true") : e.removeAttribute("aria-busy");
}
async function during(id, work) {
  if (busy.has(id)) return;
  busy.add(id); mark(id, true);
  try { return await work(); } finally { busy.delete(id); mark(id, false); refresh(); }
}

// done shows what came of something that has no place of its own for errors.
function done(answer) {
  if (answer.error) { toast("", answer.error); announce([answer.error]); }
  refresh();
}

/* ---- Composer ---- */

const draftKey = (t) => "draft:" + app().dataset.as + ":" + t.id;
const fit = (t) => { t.style.height = "auto"; t.style.height = Math.min(t.scrollHeight + 2, innerHeight * 0.4) + "px"; };
const sentKey = () => "sent:" + app().dataset.as;
const sent = () => { try { return JSON.parse(tab.read(sentKey()) || "[]"); } catch { return []; } };
let back = 0; // how far up in what was sent; 0 is the text of now

function put(t, text) {
  t.value = text;
  t.setSelectionRange(text.length, text.length);
  fit(t); tab.write(draftKey(t), text);
}

async function send(t) {
  const text = t.value, form = t.closest("form"), id = t.id;
  if (!text.trim()) return;
  put(t, ""); suggest(t); back = 0;
  tab.write(sentKey(), JSON.stringify([...sent().filter((s) => s !== text), text].slice(-50)));
  const list = $(".messages", form.closest("section, aside, main"));
  if (list) list.scrollTop = list.scrollHeight;
  const answer = await ask("send", { channel: form.dataset.channel, thread: form.dataset.thread || "", text });
  const box = document.getElementById(id), error = box && $(".error", box.closest("form"));
  if (error) { error.textContent = answer.error || ""; error.hidden = !answer.error; }
  if (answer.error && box && !box.value) put(box, text);
  await refresh();
  if (list && list.isConnected) list.scrollTop = list.scrollHeight;
}

document.addEventListener("submit", (e) => {
  e.preventDefault();
  const t = $("textarea", e.target);
  if (e.target.classList.contains("composer")) send(t);
});

document.addEventListener("input", (e) => {
  const t = e.target;
  if (t.closest(".composer")) { fit(t); tab.write(draftKey(t), t.value); back = 0; suggest(t); }
  if (t.dataset.query) options(t);
});

/* Suggestions: commands at the start of the text, people after an @. */

const lists = { commands: [], people: [] };
function known() {
  try { lists.commands = JSON.parse(app().dataset.commands); lists.people = JSON.parse(app().dataset.people); } catch { /* an older page: nothing to suggest */ }
}

function suggest(t) {
  const box = $(".suggest", t.closest("form")), upTo = t.value.slice(0, t.selectionStart);
  let items = [];
  const person = /(?:^|\s)@([\w.-]*)$/.exec(upTo);
  if (/^\/\S*$/.test(t.value)) items = lists.commands.filter((c) => c.command.startsWith(t.value.toLowerCase()));
  else if (person) items = lists.people.filter((p) => (p.name + " " + p.real).toLowerCase().includes(person[1].toLowerCase())).slice(0, 8);
  const typed = t.value.split(/\s/)[0], only = lists.commands.find((c) => c.command === typed);
  const usage = only && !person && t.value.length > typed.length ? only : null;
  box.replaceChildren(...(usage ? [item(usage, t, 0, true)] : items.map((x, i) => item(x, t, i, false))));
  const open = !usage && items.length > 0 && !(items.length === 1 && items[0].command === t.value);
  box.hidden = !open && !usage && !(only && items.length === 1);
  box.dataset.open = open ? "1" : "";
  t.setAttribute("aria-expanded", String(open));
  choose(t, open ? 0 : -1);
}

function item(x, t, i, hint) {
  const li = document.createElement("li"), b = document.createElement("b"), small = document.createElement("small");
  li.id = t.id + "-s" + i; li.setAttribute("role", "option");
  b.textContent = x.command || "@" + x.name; li.append(b);
  if (x.hint) { const u = document.createElement("span"); u.className = "usage"; u.textContent = " " + x.hint; li.append(u); }
  small.textContent = x.description || x.real || "";
  li.append(small);
  if (!hint) li.addEventListener("mousedown", (e) => { e.preventDefault(); take(t, x); });
  li.item = x;
  return li;
}

function choose(t, n) {
  const all = $$(".suggest li", t.closest("form"));
  all.forEach((li, i) => li.setAttribute("aria-selected", String(i === n)));
  if (n >= 0 && all[n]) { t.setAttribute("aria-activedescendant", all[n].id); all[n].scrollIntoView({ block: "nearest" }); } else t.removeAttribute("aria-activedescendant");
}

function take(t, x) {
  if (x.command) put(t, x.command + " ");
  else {
    const at = t.selectionStart, head = t.value.slice(0, at).replace(/@[\w.-]*$/, "@" + x.name + " ");
    const text = head + t.value.slice(at);
    put(t, text); t.setSelectionRange(head.length, head.length);
  }
  t.focus(); suggest(t);
}

function composerKey(e, t) {
  if (e.isComposing) return;
  const box = $(".suggest", t.closest("form")), open = box.dataset.open === "1" && !box.hidden, all = $$("li", box), n = all.findIndex((li) => li.getAttribute("aria-selected") === "true");
  if (open && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
    e.preventDefault(); choose(t, (n + (e.key === "ArrowDown" ? 1 : all.length - 1)) % all.length);
  } else if (open && (e.key === "Tab" && !e.shiftKey || e.key === "Enter" && !e.shiftKey && n >= 0 && all[n].item.command !== t.value.trim())) {
    e.preventDefault(); take(t, all[Math.max(n, 0)].item);
  } else if (e.key === "Escape" && !box.hidden) {
    e.preventDefault(); e.stopPropagation(); box.hidden = true; box.dataset.open = ""; t.setAttribute("aria-expanded", "false");
  } else if (e.key === "Enter" && !e.shiftKey) {
    e.preventDefault(); send(t);
  } else if (e.key === "ArrowUp" && (t.value === "" || back > 0)) {
    const old = sent();
    if (back < old.length) { e.preventDefault(); const n = ++back; put(t, old[old.length - n]); hideSuggestions(t); }
  } else if (e.key === "ArrowDown" && back > 0) {
    e.preventDefault(); const old = sent(), n = --back; put(t, n ? old[old.length - n] : ""); hideSuggestions(t);
  }
}
function hideSuggestions(t) {
  const box = $(".suggest", t.closest("form"));
  box.hidden = true; box.dataset.open = ""; t.setAttribute("aria-expanded", "false");
}
// An Enter that meant something else must not leave a line break behind, where
// keys and their text come apart.
let taken = false;
document.addEventListener("keyup", () => { taken = false; });
document.addEventListener("beforeinput", (e) => { if (taken && e.inputType === "insertLineBreak") e.preventDefault(); });
document.addEventListener("focusout", (e) => { if (e.target.closest?.(".composer textarea")) hideSuggestions(e.target); });

/* ---- Blocks ---- */

const surface = (e) => e.closest("[data-source]");

// entered is everything that is typed or chosen on a surface:
// block_id → action_id → values.
function entered(of) {
  const state = {};
  for (const e of $$("[data-block][data-act]", of)) {
    const values = valuesOf(e);
    if (values) (state[e.dataset.block] ||= {})[e.dataset.act] = values;
  }
  return state;
}
function valuesOf(e) {
  switch (e.dataset.kind) {
    case "typed": return e.dataset.type === "datetimepicker" && e.value ? [String(Date.parse(e.value) / 1000)] : e.value === "" ? [] : [e.value];
    case "select": return [...e.selectedOptions].map((o) => o.value).filter(Boolean);
    case "checkboxes": case "radio_buttons": return $$("input:checked", e).map((i) => i.value);
  }
  return null;
}

async function act(e, value) {
  const on = surface(e), id = e.id || e.closest("[id]").id;
  const box = e.closest(".overflow, .act, .choices") || e;
  const template = $("template.confirm", box);
  if (template && !(await confirmed(template, e))) return;
  if (e.dataset.url) open(e.dataset.url, "_blank", "noopener");
  const answer = await during(id, () => ask("act", { source: on.dataset.source, block: e.dataset.block, action: e.dataset.act, value, state: entered(on) }));
  if (!answer?.error) return;
  await refresh();
  // The element shows the failure, unless it is gone by now.
  document.getElementById(id + "-failed") ? announce([answer.error]) : done(answer);
}

function confirmed(template, from) {
  return new Promise((done) => {
    const d = document.createElement("dialog");
    d.className = "confirm-dialog"; d.append(template.content.cloneNode(true));
    d.setAttribute("aria-labelledby", "confirm-title"); $("h2", d).id = "confirm-title";
    document.body.append(d);
    d.addEventListener("click", (e) => { const b = e.target.closest("button"); if (b) d.close(b.value); });
    d.addEventListener("close", () => { d.remove(); from.isConnected && from.focus(); done(d.returnValue === "ok"); });
    d.showModal();
    $("button[value=ok]", d).focus();
  });
}

// A message's menu stands above everything, or the list's edge would cut it.
document.addEventListener("toggle", (e) => {
  if (!e.target.matches?.(".tools details[open]")) return;
  const menu = $(".menu", e.target), at = e.target.getBoundingClientRect();
  menu.style.position = "fixed"; menu.style.right = Math.max(8, innerWidth - at.right) + "px";
  const below = at.bottom + menu.offsetHeight + 6 < innerHeight;
  menu.style.top = below ? at.bottom + 6 + "px" : Math.max(8, at.top - menu.offsetHeight - 6) + "px";
}, true);

// edit lets a person change what they said.
function edit(b, on) {
  const d = document.createElement("dialog"), t = document.createElement("textarea"), source = on.dataset.source;
  d.className = "confirm-dialog edit-dialog"; d.setAttribute("aria-label", "Edit message");
  d.innerHTML = '<h2>Edit message</h2><div class="buttons"><button type="button" class="btn" value="">Cancel</button><button type="button" class="btn primary" value="ok">Save</button></div>';
  t.value = b.dataset.raw; t.rows = 4; t.setAttribute("aria-label", "Message");
  $("h2", d).after(t); document.body.append(d);
  d.addEventListener("click", (e) => { const press = e.target.closest("button"); if (press) d.close(press.value); });
  d.addEventListener("close", () => { d.remove(); if (d.returnValue === "ok") ask("edit", { source, text: t.value }).then(done); });
  d.showModal(); t.focus();
}

// attach shares a text file that the person picks.
function attach(form) {
  const input = document.createElement("input");
  input.type = "file"; input.hidden = true;
  input.addEventListener("change", async () => {
    const file = input.files[0]; input.remove();
    if (file) done(await ask("upload", { channel: form.dataset.channel, thread: form.dataset.thread || "", name: file.name, text: await file.text() }));
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input); input.click();
}

document.addEventListener("click", (e) => {
  const b = e.target.closest("button");
  for (const d of $$("details.overflow[open], .tools details[open], .person[open]")) if (!d.contains(e.target)) d.open = false;
  if (!b) { if (document.body.classList.contains("drawer-open") && !e.target.closest("#side")) toggleDrawer(); return; }
  switch (b.dataset.kind) {
    case "button": act(b, [b.dataset.value || ""]); return;
    case "overflow": b.closest("details").open = false; act(b, [b.dataset.option]); return;
  }
  const on = b.closest(".msg");
  switch (b.dataset.do) {
    case "react": b.closest("details")?.removeAttribute("open"); ask("react", { source: on.dataset.source, name: b.dataset.name }).then(refresh); break;
    case "pin": case "delete": b.closest("details")?.removeAttribute("open"); ask(b.dataset.do, { source: on.dataset.source }).then(done); break;
    case "edit": b.closest("details")?.removeAttribute("open"); edit(b, on); break;
    case "attach": attach(b.closest("form")); break;
    case "dismiss": ask("dismiss", { source: on.dataset.source }).then(refresh); break;
    case "join": ask("join", { channel: b.dataset.channel }).then(done); break;
    case "shortcut": b.closest("details")?.removeAttribute("open"); ask("shortcut", { source: on ? on.dataset.source : "", name: b.dataset.name }).then(done); break;
    case "drawer": toggleDrawer(); break;
    case "panel": togglePanel(); break;
    case "submit": submit(b.closest("dialog")); break;
    case "close": closeView(b.closest("dialog"), b.dataset.all === "1"); break;
  }
});

document.addEventListener("change", (e) => {
  const live = e.target.closest("[data-live]");
  if (!live || !surface(live)) return;
  const values = valuesOf(live);
  if (values) act(live, values);
});

// options asks the app for the entries of a menu that it fills itself.
const waiting = new Map();
function options(q) {
  clearTimeout(waiting.get(q.id));
  if (q.value.length < Number(q.dataset.min || 0)) return;
  waiting.set(q.id, setTimeout(async () => {
    const menu = document.getElementById(q.dataset.query), on = surface(menu);
    const answer = await ask("options", { source: on.dataset.source, block: menu.dataset.block, action: menu.dataset.act, value: [q.value] });
    if (answer.error) done(answer);
    for (const o of [...menu.options]) if (o.value && !o.selected) o.remove();
    for (const o of answer.options || []) if (![...menu.options].some((x) => x.value === o.value)) menu.add(new Option(o.label, o.value));
    announce([(answer.options || []).length + " options"]);
  }, 250));
}

/* ---- Modals ---- */

const fields = ".modal-body :is(input, textarea, select)";
let opener = null;
function dialogs() {
  const all = $$("dialog.modal"), top = all[all.length - 1];
  for (const d of all) {
    if (d !== top && d.open) d.close();
    if (d.dataset.ready) continue;
    d.dataset.ready = "1";
    d.addEventListener("cancel", (e) => { e.preventDefault(); closeView(d, false); });
    d.addEventListener("keydown", (e) => { if (e.key === "Escape") { e.preventDefault(); e.stopPropagation(); closeView(d, false); } });
  }
  if (top && !top.open) {
    if (all.length === 1 && !opener) { const e = document.activeElement, m = e && e.closest(".msg, .composer"); opener = { e, id: e && e.id, near: m && m.id }; }
    top.showModal();
    ($(fields, top) || $(".modal-body button", top) || $("[data-do=submit], [data-do=close]", top)).focus();
  } else if (top && top.dataset.empty && !document.activeElement.matches(fields)) {
    $(fields, top)?.focus(); // it said "loading" until now
  }
  if (top) $(fields, top) ? delete top.dataset.empty : top.dataset.empty = "1";
  if (!top && opener) {
    const { e, id, near } = opener;
    opener = null;
    const to = e && e.isConnected ? e : (id && document.getElementById(id)) || (near && document.getElementById(near)) || $(".composer textarea");
    if (to && to !== document.body) to.focus({ preventScroll: true });
  }
}

async function submit(d) {
  const button = $("[data-do=submit]", d);
  if (!button) return;
  await during(button.id, () => ask("submit", { source: d.dataset.source, state: entered(d) }));
  await refresh();
  const now = document.getElementById(d.id);
  if (now) $(".invalid input, .invalid select, .invalid textarea, .trouble", now)?.focus();
}
const closeView = (d, all) => ask("close", { source: d.dataset.source, all }).then(refresh);

/* ---- Keys ---- */

document.addEventListener("keydown", (e) => {
  const t = e.target;
  if (t.matches?.(".composer textarea")) composerKey(e, t);
  if (e.defaultPrevented) return;
  if (e.key === "Enter" && t.matches?.("input[data-kind=typed]")) {
    e.preventDefault();
    if (t.hasAttribute("data-enter")) act(t, valuesOf(t));
    else if (t.closest("dialog.modal")) submit(t.closest("dialog.modal"));
  } else if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && t.closest?.("dialog.modal")) {
    e.preventDefault(); submit(t.closest("dialog.modal"));
  } else if (e.key === "Escape" && !$("dialog[open]")) {
    const menu = t.closest?.("details[open]") || $("details.overflow[open], .tools details[open], .person[open]");
    if (menu) { menu.open = false; $("summary", menu).focus(); }
    else if (document.body.classList.contains("drawer-open")) toggleDrawer();
    else if (!wide.matches && document.body.classList.contains("panel-open")) togglePanel();
    else if ($("#thread")) go($("#thread [data-close]").href);
  } else if ((e.key === "ArrowUp" || e.key === "ArrowDown") && t.matches?.(".messages, .msg")) {
    e.preventDefault();
    const all = $$(".msg", t.closest(".messages")), i = all.indexOf(t), step = e.key === "ArrowDown" ? 1 : -1;
    const to = i < 0 ? all[all.length - 1] : all[Math.min(Math.max(i + step, 0), all.length - 1)];
    to?.focus(); to?.scrollIntoView({ block: "nearest" });
  }
});

document.addEventListener("keydown", (e) => { taken = e.key === "Enter" && (e.defaultPrevented || !e.target.matches("textarea")); });

/* ---- Drawer and panel ---- */

function toggleDrawer() {
  const open = document.body.classList.toggle("drawer-open");
  sheets();
  (open ? $("#side summary, #side a") : $("#chat [data-do=drawer]"))?.focus();
}
function togglePanel() {
  const open = document.body.classList.toggle("panel-open");
  if (wide.matches) browser.write("panel", open ? "" : "closed");
  sheets();
  (open && !wide.matches ? $("#panel [data-do=panel]") : $("#chat [data-do=panel]"))?.focus();
}
// sheets says which sheets are open, and keeps the focus out of what they cover.
function sheets() {
  const is = (what) => document.body.classList.contains(what + "-open");
  for (const what of ["panel", "drawer"]) $$(`[data-do=${what}][aria-expanded]`).forEach((b) => b.setAttribute("aria-expanded", String(is(what))));
  for (const e of $$("#chat, #thread")) e.inert = is("drawer") || (is("panel") && !wide.matches);
}

if ($("#panel") && wide.matches && browser.read("panel") !== "closed") document.body.classList.add("panel-open");
wide.addEventListener("change", () => { document.body.classList.remove("drawer-open"); if (!wide.matches) document.body.classList.remove("panel-open"); sheets(); });
known();
after(null);
listen();
if (here().get("home") === "1") ask("home", {}).then(refresh);
if (wide.matches && !$("dialog.modal")) $("#thread textarea, #chat textarea")?.focus();
