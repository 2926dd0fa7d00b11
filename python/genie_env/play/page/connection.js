// The WebSocket: JSON and pictures out, JSON messages and binary frames in.

/** A frame as the server packs it: a header's length (uint32, big-endian), the header, one picture. */
export function unpackFrame(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { header, picture: new Blob([new Uint8Array(buffer, 4 + length)]) };
}

export class Connection {
  #socket = null;
  #retry = 500;

  /** `handlers`: open(), closed(reason), message(object), frame({header, picture}). */
  constructor(handlers) {
    this.handlers = handlers;
    this.#connect();
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws${location.search}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#retry = 500;
      this.handlers.open();
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.handlers.message(JSON.parse(data));
      else this.handlers.frame(unpackFrame(data));
    };
    socket.onclose = ({ reason }) => {
      this.handlers.closed(reason);
      setTimeout(() => this.#connect(), this.#retry);
      this.#retry = Math.min(2 * this.#retry, 5000);
    };
    this.#socket = socket;
  }

  send(type, fields = {}) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  sendPicture(file) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(file);
  }
}
