// The panel's controls. Each one sends a message; what is in force is what the server's state says.

/** Shows `value` in a control, but not under the hand of whoever is changing it. */
function setValue(input, value) {
  if (input.type === "checkbox") input.checked = value;
  else if (document.activeElement !== input || input.tagName === "SELECT") input.value = String(value);
}

/** A row of radio buttons. `choices`: {value, label, disabled}. `chosen(value)`. */
export class Segments {
  constructor(fieldset, choices, chosen) {
    this.inputs = choices.map(({ value, label, disabled, title }) => {
      const input = Object.assign(document.createElement("input"), { type: "radio", name: fieldset.id, value, disabled });
      input.addEventListener("change", () => chosen(value));
      const box = document.createElement("label");
      if (title) box.title = title;
      box.append(input, Object.assign(document.createElement("span"), { textContent: label }));
      fieldset.append(box);
      return input;
    });
  }

  set(value) {
    for (const input of this.inputs) input.checked = input.value === String(value);
  }
}

/** One control per option of the family, by the type that its schema gives. */
export class Options {
  #inputs = new Map();

  constructor(element, send) {
    this.element = element;
    this.send = send;
  }

  build(options) {
    this.#inputs.clear();
    this.element.replaceChildren(...options.map((option) => this.#control(option)));
  }

  /** `values`: option values by name. */
  set(values) {
    for (const [name, value] of Object.entries(values)) {
      const control = this.#inputs.get(name);
      if (!control) continue;
      setValue(control.input, value);
      if (control.output) control.output.textContent = value;
    }
  }

  #control(option) {
    const id = `option-${option.name}`;
    const label = Object.assign(document.createElement("label"), {
      htmlFor: id,
      textContent: title(option.name),
    });
    const input = field(option);
    input.id = id;
    const row = document.createElement("div");
    row.className = input.type === "range" ? "slider" : "row";
    row.title = option.description;
    let output = null;
    if (input.type === "range") {
      output = document.createElement("output");
      input.addEventListener("input", () => { output.textContent = input.value; });
      row.append(label, output, input);
    } else {
      row.append(label, input);
    }
    input.addEventListener("change", () => this.send(option.name, read(option, input)));
    this.#inputs.set(option.name, { input, output });
    setValue(input, option.value);
    if (output) output.textContent = option.value;
    return row;
  }
}

function title(name) {
  return name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");
}

/** A slider where a short range is known, else a field, a menu or a box to tick. */
function field(option) {
  if (option.type === "choice") {
    const select = document.createElement("select");
    select.append(...option.choices.map((choice) => new Option(choice, choice)));
    return select;
  }
  const input = document.createElement("input");
  if (option.type === "boolean") {
    input.type = "checkbox";
    return input;
  }
  const span = option.maximum - option.minimum;
  const bounded = option.minimum !== null && option.maximum !== null;
  const whole = option.type === "integer";
  input.type = bounded && span <= (whole ? 64 : 10) ? "range" : "number";
  if (option.minimum !== null) input.min = option.minimum;
  if (option.maximum !== null) input.max = option.maximum;
  input.step = whole ? 1 : input.type === "range" ? span / 100 : "any";
  return input;
}

function read(option, input) {
  if (option.type === "boolean") return input.checked;
  if (option.type === "choice") return input.value;
  return Number(input.value);
}

/** The world's own pace, parts of it, and none. Values are frames per second, or "free". */
export function buildPaces(select, fps, chosen) {
  const paces = [
    [fps, `World's, ${+fps.toFixed(2)}/s`],
    [fps / 2, "Half"],
    [fps / 4, "A quarter"],
    [fps * 2, "Double"],
    ["free", "No limit"],
  ];
  select.replaceChildren(...paces.map(([value, label]) => new Option(label, value)));
  select.onchange = () => chosen(select.value === "free" ? null : Number(select.value));
}

/** `pace`: frames per second, or null. A pace that the menu lacks is added to it. */
export function setPace(select, pace) {
  const value = String(pace ?? "free");
  if (![...select.options].some((option) => option.value === value)) {
    select.add(new Option(`${+pace.toFixed(2)}/s`, value));
  }
  select.value = value;
}
