// What this reader decides: at once on the page, then on its way to the server, and taken back if that refuses it.

import { Outbox, keysOf } from "./api.js";

const DECISIONS = "/api/decisions", BACK = "/api/take_back";

/**
 * Decisions and comments of one reader.
 *
 * Events: "change" when something is decided or arrives; "refused" with words in `detail`; "back" with what was taken
 * back in `detail`.
 */
export class Decider extends EventTarget {
  steps = 0; // that can be taken back

  constructor({ connection, storage, mark, reader, labels, store }) {
    super();
    Object.assign(this, { storage, reader, labels, store });
    const prefix = `segmend review ${mark} ${reader}`;
    this.drafts = `${prefix} draft `;
    this.outbox = new Outbox(connection, storage, `${prefix} step `);
    for (const key of keysOf(storage, this.outbox.prefix).sort()) {
      const { path, body } = JSON.parse(storage.getItem(key));
      if (path === DECISIONS) this.#apply(body);
    }
    for (const key of keysOf(storage, this.drafts)) this.#sendDraft(key);
    this.outbox.addEventListener("change", () => this.#changed());
    this.outbox.addEventListener("answer", ({ detail }) => this.#arrived(detail));
    this.outbox.addEventListener("refused", ({ detail }) => this.#refused(detail));
    this.outbox.flush();
  }

  /** Decides on a label, or opens it again if that was decided before; with the comment that is there. */
  decide(row, decision, comment) {
    const next = row.decision === decision ? "" : decision;
    this.#dropDraft(row);
    this.#push(row, null, next, comment);
    return next;
  }

  async decideRegion(row, region, decision) {
    this.#push(row, region, region.decision === decision ? "" : decision, region.comment ?? "");
  }

  /** Keeps what is being typed in the browser; `saveComment` sends it. */
  draft(row, text) {
    this.storage.setItem(this.#draftKey(row), JSON.stringify({ name: row.case, label: row.label, text }));
  }

  saveComment(row, text) {
    this.#dropDraft(row);
    if (text !== row.comment && row.decision !== "replace") this.#push(row, null, row.decision, text);
  }

  /** The comment of a row as it was typed, sent or not. */
  commentOf(row) {
    const kept = this.storage.getItem(this.#draftKey(row));
    return kept === null ? row.comment : JSON.parse(kept).text;
  }

  takeBack() {
    this.outbox.push(BACK, { reader: this.reader });
  }

  dropReplacement(row) {
    this.outbox.push(DECISIONS, { reader: this.reader, case: row.case, label: "", region: null, decision: "", comment: "" });
    for (const each of this.labels.byCase.get(row.case)) Object.assign(each, { decision: "", replaced: false });
    this.#changed();
  }

  #push(row, region, decision, comment) {
    const before = region ? { decision: region.decision, comment: region.comment } : { decision: row.decision, comment: row.comment };
    const body = { reader: this.reader, case: row.case, label: row.label, region: region?.number ?? null, decision, comment };
    this.#apply(body, region);
    this.outbox.push(DECISIONS, body, before);
    this.#changed();
  }

  /** Writes a decision into the rows of the page. */
  #apply({ case: name, label, region, decision, comment }, object = null) {
    const row = this.labels.find(name, label);
    if (!row) return;
    if (region === null || region === undefined) Object.assign(row, { decision, comment: comment ?? row.comment });
    else if (object) this.#applyRegion(row, object, decision, comment);
    else {
      this.store.about(name, this.reader).then((about) => {
        const found = about.regions.find((each) => each.number === region && each.label === label);
        if (found) this.#applyRegion(row, found, decision, comment);
        this.#changed();
      }).catch(() => {}); // asked for again when the case is opened
    }
  }

  #applyRegion(row, region, decision, comment) {
    row.region_decisions = (row.region_decisions ?? 0) + Boolean(decision) - Boolean(region.decision);
    Object.assign(region, { decision, comment });
  }

  #arrived({ step, answer }) {
    this.steps = answer.steps ?? this.steps;
    if (step.path !== BACK) return;
    if (answer.case === undefined) {
      this.steps = 0;
      this.dispatchEvent(new CustomEvent("back", { detail: null }));
      return;
    }
    const rows = answer.label ? [this.labels.find(answer.case, answer.label)] : this.labels.byCase.get(answer.case) ?? [];
    if (answer.label) this.#apply(answer);
    for (const row of rows) this.#dropDraft(row);
    this.dispatchEvent(new CustomEvent("back", { detail: answer }));
    this.#changed();
  }

  #refused({ step, message }) {
    const { body, before } = step, row = this.labels.find(body.case, body.label);
    if (before) this.#apply({ ...body, ...before });
    if (row && body.region === null && body.comment !== before?.comment) this.draft(row, body.comment);
    this.dispatchEvent(new CustomEvent("refused", { detail: message }));
    this.#changed();
  }

  #sendDraft(key) {
    const { name, label, text } = JSON.parse(this.storage.getItem(key));
    const row = this.labels.find(name, label);
    this.storage.removeItem(key);
    if (row && text !== row.comment) this.#push(row, null, row.decision, text);
  }

  #draftKey(row) {
    return `${this.drafts}${row.case}\n${row.label}`;
  }

  #dropDraft(row) {
    if (row) this.storage.removeItem(this.#draftKey(row));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
