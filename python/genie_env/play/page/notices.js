// Lines over the page that stay until they are dismissed: errors, and where recordings lie.

const MOST = 4;

export class Notices {
  constructor(element) {
    this.element = element;
  }

  /** The same error twice is one line. */
  error(message) {
    const same = [...this.element.children].find((each) => each.dataset.message === message);
    same?.remove();
    this.#add("notice error", message, [message]);
  }

  /** `parts`: text and elements. */
  say(...parts) {
    this.#add("notice", "", parts);
  }

  dismissAll() {
    this.element.replaceChildren();
  }

  #add(className, message, parts) {
    const notice = Object.assign(document.createElement("div"), { className });
    notice.dataset.message = message;
    const text = document.createElement("span");
    text.append(...parts);
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    button.setAttribute("aria-label", "Dismiss");
    button.addEventListener("click", () => notice.remove());
    notice.append(text, button);
    this.element.append(notice);
    while (this.element.children.length > MOST) this.element.firstChild.remove();
  }
}
