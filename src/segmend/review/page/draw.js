// What is drawn over a slice. A picture is placed on the canvas by `placed`: left, top, pixelWidth, pixelHeight, width, height.

const NOT_ANNOTATED = 255;
const LINE = "rgb(255 255 255 / 85%)";

/** Which masks each mode shows; those in brackets can be switched off. */
export const MODES = {
  outlines: { always: [], switched: ["other", "issue", "given", "proposal"] },
  before: { always: ["given"], switched: ["other"] },
  after: { always: ["result"], switched: ["other"] },
  difference: { always: ["removed", "added"], switched: ["given", "proposal"] },
};

/**
 * The class that a voxel will have: that of the proposal or of the label, by what is decided on its region and label.
 *
 * @param decided decision on the label, and `regions`, decisions by number of the region.
 */
export function resultOf(given, proposal, issue, { label, regions }) {
  const region = regions.get(issue);
  if (region === "reject") return given;
  if (region === "accept" || label === "accept") return proposal;
  const some = [...regions.values()].includes("accept");
  return label || some ? given : proposal;
}

/** Functions (x, y) => whether a pixel belongs to a mask; masks hold class of the label, of the proposal, and issue. */
function insides({ width, height, values }, { index, regions, region, decided }) {
  const of = (test) => (x, y) => {
    if (x < 0 || y < 0 || x >= width || y >= height) return 0;
    const at = 3 * (y * width + x);
    return Number(test(values[at], values[at + 1], values[at + 2]));
  };
  const result = (given, proposal, issue) => resultOf(given, proposal, issue, decided) === index;
  const concerns = (given, proposal, issue) =>
    issue > 1 ? regions.has(issue) : issue === 1 && (given === index || proposal === index);
  return {
    given: of((given) => given === index),
    proposal: of((_, proposal) => proposal === index),
    issue: of(concerns),
    other: of((given) => given && given !== index && given !== NOT_ANNOTATED),
    result: of(result),
    added: of((given, proposal) => given !== index && proposal === index),
    removed: of((given, proposal) => given === index && proposal !== index),
    region: of((_, __, issue) => region !== null && issue === region),
  };
}

/** A pixel in the middle of what a proposal changes of a class, or else of the class; null if there is none. */
export function middleOf({ width, height, values }, index) {
  const changed = [], given = [];
  for (let pixel = 0; pixel < width * height; pixel++) {
    const before = values[3 * pixel] === index, after = values[3 * pixel + 1] === index;
    if (before !== after) changed.push(pixel);
    if (before) given.push(pixel);
  }
  const pixels = changed.length ? changed : given;
  if (!pixels.length) return null;
  const row = Math.floor(pixels[pixels.length >> 1] / width);
  const columns = pixels.filter((pixel) => Math.floor(pixel / width) === row).map((pixel) => pixel % width);
  return [columns[columns.length >> 1], row];
}

/** Outlines of the masks of a slice for a label, each made when it is first drawn. */
export class Outlines {
  #paths = new Map();

  constructor(masks, subject) {
    this.masks = masks;
    this.insides = insides(masks, subject);
  }

  /** The outline of a mask in pixels of the slice, or null if it is empty. */
  path(mask) {
    if (!this.#paths.has(mask)) this.#paths.set(mask, this.#trace(this.insides[mask]));
    return this.#paths.get(mask);
  }

  #trace(inside) {
    const { width, height } = this.masks;
    let [left, right, top, bottom] = [width, -1, height, -1];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (!inside(x, y)) continue;
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
      }
    }
    if (right < 0) return null;
    const box = { left, top, pixelWidth: 1, pixelHeight: 1, width: right - left + 1, height: bottom - top + 1 };
    return outlinePath((x, y) => inside(x + left, y + top), box);
  }
}

/** The slice as a canvas, with another window than the one in which the server has drawn it. */
export function greyCanvas({ width, height, values }, drawn, window) {
  const table = Uint8ClampedArray.from({ length: 256 }, (_, value) =>
    255 * (drawn.low + value / 255 * (drawn.high - drawn.low) - window.low) / (window.high - window.low));
  const canvas = makeCanvas(width, height), context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let from = 0, to = 0; from < values.length; from++, to += 4) {
    pixels.data[to] = pixels.data[to + 1] = pixels.data[to + 2] = table[values[from]];
    pixels.data[to + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Draws masks in a mode; `shown` are those of the switched ones that are on. */
export function drawMasks(context, outlines, placed, { mode, shown, colours }) {
  const { left, top, pixelWidth, pixelHeight, width, height } = placed;
  const { always, switched } = MODES[mode];
  context.save();
  context.beginPath();
  context.rect(left, top, width * pixelWidth, height * pixelHeight);
  context.clip();
  context.lineJoin = "round";
  const matrix = new DOMMatrix([pixelWidth, 0, 0, pixelHeight, left, top]);
  const scaled = (mask) => {
    const path = outlines.path(mask);
    if (!path) return null;
    const moved = new Path2D();
    moved.addPath(path, matrix);
    return moved;
  };
  const chosen = mode === "outlines" && shown.has("issue") ? scaled("region") : null;
  if (chosen) { // below the outlines, which stay visible on it
    context.lineWidth = 5;
    context.strokeStyle = colours.issue;
    context.stroke(chosen);
  }
  for (const mask of [...always, ...switched.filter((mask) => shown.has(mask))]) {
    const path = scaled(mask);
    if (path) drawMask(context, path, mask, colours);
  }
  context.restore();
}

function drawMask(context, path, mask, colours) {
  const hatches = { added: "proposal", removed: "given" };
  if (mask in hatches) {
    context.fillStyle = hatch(context, colours[hatches[mask]], mask === "added");
    context.fill(path, "evenodd");
    context.setLineDash([]);
    context.lineWidth = 1;
    context.strokeStyle = colours[hatches[mask]];
    context.stroke(path);
  } else if (mask === "result") {
    strokeMask(context, path, "given", colours.proposal);
  } else {
    strokeMask(context, path, mask, colours[mask]);
  }
}

/** What is added rises to the right, what is removed falls; so the two differ without colours. */
function hatch(context, colour, rising) {
  const tile = makeCanvas(8, 8), pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift - 1, rising ? 9 : -1);
    pen.lineTo(shift + 9, rising ? -1 : 9);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

/** Two lines that meet at a point, with a gap so that the point itself is seen. */
export function drawCross(context, placed, column, row) {
  const { left, top, pixelWidth, pixelHeight, width, height } = placed;
  const x = left + (column + 0.5) * pixelWidth, y = top + (row + 0.5) * pixelHeight;
  const right = left + width * pixelWidth, bottom = top + height * pixelHeight, gap = 14;
  context.strokeStyle = "rgb(255 255 255 / 35%)";
  context.lineWidth = 1;
  for (const [x0, y0, x1, y1] of [
    [left, y, x - gap, y], [x + gap, y, right, y], [x, top, x, y - gap], [x, y + gap, x, bottom],
  ]) {
    if (x1 >= x0 && y1 >= y0) context.stroke(new Path2D(`M${x0} ${y0}L${x1} ${y1}`));
  }
}

/** Scale bar at the lower right, clear of the slider. */
export function drawBar(context, box, scale, unit) {
  const length = barLength(box.clientWidth / scale), right = box.clientWidth - 12, y = box.clientHeight - 34;
  context.strokeStyle = LINE;
  context.lineWidth = 2;
  context.stroke(new Path2D(`M${right - length * scale} ${y}H${right}`));
  writeOver(context, `${length} ${unit}`, right - length * scale / 2, y - 6);
}

/** Letters of the patient's sides at the edges, clear of the title. */
export function drawSides(context, box, title, { across, down }) {
  writeOver(context, across.letters[0], 10, box.clientHeight / 2);
  writeOver(context, across.letters[1], box.clientWidth - 10, box.clientHeight / 2);
  writeOver(context, down.letters[0], Math.max(box.clientWidth / 2, title.offsetLeft + title.offsetWidth + 10), 16);
  writeOver(context, down.letters[1], box.clientWidth / 2, box.clientHeight - 32);
}
