// Shows the patient's vitals, asked for once a second while the page is seen.
"use strict";

const SECONDS = 180; // that the charts show
const at = (id) => document.getElementById(id);
const percent = (x) => x === null ? "no data" : Math.round(x * 100) + " %";
const ms = (x) => x === null ? "–" : (x < 10 ? x.toFixed(1) : Math.round(x)) + " ms";
const mib = (b) => (b / 1048576).toFixed(1) + " MiB";
const count = (n) => n.toLocaleString("en");

function set(id, text) {
  const e = at(id);
  if (e.textContent !== text) e.textContent = text; // an unchanged status is not read out again
}

// draw fills a chart with values from 0 to top, the newest at the right; null
// is a gap. goal is a dashed line.
function draw(svg, values, top, goal) {
  const { width, height } = svg.viewBox.baseVal;
  const pad = 2;
  const x = (i) => (SECONDS - values.length + i + 1) / SECONDS * width;
  const y = (v) => height - pad - Math.min(v / top, 1) * (height - 2 * pad);
  let curve = "", area = "", start = -1;
  for (let i = 0; i <= values.length; i++) {
    const v = i < values.length ? values[i] : null;
    if (v === null) {
      if (start >= 0) area += `L${x(i - 1).toFixed(1)} ${height}Z`;
      start = -1;
      continue;
    }
    const point = `${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
    curve += (start < 0 ? "M" : "L") + point;
    area += start < 0 ? `M${x(i).toFixed(1)} ${height}L${point}` : "L" + point;
    if (start < 0) start = i;
  }
  const ns = "http://www.w3.org/2000/svg";
  const shape = (name, attributes) => {
    const e = document.createElementNS(ns, name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    return e;
  };
  const parts = [shape("path", { class: "area", d: area }), shape("path", { class: "curve", d: curve })];
  if (goal !== undefined) parts.unshift(shape("line", { class: "goal", x1: 0, x2: width, y1: y(goal), y2: y(goal) }));
  svg.replaceChildren(...parts);
}

function show(v) {
  set("state", v.words);
  at("state").dataset.state = v.state;
  set("rate", percent(v.hit_rate));
  at("rate").className = v.hit_rate === null ? "" : v.hit_rate < 0.6 ? "bad" : "good";
  set("p50", ms(v.p50));
  set("p95", ms(v.p95));
  set("lookups", v.lookups.toFixed(1) + "/s");
  set("refused", v.refused.toFixed(1) + "/s");
  at("refused").className = v.refused > 0 ? "bad" : "";
  set("mem", v.max > 0 ? `${mib(v.used)} of ${mib(v.max)}` : mib(v.used));
  at("meter").value = v.max > 0 ? Math.min(v.used / v.max, 1) : 0;
  at("meter").textContent = at("mem").textContent;
  const past = v.past || [];
  draw(at("c-rate"), past.map((m) => m.h), 1, 0.6);
  const top = Math.max(10, ...past.map((m) => m.p || 0));
  set("p95max", `top ${Math.round(top)} ms`);
  draw(at("c-p95"), past.map((m) => m.p), top);
  set("total", `${count(v.total)} in all`);
  at("keys").replaceChildren(...v.keys.map((f) => {
    const row = document.createElement("tr");
    for (const text of [f.name, f.say, count(f.keys)]) row.insertCell().textContent = text;
    return row;
  }));
  set("engine", "Redis: " + v.engine);
  at("sicken").disabled = filling || v.state === "ill";
  if (v.state !== "ill" && !filling) set("note", "");
}

async function refresh() {
  try {
    const answer = await fetch("vitals", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
  } catch {
    set("state", "No connection to the patient");
    at("state").dataset.state = "unreachable";
  }
}

async function watch() {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((done) => setTimeout(done, 1000));
  }
}

let filling = false;

at("sicken").addEventListener("click", async () => {
  filling = at("sicken").disabled = true;
  set("note", "Filling Redis with old keys …");
  try {
    const answer = await fetch("sicken", { method: "POST" });
    set("note", answer.ok ? "Done: it is ill again." : await answer.text());
  } catch {
    set("note", "No connection to the patient.");
  }
  filling = false;
  await refresh();
});

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
watch();
