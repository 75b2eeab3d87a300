// Shows a close-up: planes through a point of it, with outlines of the masks on top.

const MASKS = ["given", "proposal", "issue", "other"]; // bits 16, 32, 64 and 128 of the picture of masks
const LAYERS = ["other", "issue", "given", "proposal"]; // dashes upon a line show both
const PLANES = [
  { name: "axial", across: 0, down: 1, through: 2 },
  { name: "coronal", across: 0, down: 2, through: 1 },
  { name: "sagittal", across: 1, down: 2, through: 0 },
];
const SIDES = [["R", "L"], ["A", "P"], ["S", "I"]];

class Viewer {
  /** @param views their element; @param unit of lengths; @param changed called when something other than the case has changed. */
  constructor(views, unit, changed) {
    this.parent = views;
    this.unit = unit;
    this.changed = changed;
    this.shown = new Set(MASKS);
    this.hidden = new Set();
    this.zoom = 1;
    this.views = PLANES.map((plane) => this.makeView(views, plane));
    this.enlarge(this.views[0]);
    const style = getComputedStyle(views);
    this.colours = Object.fromEntries(MASKS.map((mask) => [mask, style.getPropertyValue(`--${mask}`).trim()]));
    new ResizeObserver(() => this.draw()).observe(views);
  }

  makeView(parent, plane) {
    const view = { plane, box: document.createElement("div"), canvas: document.createElement("canvas") };
    view.title = document.createElement("button");
    view.slider = document.createElement("input");
    view.box.className = "view";
    view.title.type = "button";
    view.title.title = "show larger";
    view.slider.type = "range";
    view.slider.min = 0;
    view.slider.setAttribute("aria-label", `${plane.name} slice`);
    view.box.append(view.canvas, view.title, view.slider);
    parent.append(view.box);
    view.title.addEventListener("click", () => this.enlarge(view));
    view.slider.addEventListener("input", () => this.moveTo(plane.through, Number(view.slider.value)));
    view.box.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey) this.setZoom(this.zoom * 1.2 ** -Math.sign(event.deltaY));
      else this.step(Math.sign(event.deltaY), view);
    }, { passive: false });
    const point = (event) => event.buttons & 1 && this.pointTo(view, event.offsetX, event.offsetY);
    view.canvas.addEventListener("pointerdown", point);
    view.canvas.addEventListener("pointermove", point);
    return view;
  }

  /** Shows a close-up; a later call wins over an earlier one that is not ready yet. */
  async show(closeUp) {
    this.wanted = closeUp;
    const { shape, columns } = closeUp;
    const [image, masks] = await Promise.all([
      decode(`data:image/webp;base64,${closeUp.image}`, shape, columns),
      decode(`data:image/png;base64,${closeUp.masks}`, shape, columns),
    ]);
    if (this.wanted !== closeUp) return;
    Object.assign(this, { closeUp, image, masks, at: [...closeUp.at], focus: [...closeUp.at], window: [...closeUp.window] });
    this.parent.classList.toggle("planar", closeUp.planar);
    for (const { plane, box, slider, title } of this.views) {
      box.hidden = closeUp.planar && plane.through !== 2;
      slider.hidden = title.hidden = closeUp.planar;
      slider.max = shape[plane.through] - 1;
    }
    this.draw();
  }

  /** Shows nothing. */
  clear() {
    this.wanted = this.closeUp = null;
  }

  enlarge(chosen) {
    this.large = chosen;
    for (const view of this.views) view.box.classList.toggle("large", view === chosen);
    this.draw();
  }

  moveTo(axis, position) {
    this.at[axis] = Math.min(Math.max(position, 0), this.closeUp.shape[axis] - 1);
    this.draw();
  }

  lookAt(voxel) {
    voxel.forEach((position, axis) => this.moveTo(axis, position));
    this.setZoom(this.zoom);
  }

  /** Enlarges what lies around the point. */
  setZoom(zoom) {
    if (!this.closeUp) return;
    this.zoom = Math.min(Math.max(zoom, 1), 8);
    this.focus = [...this.at];
    this.draw();
  }

  step(slices, view = this.large) {
    if (this.closeUp) this.moveTo(view.plane.through, this.at[view.plane.through] + slices);
  }

  pointTo({ plane, placed }, x, y) {
    this.moveTo(plane.across, Math.floor((x - placed.left) / placed.pixelWidth));
    this.moveTo(plane.down, Math.floor((y - placed.top) / placed.pixelHeight));
  }

  toggle(mask) {
    if (!this.shown.delete(mask)) this.shown.add(mask);
    this.draw();
  }

  /** Hides all outlines, or shows those again that were there. */
  hide() {
    [this.shown, this.hidden] = this.shown.size ? [new Set(), this.shown] : [this.hidden, new Set()];
    this.draw();
  }

  setWindow(low, high) {
    const least = (this.closeUp.range[1] - this.closeUp.range[0]) / 255;
    this.window = [low, Math.max(high, low + least)];
    this.draw();
  }

  /** Makes the window wider (factor above 1) or narrower around its middle. */
  widen(factor) {
    if (!this.closeUp) return;
    const [low, high] = this.window, middle = (low + high) / 2, half = factor * (high - low) / 2;
    this.setWindow(middle - half, middle + half);
  }

  resetWindow() {
    if (this.closeUp) this.setWindow(...this.closeUp.window);
  }

  draw() {
    if (!this.closeUp) return;
    for (const view of this.views) if (!view.box.hidden) this.drawView(view);
    this.changed();
  }

  drawView(view) {
    const { plane, canvas, box } = view, { shape, spacing, planar } = this.closeUp;
    const width = shape[plane.across], height = shape[plane.down];
    const sharpness = window.devicePixelRatio || 1;
    canvas.width = box.clientWidth * sharpness;
    canvas.height = box.clientHeight * sharpness;
    const context = canvas.getContext("2d");
    context.scale(sharpness, sharpness);
    const scale = this.zoom * Math.min(
      box.clientWidth / (width * spacing[plane.across]), box.clientHeight / (height * spacing[plane.down]));
    const pixelWidth = scale * spacing[plane.across], pixelHeight = scale * spacing[plane.down];
    const left = startOf(box.clientWidth, width, pixelWidth, this.focus[plane.across]);
    const top = startOf(box.clientHeight, height, pixelHeight, this.focus[plane.down]);
    view.placed = { left, top, pixelWidth, pixelHeight, width, height };
    context.imageSmoothingQuality = "high";
    context.drawImage(this.grey(plane, width, height), left, top, width * pixelWidth, height * pixelHeight);
    for (const mask of LAYERS) if (this.shown.has(mask)) this.drawMask(context, view, mask);
    if (!planar) this.drawCross(context, view);
    this.drawBar(context, box, scale);
    if (!planar) this.drawSides(context, view, box);
    view.slider.value = this.at[plane.through];
    view.title.textContent = `${plane.name} ${this.at[plane.through] + 1} / ${shape[plane.through]}`;
  }

  /** Position in the volumes of a pixel of a plane through the point. */
  locator({ across, down, through }) {
    const [nx, ny] = this.closeUp.shape, strides = [1, nx, nx * ny];
    const start = this.at[through] * strides[through];
    return (x, y) => start + x * strides[across] + y * strides[down];
  }

  grey(plane, width, height) {
    const [darkest, brightest] = this.closeUp.range, [low, high] = this.window;
    const table = Uint8ClampedArray.from({ length: 256 }, (_, value) =>
      255 * (darkest + value / 255 * (brightest - darkest) - low) / (high - low));
    const locate = this.locator(plane);
    const canvas = makeCanvas(width, height), context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i += 4) {
        pixels.data[i] = pixels.data[i + 1] = pixels.data[i + 2] = table[this.image[locate(x, y)]];
        pixels.data[i + 3] = 255;
      }
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  drawMask(context, view, mask) {
    const { left, top, pixelWidth, pixelHeight, width, height } = view.placed;
    const locate = this.locator(view.plane), bit = MASKS.indexOf(mask);
    const inside = (x, y) =>
      x >= 0 && y >= 0 && x < width && y < height ? (this.masks[locate(x, y)] + 8 >> 4 + bit) & 1 : 0;
    const path = outlinePath(inside, view.placed);
    context.save();
    context.beginPath();
    context.rect(left, top, width * pixelWidth, height * pixelHeight);
    context.clip();
    context.lineJoin = "round";
    strokeMask(context, path, mask, this.colours[mask]);
    context.restore();
  }

  drawCross(context, { plane, placed }) {
    const { left, top, pixelWidth, pixelHeight, width, height } = placed;
    const x = left + (this.at[plane.across] + 0.5) * pixelWidth, y = top + (this.at[plane.down] + 0.5) * pixelHeight;
    const gap = 14;
    context.strokeStyle = "rgb(255 255 255 / 35%)";
    context.lineWidth = 1;
    for (const [x0, y0, x1, y1] of [
      [left, y, x - gap, y], [x + gap, y, left + width * pixelWidth, y],
      [x, top, x, y - gap], [x, y + gap, x, top + height * pixelHeight],
    ]) {
      if (x1 >= x0 && y1 >= y0) context.stroke(new Path2D(`M${x0} ${y0}L${x1} ${y1}`));
    }
  }

  drawBar(context, box, scale) {
    const length = barLength(box.clientWidth / scale), right = box.clientWidth - 12, y = box.clientHeight - 34;
    context.strokeStyle = "rgb(255 255 255 / 85%)";
    context.lineWidth = 2;
    context.stroke(new Path2D(`M${right - length * scale} ${y}H${right}`));
    writeOver(context, `${length} ${this.unit}`, right - length * scale / 2, y - 6);
  }

  drawSides(context, { plane }, box) {
    const [left, right] = SIDES[plane.across], [above, below] = SIDES[plane.down];
    writeOver(context, left, 10, box.clientHeight / 2);
    writeOver(context, right, box.clientWidth - 10, box.clientHeight / 2);
    writeOver(context, above, box.clientWidth / 2, 16);
    writeOver(context, below, box.clientWidth / 2, box.clientHeight - 32);
  }
}
