// Slices of scans and masks from the server: kept while there is room, asked for once, fetched ahead of the reader.

import { unpackPng } from "./png.js";

const MOST_BYTES = 192e6;
const MOST_CASES = 100;

/** The address of something of a case; names may hold any character. */
export const address = (name, what, values = {}) =>
  `/api/cases/${encodeURIComponent(name)}${what}${Object.keys(values).length ? `?${new URLSearchParams(values)}` : ""}`;

export class SliceStore {
  #kept = new Map(); // by address, the one that was used last at the end
  #bytes = 0;
  #cases = new Map();
  #ahead = [];
  #busy = false; // with fetching ahead

  constructor(connection) {
    this.connection = connection;
  }

  /** What the server knows of a case. */
  about(name, reader) {
    const known = this.#cases.get(name);
    if (known) return known;
    const asked = this.connection.ask(address(name, "", { reader })).then((about) => ({ ...about, case: name }));
    this.#cases.set(name, asked);
    asked.catch(() => this.#cases.delete(name));
    if (this.#cases.size > MOST_CASES) this.#cases.delete(this.#cases.keys().next().value);
    return asked;
  }

  /** Forgets a case, or all of them. */
  forget(name = null) {
    if (name === null) this.#cases.clear();
    else this.#cases.delete(name);
    for (const key of this.#kept.keys()) if (name === null || key.startsWith(address(name, "/"))) this.#drop(key);
  }

  scan({ name, axis, index, channel, low, high }, signal) {
    return this.#get(address(name, "/scan", { axis, index, channel, low, high }), signal);
  }

  masks({ name, axis, index, label }, signal) {
    return this.#get(address(name, "/masks", { axis, index, ...label === null ? {} : { label } }), signal);
  }

  /** Scan and masks of one slice. */
  both(place, signal) {
    return Promise.all([this.scan(place, signal), this.masks(place, signal)]);
  }

  #get(key, signal) {
    const kept = this.#kept.get(key);
    if (kept) {
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      if (kept.values || kept.signal === signal || !kept.signal?.aborted) return kept.picture;
    }
    const entry = { bytes: 0, signal, values: false };
    entry.picture = this.connection.bytes(key, { signal }).then(unpackPng).then((picture) => {
      if (this.#kept.get(key) === entry) {
        Object.assign(entry, { values: true, bytes: picture.values.length });
        this.#bytes += entry.bytes;
        this.#shrink();
      }
      return picture;
    });
    this.#kept.set(key, entry);
    entry.picture.catch(() => this.#kept.get(key) === entry && this.#kept.delete(key));
    return entry.picture;
  }

  #drop(key) {
    this.#bytes -= this.#kept.get(key).bytes;
    this.#kept.delete(key);
  }

  #shrink() {
    for (const [key, { values }] of this.#kept) {
      if (this.#bytes <= MOST_BYTES) break;
      if (values) this.#drop(key);
    }
  }

  /** Fetches ahead, one after the other; a later call replaces what has not begun. */
  async ahead(tasks) {
    this.#ahead = tasks;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#ahead.length && this.connection.up) {
      try {
        await this.#ahead.shift()();
      } catch {
        // what cannot be fetched ahead is asked for again, and explained, when it is wanted
      }
    }
    this.#busy = false;
  }

  /** Stops fetching ahead: the reader wants something now. */
  hurry() {
    this.#ahead = [];
  }
}
