// Pixels of pictures, and what is drawn of them.

function makeCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** The grey values of slices that lie side by side in a picture, x fastest. */
async function decode(source, [nx, ny, nz], columns) {
  const picture = new Image();
  picture.src = source;
  await picture.decode();
  const context = makeCanvas(picture.width, picture.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const { data, width } = context.getImageData(0, 0, picture.width, picture.height);
  const values = new Uint8Array(nx * ny * nz);
  let position = 0;
  for (let z = 0; z < nz; z++) {
    const left = (z % columns) * nx, top = Math.floor(z / columns) * ny;
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++) values[position++] = data[4 * ((top + y) * width + left + x)];
    }
  }
  return values;
}

/**
 * Closed lines around a mask, half-way between pixels inside and outside, in half pixels.
 * A cell has four pixels as corners; each of its edges that is crossed starts one piece of line and ends another.
 */
function outline(inside, width, height) {
  const TOP = 0, RIGHT = 1, BOTTOM = 2, LEFT = 3;
  const PIECES = [
    [], [TOP, LEFT], [RIGHT, TOP], [RIGHT, LEFT], [BOTTOM, RIGHT], [TOP, LEFT, BOTTOM, RIGHT], [BOTTOM, TOP],
    [BOTTOM, LEFT], [LEFT, BOTTOM], [TOP, BOTTOM], [RIGHT, TOP, LEFT, BOTTOM], [RIGHT, BOTTOM], [LEFT, RIGHT],
    [TOP, RIGHT], [LEFT, TOP], [],
  ];
  const stride = 2 * width + 4;
  const following = new Map();
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const cell = inside(x, y) | inside(x + 1, y) << 1 | inside(x + 1, y + 1) << 2 | inside(x, y + 1) << 3;
      const corner = (2 * y + 2) * stride + 2 * x + 2;
      const edges = [corner + 1, corner + stride + 2, corner + 2 * stride + 1, corner + stride];
      const pieces = PIECES[cell];
      for (let i = 0; i < pieces.length; i += 2) following.set(edges[pieces[i]], edges[pieces[i + 1]]);
    }
  }
  const lines = [];
  for (const start of following.keys()) {
    const line = [];
    for (let at = start; following.has(at);) {
      line.push([at % stride - 2, Math.floor(at / stride) - 2]);
      const next = following.get(at);
      following.delete(at);
      at = next;
    }
    lines.push(line);
  }
  return lines;
}

/** A length to measure by, about a quarter of another: 1, 2 or 5 times a power of ten. */
function barLength(whole) {
  const power = 10 ** Math.floor(Math.log10(whole / 4));
  return [5, 2, 1].map((factor) => factor * power).find((length) => length <= whole / 4) ?? power;
}

/** Position of the first of a number of pixels: all in the middle, or the focus if there is no room for all. */
function startOf(room, count, size, focus) {
  const free = room - count * size;
  return free >= 0 ? free / 2 : Math.min(0, Math.max(free, room / 2 - (focus + 0.5) * size));
}
