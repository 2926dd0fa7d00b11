// The page: every control sends a message, every message of the server is shown.

import { Connection } from "./connection.js";
import { buildPaces, Options, Segments, setPace } from "./controls.js";
import { Keys } from "./keys.js";
import { key, Legend } from "./legend.js";
import { Latency, Rate } from "./meters.js";
import { Notices } from "./notices.js";
import { Screen } from "./screen.js";
import { Picker, takePictures } from "./starts.js";
import { Traces } from "./traces.js";
import { Tree } from "./tree.js";

const $ = (id) => document.getElementById(id);
const BUTTONS = {
  pause: "pause", step: "step-once", branch: "branch", return: "return", switch: "switch", record: "record",
};

let hello = null;
let state = null;
let seq = 0;
let lastStep = { dream: -1, real: -1 };
let lostConnection = false;

const notices = new Notices($("notices"));
const traces = new Traces($("traces"));
const latency = new Latency();
const rate = new Rate();
const send = (type, fields) => connection.send(type, fields);
const toDream = () => $("stage").focus({ preventScroll: true });

// Messages of the server

function begin(message) {
  hello = message;
  lastStep = { dream: -1, real: -1 };
  traces.clear("dream");
  traces.clear("real");
  latency.forget();
  picker.forget();
  $("world").textContent = hello.world;
  $("family").textContent = hello.family;
  document.title = `${hello.world} · play`;
  keys.use(hello.actions.keys);
  legend.show(hello.actions);
  nameButtons();
  options.build(hello.options);
  buildPaces($("pace"), hello.fps, (fps) => send("pace", { fps }));
  for (const input of mode.inputs) input.disabled = input.value !== "dream" && !hello.real;
  $("mode").title = hello.real ? "" : "The real game of this world cannot be played here.";
  $("switch").disabled = !hello.real;
  $("agent").disabled = hello.agent === null;
  $("agent-name").textContent = hello.agent === null ? "No agent" : `Agent plays: ${hello.agent}`;
  $("agent-row").title = "Any key of an action takes over.";
  $("open-starts").disabled = hello.starts === 0;
  $("open-picture").disabled = !hello.takes_pictures;
  showTemperature(hello.temperature);
  toDream();
}

function showState(message) {
  state = message;
  press($("pause"), state.paused, "Resume", "Pause");
  press($("record"), state.recording, "Stop recording", "Record");
  $("step-once").disabled = !state.paused;
  $("agent").checked = state.agent;
  mode.set(state.mode);
  rows.set(state.rows);
  setPace($("pace"), state.pace);
  showTemperature(state.temperature);
  options.set(state.options);
  const places = state.mode === "both" ? ["dream", "real"] : [state.mode];
  screen.setPlaces(places);
  for (const place of ["dream", "real"]) if (!places.includes(place)) traces.clear(place);
  if (state.paused) latency.forget();
}

function showFrame(header) {
  const now = performance.now();
  if (state && state.mode !== "both" && state.mode !== header.place) return; // the other place's last one
  if (header.step < lastStep[header.place]) $("ended").hidden = true;
  if (header.step !== lastStep[header.place] || header.step === 0) traces.add(header);
  lastStep[header.place] = header.step;
  const primary = state?.mode === "real" ? "real" : "dream";
  if (header.place === primary) {
    rate.shown(now);
    latency.shown(header.seq, now);
    legend.light(header.action);
    $("made").textContent = `${header.made_ms.toFixed(1)} ms`;
    $("seed-now").textContent = `Now: seed ${header.seed}`;
  }
  if (header.ended) {
    const name = header.place === "real" ? "The real game" : "The dream";
    $("ended").textContent = `${name} was ${header.ended} at step ${header.step}, return ${+header.return.toFixed(2)}.`;
    $("ended").hidden = false;
  }
}

function showRecorded({ video, episodes }) {
  const film = Object.assign(document.createElement("a"), {
    href: video + location.search, target: "_blank", textContent: "Film (MP4)",
  });
  const store = Object.assign(document.createElement("code"), { textContent: episodes });
  notices.say("Recorded: ", film, ", episodes in ", store);
}

const messages = {
  hello: begin,
  state: showState,
  tree: (message) => tree.show(message),
  starts: (message) => picker.show(message),
  recorded: showRecorded,
  error: ({ message }) => {
    notices.error(message);
    if (state) showState(state); // a refused control goes back to what is in force
  },
};

const connection = new Connection({
  open: () => {
    if (lostConnection) notices.say("Connected again. A new dream begins.");
    lostConnection = false;
    $("connection").textContent = "connected";
    $("connection").classList.add("open");
  },
  closed: (reason) => {
    $("connection").textContent = "no connection";
    $("connection").classList.remove("open");
    if (!lostConnection) {
      const why = reason ? `The server closed the connection: ${reason}` : "The server has ended or cannot be reached.";
      notices.error(`${why} This page connects again by itself once it answers.`);
    }
    lostConnection = true;
    latency.forget();
  },
  message: (message) => messages[message.type]?.(message),
  frame: (frame) => screen.show(frame),
});

// Controls

const screen = new Screen($("stage"), { dream: $("dream"), real: $("real") }, {
  shown: showFrame,
  failed: (error) => notices.error(`A picture could not be shown: ${error.message}`),
  done: (header) => send("drawn", { id: header.id }),
});
const tree = new Tree($("tree"), $("tree-empty"), (node) => send("return", { node }));
const picker = new Picker($("starts"), $("starts-pictures"), {
  ask: () => send("starts"),
  chosen: (start) => reset({ start }),
});
const options = new Options($("options"), (name, value) => send("option", { name, value }));
const mode = new Segments($("mode"), [
  { value: "dream", label: "Dream" },
  { value: "real", label: "Real" },
  { value: "both", label: "Both" },
], (value) => send("mode", { mode: value }));
const rows = new Segments($("rows"), [1, 4, 9].map((value) => ({
  value, label: String(value), title: "The same actions under different seeds",
})), (count) => send("rows", { count }));

function reset({ start = null } = {}) {
  const text = $("seed").value;
  const seed = text === "" ? null : Number(text);
  if (seed !== null && !Number.isSafeInteger(seed)) {
    notices.error(`The seed is ${text}; expected a whole number of at most ${Number.MAX_SAFE_INTEGER}.`);
    return;
  }
  latency.forget();
  send("reset", { seed, start });
  toDream();
}

const commands = {
  pause: () => send("pause", { on: !state?.paused }),
  step: () => send("step"),
  branch: () => send("branch"),
  return: () => { if (tree.last !== null) send("return", { node: tree.last }); },
  switch: () => { if (hello?.real) send("mode", { mode: state?.mode === "dream" ? "real" : "dream" }); },
  record: () => send("record", { on: !state?.recording }),
  reset: () => reset(),
  agent: () => { if (hello?.agent) send("agent", { on: !state?.agent }); },
};

const keys = new Keys({
  changed: (down, time) => {
    seq += 1;
    send("keys", { down, seq });
    if (time !== null && !state?.paused) latency.press(seq, time);
  },
  axes: (values) => send("axes", { values, seq: ++seq }),
  command: (name) => commands[name](),
  leave: () => {
    notices.dismissAll();
    if (!$("starts").open) toDream();
  },
});
const legend = new Legend($("legend"), keys);

/** Every button says which key does the same. */
function nameButtons() {
  const codes = Object.fromEntries(Object.entries(keys.commands).map(([code, name]) => [name, code]));
  for (const [name, id] of Object.entries(BUTTONS)) setKey($(id), codes[name]);
  setKey($("reset"), codes.reset);
  $("agent-row").querySelector("kbd")?.remove();
  if (hello.agent !== null && codes.agent) $("agent-row").append(key(codes.agent));
}

function setKey(button, code) {
  button.querySelector("kbd")?.remove();
  if (code) button.append(key(code));
}

function press(button, on, pressed, released) {
  button.setAttribute("aria-pressed", String(on));
  button.firstChild.textContent = on ? pressed : released;
}

function showTemperature(value) {
  if (document.activeElement !== $("temperature")) $("temperature").value = value;
  $("temperature-value").textContent = +value.toFixed(2);
}

for (const [name, id] of Object.entries(BUTTONS)) $(id).addEventListener("click", () => commands[name]());
$("panel").addEventListener("submit", (event) => {
  event.preventDefault();
  reset();
});
$("open-starts").addEventListener("click", () => picker.open());
$("open-picture").addEventListener("click", () => $("picture").click());
$("agent").addEventListener("change", () => send("agent", { on: $("agent").checked }));
$("temperature").addEventListener("input", () => send("temperature", { value: Number($("temperature").value) }));
takePictures({
  stage: $("stage"), hint: $("drop-hint"), input: $("picture"),
  allowed: () => hello?.takes_pictures,
  send: (file) => connection.sendPicture(file),
  refuse: (message) => notices.error(message),
});

// A control that the mouse has used gives the keys back to the dream; the keyboard's focus stays where it is.
let byPointer = false;
addEventListener("pointerdown", () => { byPointer = true; }, true);
addEventListener("keydown", () => { byPointer = false; }, true);
for (const event of ["change", "click"]) {
  document.addEventListener(event, ({ target }) => {
    const typed = target.matches("input[type=number], select, dialog *");
    if (byPointer && !(event === "click" && typed) && target.matches("button, input, select, canvas, figure")
      && !$("starts").open) toDream();
  });
}

setInterval(() => {
  const shown = rate.value(performance.now());
  $("rate").textContent = shown === null ? "–" : shown.toFixed(shown < 10 ? 2 : 1);
  const measured = latency.summary();
  if (measured) {
    $("latency").textContent =
      `${measured.median.toFixed(0)} ms median, ${measured.p99.toFixed(0)} ms p99 (${measured.count})`;
  }
}, 500);

requestAnimationFrame(function draw() {
  traces.draw();
  requestAnimationFrame(draw);
});
