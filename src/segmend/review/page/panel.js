// Next to the picture: what is known of a label, its regions with their decisions, and the comment.

import { factsOf, warningOf } from "./rows.js";

const IDLE_MS = 3000; // after which a comment that is being typed is sent
const SEEN = "The model that judges this label was trained on it: it looks better than it is.";

export class Panel {
  row = null;
  about = null;
  chosen = null; // region

  /** @param decider of the reader; @param looked called with a region to look at. */
  constructor(decider, unit, looked) {
    Object.assign(this, { decider, unit, looked, field: byId("comment") });
    this.field.addEventListener("input", () => this.#type());
    this.field.addEventListener("blur", () => this.saveComment());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.field.blur();
    });
    addEventListener("pagehide", () => this.saveComment());
  }

  /** Shows a row; `about` may come later. */
  open(row) {
    this.saveComment();
    Object.assign(this, { row, about: null, chosen: null });
    this.field.value = this.decider.commentOf(row);
    byId("kept").textContent = "";
    this.#showFacts([]);
    this.showRegions();
  }

  fill(about) {
    this.about = about;
    this.#showFacts(about.checks ?? []);
    this.showRegions();
  }

  get regions() {
    return this.about?.regions.filter(({ label }) => label === this.row.label) ?? [];
  }

  // Comment

  get typed() {
    return this.field.value.trim();
  }

  #type() {
    this.decider.draft(this.row, this.typed);
    byId("kept").textContent = "not saved yet";
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.saveComment(), IDLE_MS);
  }

  saveComment() {
    clearTimeout(this.idle);
    if (this.row && this.typed !== this.row.comment) this.decider.saveComment(this.row, this.typed);
  }

  /** The comment was changed by something else than typing. */
  refreshComment() {
    if (document.activeElement !== this.field && this.row) this.field.value = this.decider.commentOf(this.row);
    const saved = this.row && this.typed === this.row.comment && this.typed;
    const { waiting } = this.decider.outbox;
    if (this.row && this.typed === this.row.comment) byId("kept").textContent = saved ? waiting ? "not saved yet" : "saved" : "";
  }

  // Facts and regions

  #showFacts(checks) {
    const { row } = this;
    byId("facts").replaceChildren(...factsOf(row, this.unit).map(([name, value]) => {
      const fact = make("div");
      fact.append(make("dt", "", name), make("dd", "", value));
      return fact;
    }));
    const findings = [warningOf(row), ...checks, row.in_training_set ? SEEN : ""].filter(Boolean);
    byId("findings").replaceChildren(...findings.map((finding) => make("li", "", finding)));
  }

  showRegions() {
    const regions = this.regions, focused = document.activeElement?.closest?.("#regions button")?.dataset.key;
    const decided = regions.filter(({ decision }) => decision).length;
    byId("regioned").textContent = this.about ? regions.length ? `${decided} of ${regions.length} decided` : "none" : "…";
    byId("regions").replaceChildren(...regions.map((region) => this.#line(region)));
    if (focused) byId("regions").querySelector(`[data-key="${focused}"]`)?.focus();
  }

  #line(region) {
    const line = make("li"), look = make("button", "look");
    line.setAttribute("aria-current", region === this.chosen);
    look.type = "button";
    look.dataset.key = `look-${region.number}`;
    const size = `${region.voxels} ${this.unit === "px" ? "pixels" : "voxels"}, ${Math.round(100 * region.score)} % certain`;
    const change = region.kind === "swap" ? `${words(region.kind)}: ${region.given} → ${region.suggested}` : words(region.kind);
    look.append(make("span", "", change), make("small", "", size));
    look.addEventListener("click", () => this.lookAt(region));
    const group = make("div", "segments");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", `decision about region ${region.number}`);
    for (const [decision, sign] of Object.entries(SIGNS)) {
      const button = make("button", "", sign);
      button.type = "button";
      button.dataset.region = decision;
      button.dataset.key = `${decision}-${region.number}`;
      button.setAttribute("aria-pressed", region.decision === decision);
      button.setAttribute("aria-label", { accept: "accept", reject: "reject", unsure: "unsure" }[decision]);
      button.addEventListener("click", () => this.decideRegion(decision, region));
      group.append(button);
    }
    line.append(look, group);
    return line;
  }

  lookAt(region) {
    this.chosen = region;
    this.showRegions();
    byId("regions").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    this.looked(region);
  }

  /** Looks at the next region, or with -1 at the one before. */
  step(places) {
    const regions = this.regions;
    if (!regions.length) return;
    const at = regions.indexOf(this.chosen);
    this.lookAt(regions[at < 0 ? places > 0 ? 0 : regions.length - 1 : (at + places + regions.length) % regions.length]);
  }

  decideRegion(decision, region = this.chosen) {
    if (region && this.row.decision !== "replace") this.decider.decideRegion(this.row, region, decision);
  }
}
