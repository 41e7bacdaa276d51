#include "coordinator/http/page.h"

namespace alpa::coordinator {

const char kPageHtml[] = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Alpa</title>
<link rel="stylesheet" href="/app.css">
</head>
<body>
<header><h1>Alpa</h1><span id="summary">connecting…</span></header>
<main>
<section><h2>Workers</h2><div class="scroll"><table id="workers"><thead><tr>
<th>Worker</th><th>State</th><th>Heartbeat</th><th>Devices</th><th>Memory</th><th>Tensor address</th>
</tr></thead><tbody></tbody></table></div></section>
<section><h2>Jobs</h2><div class="scroll"><table id="jobs"><thead><tr>
<th>Job</th><th>State</th><th>Steps</th><th>Loss</th><th>Step time</th><th>Predicted time</th>
<th>Memory</th><th>Predicted memory</th><th>Devices</th><th>Reason</th>
</tr></thead><tbody></tbody></table></div></section>
<section id="detail" hidden><h2 id="title"></h2><p id="failure" hidden></p><div class="charts">
<figure><figcaption>Loss</figcaption>
<svg id="loss" viewBox="0 0 600 200" role="img" aria-label="Loss by step"></svg></figure>
<figure><figcaption>Step time</figcaption>
<svg id="time" viewBox="0 0 600 200" role="img" aria-label="Step time by step"></svg></figure>
</div><div id="schedule" hidden><h3>Predicted timeline of a step</h3><div class="scroll">
<svg id="spans" role="img" aria-label="Predicted timeline of a step, with one row per mesh"></svg>
</div><p class="legend">
<span class="forward">forward</span><span class="backward">backward</span><span
class="weights">weight gradients</span><span class="other">other</span>
</p></div><h3>Plan</h3><pre id="plan"></pre></section>
</main>
<script src="/app.js"></script>
</body>
</html>
)html";

const char kPageCss[] =
    R"css(:root{color-scheme:light dark;--bg:#fbfbfa;--fg:#1d1d1f;--dim:#6b6b70;--line:#e2e2e0;--card:#fff;
--accent:#2f6fde;--good:#18794e;--bad:#c02a2a;--wait:#946200}
@media (prefers-color-scheme:dark){:root{--bg:#161618;--fg:#ececee;--dim:#9a9aa2;--line:#303034;--card:#1f1f22;
--accent:#7aa7ff;--good:#4cc38a;--bad:#ff7b72;--wait:#e3b341}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
header{display:flex;align-items:baseline;gap:1rem;padding:1rem 1.5rem;border-bottom:1px solid var(--line)}
h1{margin:0;font-size:1.3rem}h2{font-size:1rem;margin:0 0 .6rem}h3{font-size:.9rem;margin:1rem 0 .3rem}
#summary{color:var(--dim)}
main{max-width:1100px;margin:0 auto;padding:1.5rem;display:grid;gap:1.5rem}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.2rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th{text-align:left;color:var(--dim);font-weight:500;font-size:.85rem}
th,td{padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
td.wide{white-space:normal;min-width:14rem}
tr:last-child td{border-bottom:0}
tbody tr.pick{cursor:pointer}tr.chosen td:first-child{font-weight:600}
meter{display:block;width:9rem;height:.5rem}
tbody tr.pick:hover td{color:var(--accent)}
.dot{display:inline-block;width:.6em;height:.6em;border-radius:50%;margin-right:.4em;background:var(--dim)}
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
.good .dot{background:var(--good)}.bad .dot{background:var(--bad)}.wait .dot{background:var(--wait)}
.device{display:inline-block;padding:0 .5em;margin:0 .3em .2em 0;border:1px solid var(--line);border-radius:5px;
font-size:.85rem}
.device.busy{border-color:var(--accent);color:var(--accent)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:1rem}
figure{margin:0}figcaption{color:var(--dim);font-size:.85rem}
svg{width:100%;height:auto}svg path{fill:none;stroke:var(--accent);stroke-width:2}
svg text{fill:var(--dim);font-size:12px}svg line{stroke:var(--line)}
#spans{min-width:600px}#spans rect{stroke:var(--card);stroke-width:.5}
#spans .forward{fill:#4c8dff}#spans .backward{fill:#35a273}#spans .weights{fill:#d9a13b}#spans .other{fill:#9a7bd0}
.legend{margin:.2rem 0 0;font-size:.85rem;color:var(--dim)}
.legend span{margin-right:1.2em;padding-left:.5em;border-left:.8em solid}
.legend .forward{border-color:#4c8dff}.legend .backward{border-color:#35a273}
.legend .weights{border-color:#d9a13b}.legend .other{border-color:#9a7bd0}
pre{margin:0;overflow-x:auto;font-size:.85rem}
#failure{color:var(--bad);white-space:pre-wrap}
.empty{color:var(--dim)}
)css";

const char kPageScript[] = R"js("use strict";
const $ = id => document.getElementById(id);
let chosen = decodeURIComponent(location.hash.slice(1));
const tone = s => ({RUNNING: "good", SUCCEEDED: "good", FAILED: "bad", STOPPED: "wait"}[s] || "wait");
function cell(text, cls) {
  const td = document.createElement("td");
  td.textContent = text; if (cls) td.className = cls;
  return td;
}
function state(text, cls) {
  const td = cell("", cls), dot = document.createElement("span");
  dot.className = "dot"; td.append(dot, text);
  return td;
}
function fill(table, rows, empty, columns) {
  const body = table.tBodies[0];
  if (!rows.length) {
    const td = cell(empty, "empty"); td.colSpan = columns;
    const tr = document.createElement("tr"); tr.append(td); rows = [tr];
  }
  body.replaceChildren(...rows);
}
const seconds = s => s == null ? "" : s < 1 ? (s * 1000).toFixed(s < 0.01 ? 2 : 1) + " ms" : s.toFixed(2) + " s";
function bytes(n) {
  let i = 0; while (n >= 1024 && i < 5) { n /= 1024; i++; }
  return (i && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][i];
}
const sum = (list, of) => list.reduce((total, x) => total + (of(x) || 0), 0);
function memory(devices) {
  const known = devices.some(d => d.used_bytes != null), total = sum(devices, d => d.memory_bytes);
  if (!known) return cell(total ? bytes(total) : "");
  const used = sum(devices, d => d.used_bytes), td = cell(bytes(used) + " of " + bytes(total));
  const meter = document.createElement("meter");
  meter.max = total || 1; meter.value = used; td.append(meter);
  return td;
}
function workerRow(w) {
  const tr = document.createElement("tr"), devices = cell("");
  for (const d of w.devices) {
    const s = document.createElement("span");
    s.className = "device" + (d.job_id ? " busy" : "");
    s.textContent = d.kind + " " + d.id;
    const used = d.used_bytes == null ? "" : ", " + bytes(d.used_bytes) + " in use";
    s.title = (d.job_id ? "job " + d.job_id : "free") + used;
    devices.append(s);
  }
  tr.append(cell(w.name), state(w.up ? "up" : "lost", w.up ? "good" : "bad"),
            cell(w.heartbeat_age_seconds.toFixed(1) + " s ago"), devices, memory(w.devices), cell(w.tensor_address));
  return tr;
}
function jobRow(j) {
  const tr = document.createElement("tr");
  tr.className = "pick" + (j.job_id === chosen ? " chosen" : ""); tr.tabIndex = 0;
  const steps = j.total_steps ? j.steps_done + " / " + j.total_steps : String(j.steps_done);
  tr.append(cell(j.name && j.name !== j.job_id ? j.job_id + " · " + j.name : j.job_id),
            state(j.state, tone(j.state)), cell(steps), cell(j.last_loss == null ? "" : j.last_loss.toPrecision(5)),
            cell(seconds(j.median_step_seconds)), cell(seconds(j.predicted_step_seconds)),
            cell(j.device_bytes == null ? "" : bytes(j.device_bytes)),
            cell(j.predicted_device_bytes == null ? "" : bytes(j.predicted_device_bytes)),
            cell(String(j.devices.length || "")), cell(j.reason, "wide"));
  const pick = () => { chosen = j.job_id; location.hash = encodeURIComponent(chosen); refresh(); };
  tr.onclick = pick; tr.onkeydown = e => { if (e.key === "Enter") pick(); };
  return tr;
}
function chart(svg, points, label) {
  const NS = "http://www.w3.org/2000/svg", add = (name, attributes, text) => {
    const e = document.createElementNS(NS, name);
    for (const k in attributes) e.setAttribute(k, attributes[k]);
    if (text) e.textContent = text;
    svg.append(e);
  };
  svg.replaceChildren();
  points = points.filter(p => p[1] != null && isFinite(p[1]));
  if (!points.length) { add("text", {x: 10, y: 100}, "no data yet"); return; }
  const xs = points.map(p => p[0]), ys = points.map(p => p[1]);
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1), y0 = Math.min(...ys), y1 = Math.max(...ys);
  const span = y1 - y0 || Math.abs(y1) || 1;
  const X = x => 50 + 540 * (x - x0) / (x1 - x0), Y = y => 175 - 155 * (y - y0) / span;
  add("line", {x1: 50, x2: 590, y1: 175, y2: 175});
  add("path", {d: points.map((p, i) => (i ? "L" : "M") + X(p[0]).toFixed(1) + " " + Y(p[1]).toFixed(1)).join("")});
  add("text", {x: 0, y: Y(y1) + 4}, label(y1)); if (y1 !== y0) add("text", {x: 0, y: Y(y0) + 4}, label(y0));
  add("text", {x: 50, y: 192}, "step " + x0); add("text", {x: 590, y: 192, "text-anchor": "end"}, String(x1));
}
const kindOf = name => (/, (forward|backward|weights) of stage/.exec(name) || [])[1] || "other";
function timeline(svg, spans) {
  const NS = "http://www.w3.org/2000/svg", row = 26, left = 62, width = 1000;
  const make = (name, attributes, text) => {
    const e = document.createElementNS(NS, name);
    for (const k in attributes) e.setAttribute(k, attributes[k]);
    if (text) e.textContent = text;
    return e;
  };
  const meshes = 1 + Math.max(...spans.map(s => s.mesh)), end = Math.max(...spans.map(s => s.end)) || 1, parts = [];
  for (let m = 0; m < meshes; m++) parts.push(make("text", {x: 0, y: row * m + 17}, "mesh " + m));
  for (const s of spans) {
    const r = make("rect", {x: left + (width - left) * s.begin / end, y: row * s.mesh + 3,
                            width: Math.max(0.5, (width - left) * (s.end - s.begin) / end), height: row - 6,
                            "class": kindOf(s.program)});
    r.append(make("title", {}, s.program + ": " + seconds(s.end - s.begin) + " from " + (seconds(s.begin) || "0")));
    parts.push(r);
  }
  parts.push(make("text", {x: left, y: row * meshes + 14}, "0"),
             make("text", {x: width, y: row * meshes + 14, "text-anchor": "end"}, seconds(end)));
  svg.setAttribute("viewBox", "0 0 " + width + " " + (row * meshes + 20));
  svg.replaceChildren(...parts);
}
async function get(path) {
  const r = await fetch("/api/v1/" + path);
  if (!r.ok) throw new Error(r.status);
  return r.json();
}
async function refresh() {
  try {
    const cluster = await get("cluster"), jobs = await get("jobs");
    const devices = cluster.workers.filter(w => w.up).flatMap(w => w.devices);
    $("summary").textContent = cluster.workers.filter(w => w.up).length + " workers, " + devices.length +
        " devices, " + devices.filter(d => !d.job_id).length + " free · version " + cluster.version;
    fill($("workers"), cluster.workers.map(workerRow),
         "No worker has registered yet. Start one with alpa-worker --coordinator ADDRESS.", 6);
    if (!jobs.jobs.some(j => j.job_id === chosen)) chosen = "";
    if (!chosen && jobs.jobs.length) chosen = jobs.jobs[jobs.jobs.length - 1].job_id;
    fill($("jobs"), jobs.jobs.slice(-200).reverse().map(jobRow), "No jobs yet.", 10);
    const job = jobs.jobs.find(j => j.job_id === chosen);
    $("detail").hidden = !job;
    if (job) {
      $("title").textContent = "Job " + job.job_id;
      $("failure").hidden = job.state !== "FAILED";
      $("failure").textContent =
          [job.cause + ": " + job.reason, job.failed_worker && "worker " + job.failed_worker, job.failed_op]
              .filter(Boolean).join("\n");
      const plan = await get("jobs/" + encodeURIComponent(chosen) + "/plan");
      $("plan").textContent = plan.text || "the job is not planned yet";
      $("schedule").hidden = !plan.spans.length;
      if (plan.spans.length) timeline($("spans"), plan.spans);
      const history = await get("jobs/" + encodeURIComponent(chosen) + "/timeline");
      chart($("loss"), history.steps.map(s => [s.step, s.loss]), y => y.toPrecision(4));
      chart($("time"), history.steps.map(s => [s.step, s.seconds]), seconds);
    }
  } catch (e) { $("summary").textContent = "the coordinator does not answer (" + e.message + ")"; }
}
refresh(); setInterval(refresh, 2000);
)js";

}  // namespace alpa::coordinator
