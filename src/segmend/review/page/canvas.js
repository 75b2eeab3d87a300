// One plane on its canvas: where the slice lies, and all that is drawn over it.

import { Outlines, drawBar, drawCross, drawMasks, drawSides, greyCanvas } from "./draw.js";

/** Column and row of a voxel in a plane. */
const onPlane = ({ across, down }, shape, voxel) =>
  [across, down].map(({ axis, flipped }) => flipped ? shape[axis] - 1 - voxel[axis] : voxel[axis]);

/** Where a slice lies on its canvas, and how many pixels of the screen a mm has. */
function placeOf({ plane, box }, { about: { shape, spacing }, zoom, focus }) {
  const width = shape[plane.across.axis], height = shape[plane.down.axis];
  const across = spacing[plane.across.axis], down = spacing[plane.down.axis];
  const scale = zoom * Math.min(box.clientWidth / (width * across), box.clientHeight / (height * down));
  const [column, row] = onPlane(plane, shape, focus), pixelWidth = scale * across, pixelHeight = scale * down;
  const left = startOf(box.clientWidth, width, pixelWidth, column), top = startOf(box.clientHeight, height, pixelHeight, row);
  return { left, top, pixelWidth, pixelHeight, width, height, scale };
}

/** Draws a view of a viewer; the number on it is that of the slice that is seen, while another one is on its way. */
export function drawView(viewer, view) {
  const { plane, canvas, box, shown } = view, { at, about, planar } = viewer;
  const sharpness = window.devicePixelRatio || 1;
  canvas.width = box.clientWidth * sharpness;
  canvas.height = box.clientHeight * sharpness;
  const context = canvas.getContext("2d");
  context.scale(sharpness, sharpness);
  view.placed = placeOf(view, viewer);
  view.slider.value = at[plane.axis];
  view.title.textContent = `${plane.name} ${(shown?.place.index ?? at[plane.axis]) + 1} / ${plane.slices}`;
  if (!shown) return;
  const { left, top, pixelWidth, pixelHeight, width, height, scale } = view.placed;
  const key = JSON.stringify(viewer.window);
  if (view.grey?.key !== key) view.grey = { key, canvas: greyCanvas(shown.scan, shown.place, viewer.window) };
  context.imageSmoothingQuality = "high";
  context.drawImage(view.grey.canvas, left, top, width * pixelWidth, height * pixelHeight);
  view.outlines ??= new Outlines(shown.masks, viewer.subject);
  drawMasks(context, view.outlines, view.placed, viewer);
  if (!planar) drawCross(context, view.placed, ...onPlane(plane, about.shape, at));
  drawBar(context, box, scale, viewer.unit);
  if (!planar) drawSides(context, box, view.title, plane);
}
