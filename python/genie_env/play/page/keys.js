// Keys and gamepad: which are held, and which of them are the page's own commands.

// The page's commands. Where the world's actions use the first key, the next one is taken.
const COMMANDS = [
  { name: "pause", keys: ["KeyP", "Pause", "F8"] },
  { name: "step", keys: ["KeyN", "Period", "F9"] },
  { name: "branch", keys: ["KeyB", "Insert", "F4"] },
  { name: "return", keys: ["KeyV", "Backspace", "F6"] },
  { name: "switch", keys: ["KeyR", "KeyX", "F2"] },
  { name: "record", keys: ["KeyM", "KeyK", "F10"] },
  { name: "reset", keys: ["Enter", "Home"] },
  { name: "agent", keys: ["KeyG", "KeyU", "End"] },
];

const NAMES = {
  ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc",
  Comma: ",", Period: ".", Slash: "/", Semicolon: ";", Minus: "-", Equal: "=",
};

/** What is printed on the key of a KeyboardEvent.code. */
export function keyName(code) {
  return NAMES[code] ?? code.replace(/^(Key|Digit)/, "");
}

/** Command names by key code, around the codes that the world's actions use. */
export function commandKeys(taken) {
  const keys = {};
  for (const command of COMMANDS) {
    const code = command.keys.find((key) => !(key in taken));
    if (code) keys[code] = command.name;
  }
  return keys;
}

const TYPED = "input:not([type=checkbox], [type=radio], [type=range]), select, textarea";
const MOVING = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];

/** Whether a key belongs to the focused element, such as a field being typed in, and not to the dream. */
function belongsToElement(event) {
  const element = event.target;
  if (document.querySelector("dialog[open]")) return true;
  if (element.matches(TYPED)) return true;
  if (element.matches("input[type=radio], input[type=range]") && MOVING.includes(event.code)) return true;
  return element.matches("button, input, a") && ["Space", "Enter"].includes(event.code);
}

export class Keys {
  #held = new Set();
  #axes = [];

  /** `changed(held, pressed)`: the held action keys; the event of a new press or null.
   *  `command(name)`, `axes(values)`, `leave()`: Escape. */
  constructor(handlers) {
    this.handlers = handlers;
    this.actions = {};
    this.commands = {};
    addEventListener("keydown", (event) => this.#down(event));
    addEventListener("keyup", (event) => this.release(event.code));
    addEventListener("blur", () => this.releaseAll());
    document.addEventListener("focusin", (event) => {
      if (event.target.matches("input, select, textarea")) this.releaseAll();
    });
    document.addEventListener("visibilitychange", () => this.releaseAll());
    addEventListener("gamepadconnected", () => this.#poll());
  }

  /** `actions`: an object whose keys are the codes of action keys. */
  use(actions) {
    this.actions = actions;
    this.commands = commandKeys(actions);
    this.#held.clear();
    this.#axes = []; // the next look at the gamepad tells them again
  }

  #down(event) {
    if (event.code === "Escape") this.handlers.leave();
    if (event.ctrlKey || event.metaKey || event.altKey || belongsToElement(event)) return;
    if (event.code in this.actions) {
      event.preventDefault();
      this.press(event.code, event.timeStamp);
    } else if (event.code in this.commands) {
      event.preventDefault();
      if (!event.repeat) this.handlers.command(this.commands[event.code]);
    } else if (event.target.id === "stage" && ["Space", ...MOVING].includes(event.code)) {
      event.preventDefault(); // nor does the page scroll away under the dream
    }
  }

  press(code, time) {
    if (this.#held.has(code)) return;
    this.#held.add(code);
    this.handlers.changed([...this.#held], time);
  }

  release(code) {
    if (this.#held.delete(code)) this.handlers.changed([...this.#held], null);
  }

  releaseAll() {
    if (!this.#held.size) return;
    this.#held.clear();
    this.handlers.changed([], null);
  }

  /** Reads the first gamepad once per picture of the screen and tells what has changed. */
  #poll() {
    const pad = navigator.getGamepads().find((each) => each);
    if (!pad) {
      if (this.#axes.some((value) => value !== 0)) this.handlers.axes(this.#axes.map(() => 0));
      this.#axes = [];
      return;
    }
    const axes = pad.axes.map((value) => (Math.abs(value) < 0.1 ? 0 : Math.round(50 * value) / 50));
    if (axes.some((value, i) => value !== (this.#axes[i] ?? 0))) this.handlers.axes(axes);
    this.#axes = axes;
    requestAnimationFrame(() => this.#poll());
  }
}
