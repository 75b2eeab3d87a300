// Outlines and writing over a slice: one manner for the page of an audit and for 'segmend review'.

const STROKES = {
  given: { line: 2.4, dash: [], edge: true },
  proposal: { line: 2.2, dash: [6, 5] },
  issue: { line: 1, dash: [], fill: 0.22 },
  other: { line: 1.2, dash: [2, 3] },
};

/** The outline of a mask, as a path on a canvas on which its pixels are placed. */
function outlinePath(inside, { left, top, pixelWidth, pixelHeight, width, height }) {
  const path = new Path2D();
  for (const line of outline(inside, width, height)) {
    for (const [i, [x, y]] of line.entries()) {
      path[i ? "lineTo" : "moveTo"](left + (x / 2 + 0.5) * pixelWidth, top + (y / 2 + 0.5) * pixelHeight);
    }
    path.closePath();
  }
  return path;
}

/** Draws the outline of a mask by its name, distinguishable without colours. */
function strokeMask(context, path, mask, colour) {
  const { line, dash, fill, edge } = STROKES[mask];
  context.strokeStyle = context.fillStyle = colour;
  if (fill) {
    context.globalAlpha = fill;
    context.fill(path, "evenodd");
    context.globalAlpha = 1;
  }
  if (edge) {
    context.save();
    context.strokeStyle = "rgb(0 0 0 / 60%)";
    context.lineWidth = line + 1.6;
    context.stroke(path);
    context.restore();
  }
  context.setLineDash(dash);
  context.lineWidth = line;
  context.stroke(path);
}

/** Text that can be read on any ground. */
function writeOver(context, text, x, y) {
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  context.lineWidth = 3;
  context.strokeStyle = "rgb(0 0 0 / 70%)";
  context.strokeText(text, x, y);
  context.fillStyle = "rgb(255 255 255 / 85%)";
  context.fillText(text, x, y);
}
