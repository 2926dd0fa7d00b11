// The tree of remembered moments: later ones to the right, one line per branch.

const WIDTH = 60;
const HEIGHT = 70;

/** Column and lane of every node: a first child stays in its parent's lane, others open new ones below. */
export function layOut(nodes) {
  const children = new Map();
  for (const node of nodes) {
    const parent = node.parent ?? null;
    children.set(parent, [...(children.get(parent) ?? []), node]);
  }
  const places = new Map();
  let lanes = 0;
  const stack = [...(children.get(null) ?? [])].reverse().map((node) => ({ node, column: 0, lane: null }));
  while (stack.length) {
    const { node, column, lane } = stack.pop();
    const own = lane ?? lanes++;
    places.set(node.id, { column, lane: own });
    const below = children.get(node.id) ?? [];
    for (let i = below.length - 1; i >= 0; i--) {
      stack.push({ node: below[i], column: column + 1, lane: i === 0 ? own : null });
    }
  }
  return places;
}

export class Tree {
  at = null;
  last = null; // that was kept or returned to

  /** `chosen(id)`: the person clicks a moment. */
  constructor(element, empty, chosen) {
    this.element = element;
    this.empty = empty;
    this.chosen = chosen;
  }

  show({ nodes, at }) {
    this.at = at;
    this.last = at ?? (nodes.some(({ id }) => id === this.last) ? this.last : null);
    const focused = this.element.contains(document.activeElement);
    const places = layOut(nodes);
    const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const spots = [...places.values()];
    lines.setAttribute("width", WIDTH * (1 + Math.max(0, ...spots.map(({ column }) => column))));
    lines.setAttribute("height", HEIGHT * (1 + Math.max(0, ...spots.map(({ lane }) => lane))));
    const buttons = nodes.map((node) => {
      const { column, lane } = places.get(node.id);
      const parent = places.get(node.parent);
      if (parent) lines.append(line(parent, { column, lane }));
      return this.#button(node, column, lane);
    });
    this.empty.hidden = nodes.length > 0;
    this.element.replaceChildren(this.empty, lines, ...buttons);
    const current = this.element.querySelector("[aria-current=true]");
    if (current) {
      this.element.scrollLeft = current.offsetLeft - this.element.clientWidth + 2 * WIDTH;
      this.element.scrollTop = current.offsetTop - this.element.clientHeight / 2 + HEIGHT / 2;
    }
    if (focused) current?.focus({ preventScroll: true });
  }

  #button(node, column, lane) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = `Return to step ${node.step}`;
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-current", String(node.id === this.at));
    button.style.left = `${4 + column * WIDTH}px`;
    button.style.top = `${4 + lane * HEIGHT}px`;
    const image = Object.assign(document.createElement("img"), { src: node.picture, alt: "" });
    button.append(image, String(node.step));
    button.addEventListener("click", () => this.chosen(node.id));
    return button;
  }
}

function line(from, to) {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const x = 52 + from.column * WIDTH;
  const y = 35 + from.lane * HEIGHT;
  const end = { x: 4 + to.column * WIDTH, y: 35 + to.lane * HEIGHT };
  path.setAttribute("d", from.lane === to.lane ? `M${x} ${y}H${end.x}` : `M${x - 24} ${y + 31}V${end.y}H${end.x}`);
  return path;
}
