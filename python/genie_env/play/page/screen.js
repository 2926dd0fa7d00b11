// Paints frames, one after the other, and says when each of them has really been shown.

const afterPaint = new MessageChannel();
const waiting = [];
afterPaint.port1.onmessage = () => waiting.shift()();

/** Calls `draw` in an animation frame and resolves once that frame has been painted. A page that nobody sees
 *  has none: its dream waits for it. */
function paint(draw) {
  return new Promise((resolve) => {
    requestAnimationFrame(() => {
      draw();
      waiting.push(resolve);
      afterPaint.port2.postMessage(null); // delivered after the frame that this callback belongs to
    });
  });
}

const GAP = 2; // pixels of a picture between those of a grid

/** Draws the pictures of a grid apart. `resized()` is called where the canvas has another size than before. */
function drawGrid(canvas, image, columns, lines, resized) {
  const width = image.width / columns;
  const height = image.height / lines;
  const size = [image.width + GAP * (columns - 1), image.height + GAP * (lines - 1)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) {
    [canvas.width, canvas.height] = size;
    resized();
  }
  const context = canvas.getContext("2d");
  for (let line = 0; line < lines; line++) {
    for (let column = 0; column < columns; column++) {
      const from = [column * width, line * height, width, height];
      context.drawImage(image, ...from, column * (width + GAP), line * (height + GAP), width, height);
    }
  }
}

export class Screen {
  #queues = { dream: Promise.resolve(), real: Promise.resolve() };

  /** `canvases`: by place, "dream" and "real". `shown(header)` follows each painted frame. */
  constructor(stage, canvases, shown) {
    this.stage = stage;
    this.canvases = canvases;
    this.shown = shown;
    new ResizeObserver(() => this.fit()).observe(stage);
  }

  /** A place's frames are painted in the order of their arrival, and those of both places together. `failed(error)`: the picture is damaged. */
  show({ header, picture }, failed) {
    const bitmap = createImageBitmap(picture);
    bitmap.catch(() => {}); // it is awaited below, perhaps later
    const { place } = header;
    this.#queues[place] = this.#queues[place].then(async () => {
      const image = await bitmap;
      const canvas = this.canvases[place];
      await paint(() => {
        drawGrid(canvas, image, header.columns, header.rows / header.columns, () => this.fit());
        image.close();
      });
      this.shown(header);
    }).catch(failed);
  }

  /** Which places are visible: ["dream"], ["real"] or both. */
  setPlaces(places) {
    for (const [place, canvas] of Object.entries(this.canvases)) {
      canvas.parentElement.hidden = !places.includes(place);
    }
    this.stage.classList.toggle("both", places.length > 1);
    this.fit();
  }

  /** The largest size that fits, a whole multiple of a small picture's. */
  fit() {
    const canvases = Object.values(this.canvases).filter((canvas) => !canvas.parentElement.hidden);
    const caption = canvases.length > 1 ? 30 : 0;
    const width = (this.stage.clientWidth - 16 * (canvases.length - 1)) / canvases.length;
    const height = this.stage.clientHeight - caption;
    const scale = (canvas, most) => {
      const free = Math.min(width / canvas.width, most / canvas.height);
      const part = devicePixelRatio * (free < 3 ? 4 : 1); // quarters where whole multiples are far apart
      return free > 1 ? Math.floor(free * part) / part : free;
    };
    // Pictures side by side are about as high as the lowest of them.
    const lowest = Math.min(...canvases.map((canvas) => canvas.height * scale(canvas, height)));
    for (const canvas of canvases) {
      const factor = scale(canvas, lowest);
      canvas.style.width = `${canvas.width * factor}px`;
      canvas.style.height = `${canvas.height * factor}px`;
    }
  }
}
