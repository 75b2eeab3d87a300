// A list of any number of rows; only those in sight are elements.

const HEIGHT = 46; // of a row, in pixels; review.css has the same
const SPARE = 6; // rows above and below those in sight

export class RowList {
  /**
   * @param box its element, with the element `.space` in it; @param several whether labels are of several classes;
   * @param chosen called with a row that is clicked.
   */
  constructor(box, several, chosen) {
    this.box = box;
    this.space = box.querySelector(".space");
    this.rows = [];
    this.current = null;
    this.elements = new Map();
    this.several = several;
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    // Arrow keys move through the list where it has the focus, by Tab; a click leaves them to the slices.
    box.addEventListener("mousedown", (event) => event.preventDefault());
    box.addEventListener("click", (event) => {
      const element = event.target.closest("[role=option]");
      if (element) chosen(this.rows[element.dataset.place]);
    });
    box.addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor(box.clientHeight / HEIGHT) - 1), at = this.rows.indexOf(this.current);
      const to = {
        ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.rows.length - 1,
      }[event.key];
      if (to === undefined || !this.rows.length) return;
      event.preventDefault();
      event.stopPropagation();
      chosen(this.rows[Math.min(Math.max(to, 0), this.rows.length - 1)]);
    });
    new ResizeObserver(() => this.draw()).observe(box);
  }

  show(rows) {
    this.rows = rows;
    this.space.style.height = `${rows.length * HEIGHT}px`;
    this.redraw();
  }

  /** Marks the row that is looked at, and brings it into sight. */
  mark(row) {
    this.current = row;
    const at = this.rows.indexOf(row), { scrollTop, clientHeight } = this.box;
    if (at >= 0 && at * HEIGHT < scrollTop) this.box.scrollTop = at * HEIGHT;
    else if (at >= 0 && (at + 1) * HEIGHT > scrollTop + clientHeight) this.box.scrollTop = (at + 1) * HEIGHT - clientHeight;
    this.redraw();
  }

  redraw() {
    this.elements.clear();
    this.space.replaceChildren();
    this.draw();
  }

  draw() {
    const { scrollTop, clientHeight } = this.box;
    const first = Math.max(0, Math.floor(scrollTop / HEIGHT) - SPARE);
    const end = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / HEIGHT) + SPARE);
    for (const [place, element] of this.elements) {
      if (place >= first && place < end) continue;
      element.remove();
      this.elements.delete(place);
    }
    for (let place = first; place < end; place++) {
      if (this.elements.has(place)) continue;
      const element = this.make(this.rows[place], place);
      this.elements.set(place, element);
      this.space.append(element);
    }
    const active = this.rows.indexOf(this.current);
    if (this.elements.has(active)) this.box.setAttribute("aria-activedescendant", `row-${active}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  make(row, place) {
    const element = make("div", `row ${row.suspect ? "suspect" : "fine"}`);
    element.id = `row-${place}`;
    element.dataset.place = place;
    element.style.top = `${place * HEIGHT}px`;
    element.title = `${row.case}, ${row.label}: ${words(row.kind)}`;
    const attributes = {
      role: "option", "aria-selected": row === this.current, "aria-setsize": this.rows.length, "aria-posinset": place + 1,
    };
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    const name = make("bdi", "case", row.case), what = make("div", "what", `${words(row.kind)}${this.several ? `, ${row.label}` : ""}`);
    const dice = row.expected_dice ?? null;
    const value = make("div", "dice", number(dice, 2));
    const bar = make("div", "track"), filled = make("div", "filled");
    filled.style.width = `${100 * Math.min(Math.max(dice ?? 0, 0), 1)}%`;
    bar.append(filled);
    if (row.expected_dice_proposal != null && row.proposal !== "none") {
      const after = make("i", "after");
      after.style.left = `${100 * Math.min(Math.max(row.expected_dice_proposal, 0), 1)}%`;
      bar.append(after);
    }
    value.append(bar);
    const sign = make("div", `sign ${row.decision}`, { ...SIGNS, replace: "⇄" }[row.decision] ?? "");
    const done = { ...DONE, replace: "replaced" }[row.decision] ?? "open";
    sign.setAttribute("role", "img");
    sign.setAttribute("aria-label", done);
    sign.title = row.comment ? `${done}. ${row.comment}` : done;
    if (row.comment || row.region_decisions) sign.append(make("small", "", row.comment ? "✎" : "◧"));
    element.append(make("div", "rank", row.rank), name, what, value, sign);
    return element;
  }
}
