// The list of labels next to the viewer: which to show, and what users decide about each.

const PAGE = 50; // rows that are shown at a time
const ORDERS = {
  rank: (a, b) => a.rank - b.rank,
  case: (a, b) => a.case.localeCompare(b.case, undefined, { numeric: true }) || a.rank - b.rank,
  expected: (a, b) => a.expected_dice - b.expected_dice || a.rank - b.rank,
  dice: (a, b) => a.dice_to_prediction - b.dice_to_prediction || a.rank - b.rank,
  flagged: (a, b) => b.flagged_voxels - a.flagged_voxels || a.rank - b.rank,
};

/** What was decided, by index of the row; kept by the browser for this very audit. */
class Decisions {
  constructor(key) {
    this.audit = key;
    this.key = `segmend audit ${key}`;
    this.kept = true;
    try {
      this.of = JSON.parse(localStorage.getItem(this.key)) ?? {};
    } catch {
      this.of = {};
    }
  }

  set(index, decision) {
    if (this.of[index] === decision) delete this.of[index];
    else this.of[index] = decision;
    try {
      localStorage.setItem(this.key, JSON.stringify(this.of));
    } catch {
      this.kept = false; // private windows may forbid it
    }
  }

  count(decision) {
    return Object.values(this.of).filter((other) => other === decision).length;
  }

  table(rows) {
    const cell = (text) => /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const lines = rows.filter((row) => this.of[row.index])
      .map((row) => [row.case, row.label, this.of[row.index], this.audit]);
    return [["case", "label", "decision", "audit"], ...lines].map((line) => `${line.map(cell).join(",")}\n`).join("");
  }
}

class Page {
  constructor({ key, rows, findings, unit }) {
    this.rows = rows.map((row, index) => ({ ...row, index }));
    this.findings = findings;
    this.unit = unit;
    this.severalLabels = new Set(rows.map((row) => row.label)).size > 1;
    this.decisions = new Decisions(key);
    this.viewer = new Viewer(byId("views"), unit, () => this.describeView());
    this.fillMenus();
    this.listen();
    this.filter();
    this.open(this.found[0] ?? null);
  }

  fillMenus() {
    const add = (menu, values, text) => values.forEach((value) => byId(menu).append(new Option(text(value), value)));
    add("kind", [...new Set(this.rows.map((row) => row.kind))], words);
    const labels = [...new Set(this.rows.map((row) => row.label))];
    add("label", labels, String);
    byId("label").hidden = !this.severalLabels;
    for (const cell of document.querySelectorAll("[data-kind]")) cell.textContent = words(cell.dataset.kind);
  }

  listen() {
    for (const id of ["search", "kind", "label", "state", "order"]) byId(id).addEventListener("input", () => this.filter());
    byId("earlier").addEventListener("click", () => this.showPage(this.page - 1));
    byId("later").addEventListener("click", () => this.showPage(this.page + 1));
    byId("previous").addEventListener("click", () => this.move(-1));
    byId("next").addEventListener("click", () => this.move(1));
    byId("download").addEventListener("click", () => this.download());
    byId("reset").addEventListener("click", () => this.viewer.resetWindow());
    byId("list").addEventListener("click", (event) => {
      const line = event.target.closest("tr");
      if (line) this.open(this.rows[line.dataset.index]);
    });
    for (const button of document.querySelectorAll("[data-decision]")) {
      button.addEventListener("click", () => this.decide(button.dataset.decision));
    }
    for (const button of document.querySelectorAll("[data-mask]")) {
      button.addEventListener("click", () => this.viewer.toggle(button.dataset.mask));
    }
    byId("zoom").addEventListener("input", () => this.viewer.setZoom(Number(byId("zoom").value)));
    for (const id of ["level", "width"]) byId(id).addEventListener("input", () => this.setWindow());
    document.addEventListener("keydown", (event) => this.press(event));
  }

  // The list

  filter() {
    const wanted = byId("search").value.toLowerCase(), state = byId("state").value;
    const fits = { "": () => true, open: (decision) => !decision };
    const fitting = fits[state] ?? ((decision) => decision === state);
    this.found = this.rows.filter((row) =>
      row.case.toLowerCase().includes(wanted) && ["", row.kind].includes(byId("kind").value) &&
      ["", row.label].includes(byId("label").value) && fitting(this.decisions.of[row.index]));
    this.found.sort(ORDERS[byId("order").value]);
    const at = this.found.indexOf(this.current);
    this.showPage(Math.max(0, Math.floor(at / PAGE)));
  }

  showPage(page) {
    const pages = Math.max(1, Math.ceil(this.found.length / PAGE));
    this.page = Math.min(Math.max(page, 0), pages - 1);
    const first = this.page * PAGE, some = this.found.slice(first, first + PAGE);
    byId("list").replaceChildren(...some.map((row) => this.line(row)));
    byId("range").textContent = some.length ? `${first + 1} to ${first + some.length} of ${this.found.length}` : "none fits";
    byId("earlier").disabled = this.page === 0;
    byId("later").disabled = this.page === pages - 1;
    this.showDecisions();
  }

  line(row) {
    const line = make("tr", row.suspect ? "" : "fine");
    line.dataset.index = row.index;
    line.setAttribute("aria-current", row === this.current);
    const name = make("td", "name"), score = make("td", "score"), decision = this.decisions.of[row.index];
    name.append(make("span", "case", row.case), make("small", "", this.severalLabels ? `${words(row.kind)}, ${row.label}` : words(row.kind)));
    name.title = row.case;
    const bar = make("meter");
    bar.value = row.expected_dice;
    score.append(number(row.expected_dice, 2), bar);
    const sign = make("td", `sign ${decision ?? ""}`, SIGNS[decision] ?? "");
    sign.title = DONE[decision] ?? "";
    line.append(make("td", "rank", row.rank), name, score, sign);
    return line;
  }

  move(places) {
    const at = this.found.indexOf(this.current);
    const row = this.found[at < 0 ? 0 : at + places];
    if (row) this.open(row);
  }

  // The label that is looked at

  open(row) {
    this.current = row;
    byId("viewer").hidden = !row;
    if (!row) return;
    this.showPage(Math.floor(Math.max(0, this.found.indexOf(row)) / PAGE));
    byId("list").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    byId("name").textContent = row.case;
    byId("what").textContent = `${row.label}: ${words(row.kind)}`;
    this.showFacts(row);
    const stored = byId(`close-up-${row.index}`);
    const closeUp = stored ? JSON.parse(stored.textContent) : null;
    byId("pictured").hidden = !closeUp;
    byId("unpictured").hidden = Boolean(closeUp);
    this.listRegions(closeUp?.regions ?? []);
    if (closeUp) this.viewer.show(closeUp);
    else this.viewer.clear();
  }

  /** Offset of the boundary that the proposal corrects, or what a correction of offsets would. */
  describeOffset(row) {
    const off = row.proposal === "shift" ? row.offset_mm : row.correction_mm === null ? null : -row.correction_mm;
    if (off === null) return null;
    const error = row.proposal === "shift" ? "" : ` ± ${number(row.correction_se_mm, 1)}`;
    return `${number(Math.abs(off), 1)}${error} ${this.unit} too ${off > 0 ? "wide" : "tight"}`;
  }

  showFacts(row) {
    const changes = {
      shift: "shifts the whole boundary", regions: `changes ${row.changed_voxels} voxels`, none: "none",
      erase: `erases all ${row.changed_voxels} voxels`, create: `draws ${row.changed_voxels} voxels where there are none`,
    };
    const sure = row.proposal_score === null ? "" : `, ${Math.round(100 * row.proposal_score)} % sure`;
    const offset = this.describeOffset(row);
    const facts = [
      ["expected Dice", number(row.expected_dice, 2)],
      ...row.expected_dice_proposal === null ? [] : [["with the proposal", number(row.expected_dice_proposal, 2)]],
      ["attainable by the model", number(row.best_dice, 2)], ["Dice to prediction", number(row.dice_to_prediction, 2)],
      ...row.judges_dice === null ? [] : [["Dice between judges", number(row.judges_dice, 2)]],
      ["proposal", changes[row.proposal] + sure], ...offset ? [["boundary", offset]] : [],
      ["label", [`${row.quality}`, row.annotator && `by ${row.annotator}`].filter(Boolean).join(", ")],
    ];
    byId("facts").replaceChildren(...facts.map(([name, value]) => {
      const fact = make("div");
      fact.append(make("dt", "", name), make("dd", "", value));
      return fact;
    }));
    const seen = "The model that judges this label was trained on it, which makes it look better than it is.";
    const own = Object.hasOwn(this.findings, row.case) ? this.findings[row.case] : [];
    const findings = [...own, ...row.in_training_set ? [seen] : []];
    byId("findings").replaceChildren(...findings.map((finding) => make("li", "", finding)));
  }

  listRegions(regions) {
    byId("regions").replaceChildren(...regions.map((region, place) => {
      const button = make("button", "", `${words(region.kind)}: ${region.text}`);
      button.type = "button";
      button.addEventListener("click", () => this.viewer.lookAt(region.at));
      return button;
    }));
  }

  describeView() {
    const { closeUp, at, window: [low, high], shown } = this.viewer;
    const [darkest, brightest] = closeUp.range, span = brightest - darkest;
    const level = byId("level"), width = byId("width");
    [level.min, level.max, width.min, width.max] = [darkest, brightest, span / 255, 1.5 * span];
    [level.value, width.value] = [(low + high) / 2, high - low];
    byId("zoom").value = this.viewer.zoom;
    byId("window").textContent = `${low.toPrecision(3)} to ${high.toPrecision(3)}`;
    const place = (matrix) => matrix.map(([x, y, z, start]) => x * at[0] + y * at[1] + z * at[2] + start);
    const [voxel, mm] = [place(closeUp.to_file).map(Math.round), place(closeUp.to_ras)];
    byId("place").textContent = closeUp.planar ? `pixel ${voxel.slice(0, 2).join(", ")}`
      : `voxel ${voxel.join(", ")}  ·  RAS ${mm.map((value) => value.toFixed(1)).join(", ")} mm`;
    for (const button of document.querySelectorAll("[data-mask]")) {
      button.setAttribute("aria-pressed", shown.has(button.dataset.mask));
    }
  }

  setWindow() {
    const level = Number(byId("level").value), half = Number(byId("width").value) / 2;
    this.viewer.setWindow(level - half, level + half);
  }

  // Decisions

  decide(decision) {
    const row = this.current;
    if (!row || (decision === "accept" && row.proposal === "none")) return;
    this.decisions.set(row.index, decision);
    this.showPage(this.page);
    if (byId("onward").checked && this.decisions.of[row.index]) this.move(1);
  }

  showDecisions() {
    const of = this.decisions.of, row = this.current;
    for (const button of document.querySelectorAll("[data-decision]")) {
      button.setAttribute("aria-pressed", Boolean(row) && of[row.index] === button.dataset.decision);
      button.disabled = button.dataset.decision === "accept" && row?.proposal === "none";
    }
    const counts = Object.entries(DONE).map(([decision, done]) => `${this.decisions.count(decision)} ${done}`);
    byId("counts").textContent = `${counts.join(" · ")} · ${this.rows.length - Object.keys(of).length} open`;
    byId("download").disabled = !Object.keys(of).length;
    byId("forgetful").hidden = this.decisions.kept;
  }

  download() {
    const file = URL.createObjectURL(new Blob([this.decisions.table(this.rows)], { type: "text/csv" }));
    Object.assign(document.createElement("a"), { href: file, download: "decisions.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(file), 10_000);
  }

  // Keys

  press(event) {
    const field = event.target.closest?.("input, select, textarea");
    const typing = field && field.type !== "checkbox" && (field.type !== "range" || event.key.startsWith("Arrow"));
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      j: () => this.move(1), ArrowRight: () => this.move(1), k: () => this.move(-1), ArrowLeft: () => this.move(-1),
      ArrowDown: () => this.viewer.step(1), ArrowUp: () => this.viewer.step(-1),
      a: () => this.decide("accept"), r: () => this.decide("reject"), u: () => this.decide("unsure"),
      "+": () => this.viewer.widen(0.85), "=": () => this.viewer.widen(0.85), "-": () => this.viewer.widen(1 / 0.85),
      0: () => this.viewer.resetWindow(), z: () => this.viewer.setZoom(this.viewer.zoom > 1 ? 1 : 3),
      1: () => this.viewer.toggle("given"), 2: () => this.viewer.toggle("proposal"), 3: () => this.viewer.toggle("issue"),
      4: () => this.viewer.toggle("other"), h: () => this.viewer.hide(),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

new Page(JSON.parse(byId("audit").textContent));
