// Frame rate and key-to-picture latency, as the person at the screen has them.

const PRESSES = 300; // the last ones that the percentiles are of
const WINDOW_MS = 2000;

/** The value below which `share` of the sorted values lie (nearest rank). */
export function percentile(sorted, share) {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

export class Latency {
  #pressed = [];
  #measured = [];

  /** A key went down at `time` (performance clock); the server was told with `seq`. */
  press(seq, time) {
    this.#pressed.push({ seq, time });
  }

  /** A picture whose step knew all keys up to `seq` is on the screen. */
  shown(seq, time) {
    while (this.#pressed.length && this.#pressed[0].seq <= seq) {
      this.#measured.push(time - this.#pressed.shift().time);
      if (this.#measured.length > PRESSES) this.#measured.shift();
    }
  }

  /** Presses that no picture will answer: the dream is paused or begins again. */
  forget() {
    this.#pressed = [];
  }

  /** {median, p99, count} in milliseconds, or null before the first press. */
  summary() {
    if (!this.#measured.length) return null;
    const sorted = [...this.#measured].sort((a, b) => a - b);
    return { median: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), count: sorted.length };
  }
}

export class Rate {
  #times = [];

  shown(time) {
    this.#times.push(time);
  }

  /** Pictures per second over the last two seconds; null where fewer than two were shown. */
  value(now) {
    while (this.#times.length && this.#times[0] < now - WINDOW_MS) this.#times.shift();
    const count = this.#times.length;
    if (count < 2) return null;
    return (1000 * (count - 1)) / (this.#times[count - 1] - this.#times[0]);
  }
}
