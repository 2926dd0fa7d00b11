// Where a dream begins: the picker of recorded starts, and a picture that is dropped or opened.

const MOST_BYTES = 16 * 2 ** 20;

export class Picker {
  #known = false;

  /** `ask()` requests the thumbnails; `chosen(index)`. */
  constructor(dialog, pictures, { ask, chosen }) {
    this.dialog = dialog;
    this.pictures = pictures;
    this.ask = ask;
    this.chosen = chosen;
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  open() {
    this.dialog.showModal();
    if (!this.#known) this.ask();
  }

  /** The server is another one: its starts are asked for again. */
  forget() {
    this.#known = false;
  }

  show({ pictures, indices }) {
    this.#known = true;
    this.pictures.replaceChildren(...pictures.map((picture, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = `Start ${indices[i]}`;
      button.append(Object.assign(document.createElement("img"), { src: picture, alt: button.title }));
      button.addEventListener("click", () => {
        this.dialog.close();
        this.chosen(indices[i]);
      });
      return button;
    }));
  }
}

/** Hands `send` the files that are dropped anywhere on the page or opened by `input`; says others to `refuse`. */
export function takePictures({ stage, hint, input, allowed, send, refuse }) {
  const take = (file) => {
    if (!file) refuse("What was dropped is no file. Drop a picture: PNG, JPEG or WebP.");
    else if (!allowed()) refuse("This world does not begin from pictures. Choose a recorded start.");
    else if (file.size > MOST_BYTES) {
      refuse(`The picture has ${(file.size / 2 ** 20).toFixed(1)} MiB; at most 16 MiB are taken. Make it smaller.`);
    } else send(file);
  };
  const mark = (on) => {
    stage.classList.toggle("drop", on);
    hint.hidden = !on;
  };
  addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) mark(false);
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    take(event.dataTransfer.files[0]);
  });
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";
  });
}
