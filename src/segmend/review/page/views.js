// Planes through a point of a scan: which slices are asked for, where they lie on the screen, and what moves them.

import { drawView } from "./canvas.js";
import { middleOf } from "./draw.js";
import { attachPointer } from "./pointer.js";

const SETTLED_MS = 150; // a window that has not moved for so long is asked for from the server
const AHEAD = 3; // slices before and behind
const MOST_ZOOM = 16;
const COLOURS = ["given", "proposal", "issue", "other"];

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Shows one label of one case. Events: "change" when anything but the case has changed, "trouble" with words in `detail`. */
export class Viewer extends EventTarget {
  about = null;
  mode = "outlines";
  shown = new Set(COLOURS);
  zoom = 1;
  single = false;
  #hidden = new Set();
  #abort = new AbortController();
  #uncentred = null; // the view that shows where the crosshair belongs, until it has loaded
  #named = null; // the plane that the reader has chosen
  #way = 1; // of the last step
  #windows = new Map(); // of the channels of a CT, whose units are the same in all scans

  /** @param parent element of the planes; @param store where slices come from; @param unit of lengths. */
  constructor(parent, store, unit, absolute) {
    super();
    Object.assign(this, { parent, store, unit, absolute });
    const style = getComputedStyle(parent);
    this.colours = Object.fromEntries(COLOURS.map((mask) => [mask, style.getPropertyValue(`--${mask}`).trim()]));
    this.views = [0, 1, 2].map(() => this.#makeView());
    this.large = this.views[0];
    new ResizeObserver(() => this.draw()).observe(parent);
  }

  #makeView() {
    const box = make("div", "view"), canvas = make("canvas"), title = make("button"), slider = make("input");
    Object.assign(title, { type: "button", title: "show larger" });
    Object.assign(slider, { type: "range", min: 0, step: 1 });
    box.append(canvas, title, slider);
    this.parent.append(box);
    const view = { box, canvas, title, slider, plane: null, shown: null, busy: false, again: false };
    title.addEventListener("click", () => this.enlarge(view));
    slider.addEventListener("input", () => this.moveTo(view.plane.axis, Number(slider.value)));
    attachPointer(this, view);
    return view;
  }

  /**
   * Shows a label.
   *
   * @param about the case; @param subject class index, regions of the label and decisions, see draw.js;
   * @param start axis and index of the slice to begin with.
   */
  show(about, subject, start) {
    const other = this.about?.case !== about.case;
    if (other) this.clear();
    Object.assign(this, { about, subject });
    if (other) this.#takeCase();
    this.at = about.shape.map((length, axis) => clamp(axis === start.axis ? start.index : this.at[axis], 0, length - 1));
    this.focus = [...this.at];
    const byAxis = this.views.find(({ plane }) => plane?.axis === start.axis);
    this.large = this.views.find(({ plane }) => plane && plane.name === this.#named) ?? byAxis ?? this.views[0];
    for (const view of this.views) view.outlines = null;
    this.#uncentred = byAxis ?? this.views[0];
    this.#arrange();
    this.load();
  }

  /** Moves the crosshair to what the proposal changes in the first slice, or else to the object. */
  #centre(view) {
    if (this.#uncentred !== view || view.shown.place.index !== this.at[view.plane.axis]) return;
    this.#uncentred = null;
    const found = middleOf(view.shown.masks, this.subject.index), { across, down } = view.plane;
    if (found) {
      [across, down].forEach(({ axis, flipped }, place) => {
        this.at[axis] = this.focus[axis] = flipped ? this.about.shape[axis] - 1 - found[place] : found[place];
      });
    }
    this.load();
  }

  /** Shows nothing: what is seen must never be of another case than the one that is named. */
  clear() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.about = this.#uncentred = null;
    for (const view of this.views) {
      view.shown = null;
      view.title.textContent = "";
      view.canvas.width = view.canvas.height = 1;
    }
  }

  #takeCase() {
    const { about } = this;
    about.shape = [...about.shape, 1].slice(0, 3);
    about.spacing = [...about.spacing, 1].slice(0, 3);
    this.planar = about.axes.length < 2;
    this.at = about.shape.map((length) => length >> 1);
    this.channel = Math.min(this.channel ?? 0, about.channels.length - 1);
    this.window = { ...this.#windows.get(this.channel) ?? about.window[this.channel] };
    this.views.forEach((view, place) => Object.assign(view, { plane: about.axes[place] ?? null, shown: null }));
    for (const { plane, slider } of this.views) {
      if (!plane) continue;
      slider.max = plane.slices - 1;
      slider.setAttribute("aria-label", `${plane.name} slice`);
    }
  }

  /** What a reader has decided has changed. */
  restyle() {
    for (const view of this.views) view.outlines = null;
    this.draw();
  }

  #arrange() {
    this.parent.classList.toggle("planar", this.planar);
    this.parent.classList.toggle("single", this.single && !this.planar);
    for (const view of this.views) {
      view.box.classList.toggle("large", view === this.large);
      view.box.hidden = !view.plane || (this.single && view !== this.large);
      view.slider.hidden = view.title.hidden = this.planar;
    }
  }

  // Loading

  /** Asks for every slice that is to be seen and is not. */
  load() {
    if (!this.about) return;
    this.store.hurry();
    for (const view of [this.large, ...this.views.filter((view) => view !== this.large)]) this.#loadView(view);
    this.draw();
  }

  #place(view, index = this.at[view.plane.axis]) {
    const { low, high } = this.window;
    return { name: this.about.case, axis: view.plane.axis, index, channel: this.channel, low, high, label: this.subject.key };
  }

  async #loadView(view) {
    if (!view.plane || (view.box.hidden && view !== this.#uncentred)) return;
    if (this.#uncentred && view !== this.#uncentred) return; // until it is known which slice is wanted
    view.again = true;
    if (view.busy) return; // the slices in between are left out
    view.busy = true;
    try {
      while (view.again) {
        view.again = false;
        const place = this.#place(view), { signal } = this.#abort;
        if (view.shown && JSON.stringify(view.shown.place) === JSON.stringify(place)) {
          this.#centre(view);
          continue;
        }
        const [scan, masks] = await this.store.both(place, signal);
        if (signal.aborted) continue;
        Object.assign(view, { shown: { place, scan, masks }, outlines: null, grey: null });
        this.draw();
        this.#centre(view);
      }
    } catch (error) {
      if (error.name !== "AbortError") this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
    } finally {
      view.busy = false;
    }
    if (view.again) this.#loadView(view);
    else if (!this.views.some(({ busy }) => busy)) this.#loadAhead();
  }

  #loadAhead() {
    const view = this.large, at = this.at[view.plane.axis], steps = Array.from({ length: AHEAD }, (_, i) => i + 1);
    const near = [...steps.map((step) => at + step * this.#way), at - this.#way]
      .filter((index) => index >= 0 && index < view.plane.slices);
    this.store.ahead([...near.map((index) => () => this.store.both(this.#place(view, index))), ...this.next?.(this) ?? []]);
    this.dispatchEvent(new Event("settled"));
  }

  // Moving

  moveTo(axis, position) {
    const before = this.at[axis];
    if (axis !== this.#uncentred?.plane.axis) this.#uncentred = null;
    this.at[axis] = clamp(position, 0, this.about.shape[axis] - 1);
    if (this.at[axis] === before) return;
    this.#way = this.at[axis] > before ? 1 : -1;
    this.load();
  }

  step(slices, view = this.large) {
    if (this.about && !this.planar) this.moveTo(view.plane.axis, this.at[view.plane.axis] + slices);
  }

  lookAt(voxel) {
    this.#uncentred = null;
    this.at = this.about.shape.map((length, axis) => clamp(voxel[axis] ?? 0, 0, length - 1));
    this.focus = [...this.at];
    this.load();
  }

  enlarge(view) {
    if (!this.about) return;
    this.#named = view.plane.name;
    this.large = view;
    this.#arrange();
    this.load();
  }

  nextPlane() {
    const views = this.views.filter(({ plane }) => plane);
    if (this.about && !this.planar) this.enlarge(views[(views.indexOf(this.large) + 1) % views.length]);
  }

  setSingle(single) {
    this.single = single;
    if (this.about) this.#arrange();
    this.load();
  }

  setZoom(zoom, focus = this.at) {
    if (!this.about) return;
    this.zoom = clamp(zoom, 1, MOST_ZOOM);
    this.focus = [...focus];
    this.draw();
  }

  // What is seen

  setMode(mode) {
    this.mode = mode;
    this.draw();
  }

  toggle(mask) {
    if (!this.shown.delete(mask)) this.shown.add(mask);
    this.draw();
  }

  /** Hides all outlines, or shows those again that were there. */
  hide() {
    [this.shown, this.#hidden] = this.shown.size ? [new Set(), this.shown] : [this.#hidden, new Set()];
    this.draw();
  }

  setChannel(channel) {
    if (!this.about) return;
    this.channel = channel;
    this.window = { ...this.#windows.get(channel) ?? this.about.window[channel] };
    this.load();
  }

  setWindow(low, high) {
    if (!this.about) return;
    const { low: first, high: last } = this.about.window[this.channel];
    this.window = { low, high: Math.max(high, low + (last - first) / 500) };
    if (this.absolute) this.#windows.set(this.channel, this.window);
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.load(), SETTLED_MS);
    this.draw();
  }

  /** Makes the window wider (factor above 1) or narrower around its middle. */
  widen(factor) {
    if (!this.about) return;
    const { low, high } = this.window, middle = (low + high) / 2, half = factor * (high - low) / 2;
    this.setWindow(middle - half, middle + half);
  }

  reset() {
    if (!this.about) return;
    this.#windows.delete(this.channel);
    this.window = { ...this.about.window[this.channel] };
    this.zoom = 1;
    this.load();
  }

  // Drawing

  draw() {
    if (this.waiting || !this.about) return; // once a frame is enough
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (!this.about) return;
      for (const view of this.views) if (!view.box.hidden) drawView(this, view);
      this.dispatchEvent(new Event("change"));
    });
  }
}
