// Small plots of what each step brought, for the dream and, beside it, the real game.

const STEPS = 260; // the last ones that are shown
const TRACES = [
  { name: "Step", read: (header) => header.step, digits: 0 },
  { name: "Return", read: (header) => header.return, digits: 1 },
  { name: "Termination probability", read: (header) => header.termination_probability, digits: 3, top: 1e-3 },
  { name: "Surprise", read: (header) => header.surprise, digits: 2 },
];

export class Traces {
  #plots;
  #values = { dream: [], real: [] };
  #stale = false;

  constructor(section) {
    this.#plots = TRACES.map((trace) => {
      const row = document.createElement("div");
      const name = Object.assign(document.createElement("span"), { className: "name", textContent: trace.name });
      const value = Object.assign(document.createElement("span"), { className: "value", textContent: "–" });
      value.id = `trace-${trace.name.toLowerCase().replaceAll(" ", "-")}`;
      const canvas = document.createElement("canvas");
      canvas.setAttribute("aria-hidden", "true");
      row.append(name, value, canvas);
      section.append(row);
      return { trace, value, canvas };
    });
  }

  add(header) {
    const values = this.#values[header.place];
    values.push(TRACES.map((trace) => trace.read(header) ?? null));
    if (values.length > STEPS) values.shift();
    this.#stale = true;
  }

  clear(place) {
    this.#values[place] = [];
    this.#stale = true;
  }

  /** Draws what has been added since the last call. */
  draw() {
    if (!this.#stale) return;
    this.#stale = false;
    const style = getComputedStyle(document.documentElement);
    const colours = { dream: style.getPropertyValue("--accent"), real: style.getPropertyValue("--second") };
    this.#plots.forEach(({ trace, value, canvas }, index) => {
      const lines = Object.entries(this.#values).map(([place, values]) => [
        colours[place],
        values.map((each) => each[index]),
      ]);
      value.textContent = lines
        .map(([, line]) => line.at(-1))
        .filter((last) => last !== undefined)
        .map((last) => (last === null ? "–" : last.toFixed(trace.digits)))
        .join(" · ");
      plot(canvas, lines, trace.top ?? 0);
    });
  }
}

/** Lines over one scale, from their lowest value (at most 0) to their highest (at least `top`). */
function plot(canvas, lines, top) {
  const width = Math.round(canvas.clientWidth * devicePixelRatio);
  const height = Math.round(canvas.clientHeight * devicePixelRatio);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const all = lines.flatMap(([, line]) => line).filter((value) => value !== null);
  if (!all.length) return;
  const low = Math.min(0, ...all);
  const high = Math.max(top, ...all);
  const margin = 2 * devicePixelRatio;
  const y = (value) => height - margin - ((value - low) / (high - low || 1)) * (height - 2 * margin);
  for (const [colour, line] of lines) {
    context.strokeStyle = colour;
    context.lineWidth = 1.5 * devicePixelRatio;
    context.beginPath();
    let drawing = false;
    line.forEach((value, i) => {
      const x = ((i + STEPS - line.length) / (STEPS - 1)) * width;
      if (value === null) drawing = false;
      else if (drawing) context.lineTo(x, y(value));
      else {
        context.moveTo(x, y(value));
        drawing = true;
      }
    });
    context.stroke();
  }
}
