// PNG files as numbers. A canvas would do, but browsers that guard against tracking change what is read back from one.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * Unpacks a PNG of 8 bits, grey or RGB, not interlaced.
 *
 * @param buffer the file.
 * @returns width, height, channels, and the values row by row, channels together.
 */
export async function unpackPng(buffer) {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  if (SIGNATURE.some((value, place) => bytes[place] !== value)) throw new TypeError("not a PNG file");
  const width = view.getUint32(16), height = view.getUint32(20);
  const [depth, colour, , , interlaced] = bytes.subarray(24, 29);
  const channels = { 0: 1, 2: 3 }[colour];
  if (depth !== 8 || !channels || interlaced) throw new TypeError("a PNG file of another kind");
  const parts = [];
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at), kind = view.getUint32(at + 4);
    if (kind === 0x49444154) parts.push(bytes.subarray(at + 8, at + 8 + length)); // IDAT
    at += length + 12;
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  return { width, height, channels, values: unfilter(packed, width * channels, height, channels) };
}

/** Takes back the filters of the rows (PNG specification, section 9). */
function unfilter(packed, length, height, channels) {
  const values = new Uint8Array(length * height);
  for (let row = 0; row < height; row++) {
    const from = row * (length + 1) + 1, to = row * length;
    const filter = FILTERS[packed[from - 1]];
    for (let i = 0; i < length; i++) {
      const left = i < channels ? 0 : values[to + i - channels];
      const above = row ? values[to + i - length] : 0;
      const corner = row && i >= channels ? values[to + i - length - channels] : 0;
      values[to + i] = packed[from + i] + filter(left, above, corner);
    }
  }
  return values;
}

const FILTERS = [
  () => 0,
  (left) => left,
  (_, above) => above,
  (left, above) => left + above >> 1,
  (left, above, corner) => {
    const fromLeft = Math.abs(above - corner), fromAbove = Math.abs(left - corner);
    const fromCorner = Math.abs(left + above - 2 * corner);
    if (fromLeft <= fromAbove && fromLeft <= fromCorner) return left;
    return fromAbove <= fromCorner ? above : corner;
  },
];
