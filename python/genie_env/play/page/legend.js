// Which key does which action. An entry is lit while its action is played, and can be held by a finger.

import { keyName } from "./keys.js";

/** Entries of {label, codes, chord, index (discrete) or dimension and value (box)}. A chord's keys are held together. */
export function entries(actions) {
  const codes = Object.keys(actions.keys);
  if (actions.kind === "discrete") {
    const chords = actions.chords ?? [];
    const alone = (code) => actions.keys[code] !== actions.rest || !chords.some(([each]) => each.includes(code));
    return actions.names.map((name, index) => ({
      index,
      label: label(name, actions.meanings?.[index]),
      codes: codes.filter((code) => actions.keys[code] === index && alone(code)),
      chord: chords.find(([, each]) => each === index)?.[0] ?? [],
    }));
  }
  return codes.map((code) => {
    const [dimension, value] = actions.keys[code];
    const name = actions.axes[dimension] ?? `axis ${dimension}`;
    return { dimension, value, label: `${name}: ${value > 0 ? "+" : ""}${value}`, codes: [code], chord: [] };
  });
}

/** A latent action has a number for a name, and a meaning where the world has a dictionary. */
function label(name, meaning) {
  if (!meaning || meaning === name) return /^\d+$/.test(name) ? `action ${name}` : name;
  return `${meaning} (${name})`;
}

export class Legend {
  #buttons = [];
  #rest = []; // the numbers of a continuous action when nothing is held

  constructor(list, keys) {
    this.list = list;
    this.keys = keys;
  }

  show(actions) {
    this.entries = entries(actions);
    if (actions.kind === "box") this.#rest = actions.rest;
    this.#buttons = this.entries.map((entry) => this.#button(entry, actions.kind === "discrete" && entry.index === actions.rest));
    const items = this.#buttons.map((button) => {
      const item = document.createElement("li");
      item.append(button);
      return item;
    });
    const back = Object.assign(document.createElement("li"), { className: "quiet" });
    back.append(key("Escape"), " back to the dream");
    this.list.replaceChildren(...items, back);
  }

  /** Lights the entries of the action that was played: an index or a list of numbers. */
  light(action) {
    this.entries.forEach((entry, i) => {
      const active = Array.isArray(action)
        ? Math.sign(action[entry.dimension] - this.#rest[entry.dimension]) ===
          Math.sign(entry.value - this.#rest[entry.dimension])
        : action === entry.index;
      this.#buttons[i].classList.toggle("active", active);
    });
  }

  #button(entry, rest) {
    const button = Object.assign(document.createElement("button"), { type: "button", tabIndex: -1 });
    for (const code of entry.codes.length ? entry.codes : entry.chord) button.append(key(code), " ");
    button.append(entry.label);
    if (rest && !entry.codes.length) button.append(" (no key)");
    const held = entry.codes.length ? entry.codes.slice(0, 1) : entry.chord;
    if (held.length) {
      button.addEventListener("pointerdown", (event) => {
        event.preventDefault(); // the focus stays with the dream
        button.setPointerCapture(event.pointerId);
        for (const code of held) this.keys.press(code, event.timeStamp);
      });
      for (const end of ["pointerup", "pointercancel"]) {
        button.addEventListener(end, () => held.forEach((code) => this.keys.release(code)));
      }
    }
    return button;
  }
}

export function key(code) {
  return Object.assign(document.createElement("kbd"), { textContent: keyName(code) });
}
