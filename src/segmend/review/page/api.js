// What the page asks the server, and what it does while the server is away.

const PAUSE_MS = 1000; // between two attempts to reach the server
const HEARTBEAT_MS = 5000;

/** The server is not there. */
export class Unreachable extends Error {}

/** The server has said no, in words for people. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** Requests to the server; a "change" event whenever it goes or comes back. */
export class Connection extends EventTarget {
  up = true;
  pulse = "/api/audit"; // what is asked to see whether the server is there

  /** Notices a server that has gone although nothing is asked. */
  watch() {
    setInterval(() => this.up && !document.hidden && this.ask(this.pulse).catch(() => {}), HEARTBEAT_MS);
  }

  ask(path, options) {
    return this.#fetch(path, options, (answer) => answer.json());
  }

  bytes(path, options) {
    return this.#fetch(path, options, (answer) => answer.arrayBuffer());
  }

  send(path, body) {
    const headers = { "Content-Type": "application/json", "X-Segmend": "1" };
    return this.#fetch(path, { method: "POST", headers, body: JSON.stringify(body) }, (answer) => answer.json());
  }

  async #fetch(path, options, read) {
    let answer, content;
    try {
      answer = await fetch(path, options);
      content = await (answer.ok ? read(answer) : answer.text());
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.#lost();
      throw new Unreachable("The server is not reachable.");
    }
    this.#set(true);
    if (answer.ok) return content;
    throw new Refused(explain(content, answer.status), answer.status);
  }

  async #lost() {
    if (!this.up) return;
    this.#set(false);
    while (!this.up) {
      await wait(PAUSE_MS);
      try {
        await fetch(this.pulse, { cache: "no-store" });
        this.#set(true);
      } catch {
        // it is still away
      }
    }
  }

  #set(up) {
    if (this.up === up) return;
    this.up = up;
    this.dispatchEvent(new Event("change"));
  }
}

function explain(content, status) {
  try {
    return JSON.parse(content).error ?? content;
  } catch {
    return content || `The server answers with the code ${status}.`;
  }
}

/** localStorage, or a store of this page alone where the browser forbids it. */
export function openStorage() {
  try {
    localStorage.setItem("segmend", "1");
    return localStorage;
  } catch {
    const kept = new Map();
    return {
      get length() { return kept.size; },
      key: (place) => [...kept.keys()][place] ?? null,
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => void kept.set(key, value),
      removeItem: (key) => void kept.delete(key),
    };
  }
}

export const keysOf = (storage, prefix) =>
  Array.from({ length: storage.length }, (_, place) => storage.key(place)).filter((key) => key?.startsWith(prefix));

/**
 * Steps on their way to the server, in order, each under its own key of the browser's storage until it has arrived.
 * So a step survives a server that is away and a page that is closed, and two tabs do not overwrite each other's.
 *
 * Events: "change"; "answer" and "refused", with the step and what the server said in `detail`.
 */
export class Outbox extends EventTarget {
  #counter = 0;
  #flushing = null;
  trouble = ""; // why the server does not take the first step, in its words

  constructor(connection, storage, prefix) {
    super();
    Object.assign(this, { connection, storage, prefix });
    connection.addEventListener("change", () => connection.up && this.flush());
  }

  get waiting() {
    return keysOf(this.storage, this.prefix).length;
  }

  push(path, body, before = null) {
    const place = `${Date.now()}`.padStart(15, "0") + `${this.#counter++}`.padStart(6, "0");
    this.storage.setItem(this.prefix + place, JSON.stringify({ path, body, before }));
    this.dispatchEvent(new Event("change"));
    this.flush();
  }

  /** Sends what waits; resolves when nothing waits any more or the server does not answer. */
  flush() {
    this.#flushing ??= this.#locked(() => this.#sendAll()).finally(() => {
      this.#flushing = null;
      if (this.waiting && this.connection.up && !this.trouble) this.flush();
    });
    return this.#flushing;
  }

  #locked(work) {
    return navigator.locks ? navigator.locks.request(this.prefix, work) : work();
  }

  async #sendAll() {
    for (let key; (key = keysOf(this.storage, this.prefix).sort()[0]);) {
      const step = JSON.parse(this.storage.getItem(key));
      try {
        const answer = await this.connection.send(step.path, step.body);
        this.storage.removeItem(key);
        this.#settle("", "answer", { step, answer });
      } catch (error) {
        if (error instanceof Refused && error.status !== 503 && error.status !== 403) {
          this.storage.removeItem(key);
          this.#settle("", "refused", { step, message: error.message });
          continue;
        }
        this.#settle(error instanceof Refused ? error.message : "", "change");
        if (!(error instanceof Refused) || error.status === 403) return;
        await wait(PAUSE_MS);
      }
    }
  }

  #settle(trouble, event, detail = null) {
    this.trouble = trouble;
    this.dispatchEvent(new CustomEvent(event, { detail }));
    if (event !== "change") this.dispatchEvent(new Event("change"));
  }
}
