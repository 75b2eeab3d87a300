// The list of labels, the picture of one of them, and what is decided about it.

import { Refused } from "./api.js";
import { showBanner } from "./banner.js";
import { Controls } from "./controls.js";
import { Decider } from "./decider.js";
import { Tools, showAgreement, showExport } from "./dialogs.js";
import { listen } from "./keys.js";
import { RowList } from "./list.js";
import { Panel } from "./panel.js";
import { Labels, ORDERS } from "./rows.js";
import { SliceStore } from "./slices.js";
import { Viewer } from "./views.js";
import { Volume } from "./volume.js";

const FILTERS = ["search", "label", "kind", "annotator", "state", "order"];
const NOTE_MS = 8000;

export class Review {
  current = null;

  constructor(connection, storage, audit, reader, columns) {
    Object.assign(this, { connection, audit, reader });
    this.labels = new Labels(columns);
    this.store = new SliceStore(connection);
    this.decider = new Decider({ connection, storage, mark: audit.mark, reader, labels: this.labels, store: this.store });
    this.decider.steps = columns.steps ?? this.labels.progress().decided;
    this.viewer = new Viewer(byId("views"), this.store, audit.unit, audit.data_type === "ct");
    this.viewer.next = (viewer) => this.#ahead(viewer);
    this.controls = new Controls(this.viewer, audit);
    this.panel = new Panel(this.decider, audit.unit, (region) => this.#look(region));
    this.list = new RowList(byId("list"), this.labels.values("label").length > 1, (row) => this.open(row));
    this.volume = new Volume(byId("volume"), audit.classes);
    this.tools = new Tools(connection, {
      reader, decider: this.decider, current: () => this.current, say: (text) => this.say(text),
      replaced: (name, decision) => this.#replaced(name, decision),
    });
    this.#fillMenus();
    this.#listen();
    byId("who").textContent = reader;
    byId("viewer").hidden = byId("side").hidden = false;
    this.filter();
    this.open(this.found.find(({ decision }) => !decision) ?? this.found[0] ?? null);
  }

  #fillMenus() {
    const { labels } = this;
    for (const [id, text] of [["label", String], ["kind", words], ["annotator", String]]) {
      const values = labels.values(id);
      byId(id).append(...values.map(([value, count]) => new Option(`${text(value)} (${count})`, value)));
      byId(id).hidden = values.length < 2;
    }
    byId("order").append(...ORDERS.filter(({ column }) => labels.columns.has(column)).map(({ name, text }) => new Option(text, name)));
  }

  #listen() {
    for (const id of FILTERS) byId(id).addEventListener("input", () => this.filter());
    byId("suspect").addEventListener("input", () => this.filter());
    byId("previous").addEventListener("click", () => this.move(-1));
    byId("next").addEventListener("click", () => this.move(1));
    byId("back").addEventListener("click", () => this.takeBack());
    byId("agree").addEventListener("click", () => this.#answer("agreement", showAgreement));
    byId("export").addEventListener("click", () => this.#export());
    byId("help").addEventListener("click", () => byId("keys").showModal());
    byId("solid").addEventListener("click", () => this.showVolume(byId("volume").hidden));
    for (const button of document.querySelectorAll("[data-decision]")) {
      button.addEventListener("click", () => this.decide(button.dataset.decision));
    }
    this.viewer.addEventListener("trouble", ({ detail }) => this.#fail(detail));
    this.connection.addEventListener("change", () => this.connection.up && this.#again());
    this.decider.addEventListener("change", () => this.showDecisions());
    this.decider.addEventListener("refused", ({ detail }) => this.say(`Not saved: ${detail}`));
    this.decider.addEventListener("back", ({ detail }) => this.#tookBack(detail));
    listen({
      j: () => this.move(1), ArrowRight: () => this.move(1), k: () => this.move(-1), ArrowLeft: () => this.move(-1),
      a: () => this.decide("accept"), r: () => this.decide("reject"), u: () => this.decide("unsure"), z: () => this.takeBack(),
      n: () => this.panel.step(1), "Shift n": () => this.panel.step(-1),
      "Shift a": () => this.panel.decideRegion("accept"), "Shift r": () => this.panel.decideRegion("reject"),
      "Shift u": () => this.panel.decideRegion("unsure"), c: () => byId("comment").focus(), "/": () => byId("search").focus(),
      ArrowDown: () => this.viewer.step(1), ArrowUp: () => this.viewer.step(-1),
      PageDown: () => this.viewer.step(10), PageUp: () => this.viewer.step(-10),
      b: () => this.viewer.setMode(this.viewer.mode === "before" ? "after" : "before"),
      d: () => this.viewer.setMode("difference"), o: () => this.viewer.setMode("outlines"),
      1: () => this.viewer.toggle("given"), 2: () => this.viewer.toggle("proposal"), 3: () => this.viewer.toggle("issue"),
      4: () => this.viewer.toggle("other"), h: () => this.viewer.hide(), p: () => this.viewer.nextPlane(),
      f: () => this.viewer.setSingle(!this.viewer.single), v: () => this.showVolume(byId("volume").hidden),
      "+": () => this.viewer.widen(0.85), "=": () => this.viewer.widen(0.85), "-": () => this.viewer.widen(1 / 0.85),
      0: () => this.viewer.reset(), x: () => this.viewer.setZoom(this.viewer.zoom > 1 ? 1 : 3),
      w: () => this.controls.nextPreset(), "?": () => byId("keys").showModal(),
    });
  }

  // The list

  filter() {
    const values = Object.fromEntries(FILTERS.map((id) => [id, byId(id).value]));
    this.found = this.labels.filter({ ...values, suspect: byId("suspect").checked });
    this.list.show(this.found);
    this.list.mark(this.current);
    const { length } = this.found, all = this.labels.rows.length;
    byId("range").textContent = length === all ? `${all} labels` : `${length} of ${all} labels`;
    if (!this.current && length) this.open(this.found[0]);
  }

  move(places) {
    const at = this.found.indexOf(this.current), row = this.found[at < 0 ? 0 : at + places];
    if (row) this.open(row);
  }

  // The label that is looked at

  async open(row) {
    this.current = row;
    byId("viewer").hidden = byId("side").hidden = !row;
    if (!row) return;
    this.list.mark(row);
    this.panel.open(row);
    this.tools.clear(row);
    this.#fail(null);
    if (this.viewer.about?.case !== row.case) this.viewer.clear();
    byId("name").textContent = row.case;
    byId("name").title = row.case;
    byId("what").textContent = `${row.label}: ${words(row.kind)}`;
    this.showDecisions();
    const dice = row.expected_dice == null ? "" : `, expected Dice ${row.expected_dice.toFixed(2)}`;
    byId("said").textContent = `${row.case}, ${row.label}: ${words(row.kind)}${dice}, ${DONE[row.decision] ?? "open"}`;
    try {
      const about = await this.store.about(row.case, this.reader);
      if (this.current !== row) return;
      this.panel.fill(about);
      this.viewer.show(about, this.#subject(row), about.start[row.label] ?? { axis: about.axes[0].axis, index: 0 });
      if (!byId("volume").hidden) this.#showVolume();
    } catch (error) {
      if (this.current === row) this.#fail(error);
    }
  }

  /** Says in the place of the picture why there is none; a server that is away has a banner of its own. */
  #fail(error) {
    const refused = error instanceof Refused;
    byId("failed").hidden = !refused;
    byId("failed").textContent = refused ? error.message : "";
    if (refused) this.viewer.clear();
  }

  /** What the drawing needs to know of a label. */
  #subject(row) {
    const regions = new Map(this.panel.regions.map(({ number, decision }) => [number, decision ?? ""]));
    return {
      index: this.audit.classes.find(({ name }) => name === row.label)?.index ?? 0, key: this.audit.by_region ? row.label : null,
      region: this.panel.chosen?.number ?? null, regions, decided: { label: row.decision, regions },
    };
  }

  #look(region) {
    this.viewer.subject = this.#subject(this.current);
    this.viewer.restyle();
    this.viewer.lookAt(region.centre);
  }

  /** What to fetch while the reader looks: the first slice of the next label. */
  #ahead(viewer) {
    const row = this.found[this.found.indexOf(this.current) + 1];
    if (!row || row.case === this.current.case) return [];
    return [async () => {
      const about = await this.store.about(row.case, this.reader), start = about.start[row.label];
      const { low, high } = viewer.absolute ? viewer.window : about.window[viewer.channel] ?? about.window[0];
      const channel = Math.min(viewer.channel, about.channels.length - 1), label = this.audit.by_region ? row.label : null;
      if (start) await this.store.both({ name: row.case, ...start, channel, low, high, label });
    }];
  }

  #again() {
    if (this.viewer.about?.case === this.current?.case) this.viewer.load();
    else this.open(this.current);
  }

  showVolume(on) {
    if (this.viewer.planar) return;
    byId("volume").hidden = !on;
    byId("views").hidden = on;
    byId("solid").setAttribute("aria-pressed", on);
    if (on) this.#showVolume();
    else this.viewer.draw();
  }

  #showVolume() {
    if (this.viewer.about) this.volume.show(this.viewer.about, this.#subject(this.current), this.viewer.channel, this.viewer.window);
  }

  // Decisions

  decide(decision) {
    const row = this.current;
    if (!row || row.decision === "replace" || (decision === "accept" && row.proposal === "none")) return;
    const now = this.decider.decide(row, decision, this.panel.typed);
    byId("said").textContent = `${row.case}, ${row.label}: ${DONE[now] ?? "open"}`;
    if (byId("onward").checked && now) this.move(1);
  }

  takeBack() {
    this.panel.saveComment();
    this.decider.takeBack();
  }

  #tookBack(step) {
    if (!step) return this.say("There is nothing to take back.");
    const row = step.label ? this.labels.find(step.case, step.label) : this.labels.byCase.get(step.case)?.[0];
    if (!step.label) this.#replaced(step.case, step.decision);
    if (!row) return;
    const about = step.region == null ? row.label : `region ${step.region} of ${row.label}`;
    this.say(`Taken back: ${row.case}, ${about} is ${DONE[step.decision] ?? "open"} again.`);
    this.open(row);
  }

  async #replaced(name, decision = "") {
    for (const row of this.labels.byCase.get(name) ?? []) Object.assign(row, { decision, replaced: decision === "replace" });
    const columns = await this.connection.ask(`/api/labels?${new URLSearchParams({ reader: this.reader })}`).catch(() => null);
    for (const row of columns ? this.labels.byCase.get(name) : []) row.decision = columns.decision[row.index];
    this.store.forget(name);
    this.open(this.current);
    this.showDecisions();
  }

  showDecisions() {
    const { current: row, decider } = this, counts = this.labels.progress(), total = this.labels.rows.length;
    for (const button of document.querySelectorAll("[data-decision]")) {
      button.setAttribute("aria-pressed", row?.decision === button.dataset.decision);
      button.disabled = row?.decision === "replace" || (button.dataset.decision === "accept" && row?.proposal === "none");
    }
    byId("bar").value = counts.suspect ? counts.suspectDecided / counts.suspect : counts.decided / Math.max(total, 1);
    const parts = [`${counts.accept} accepted`, `${counts.reject} rejected`, `${counts.unsure} unsure`, `${total - counts.decided} open`];
    byId("counts").textContent = counts.suspect ? `${counts.suspectDecided} of ${counts.suspect} suspect labels decided` : `${counts.decided} of ${total} labels decided`;
    byId("progress").title = parts.join(", ");
    byId("back").disabled = !decider.steps && !decider.outbox.waiting;
    this.list.redraw();
    this.panel.showRegions();
    this.panel.refreshComment();
    if (row && this.viewer.about?.case === row.case && this.panel.about) {
      this.viewer.subject = this.#subject(row);
      this.viewer.restyle();
    }
    showBanner(this.connection, decider.outbox);
  }

  // Messages

  say(text) {
    byId("note").textContent = text;
    byId("note").hidden = false;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (byId("note").hidden = true), NOTE_MS);
  }

  async #answer(what, show) {
    try {
      show(await this.connection.ask(`/api/${what}`));
    } catch (error) {
      this.say(error.message);
    }
  }

  async #export() {
    this.panel.saveComment();
    await this.decider.outbox.flush();
    try {
      showExport(await this.connection.send("/api/export", {}));
    } catch (error) {
      this.say(error.message);
    }
  }
}
