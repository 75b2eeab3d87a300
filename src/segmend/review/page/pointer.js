// Mouse, pen and wheel on a plane.

const NONE = 0, LEFT = 1, RIGHT = 2, MIDDLE = 4;
const WHEEL_STEP = 60; // a notch of a wheel is more, a touch pad sends many small parts

/** Lets a view of a viewer follow the pointer: crosshair, window, panning, slices, zoom. */
export function attachPointer(viewer, view) {
  const { box, canvas } = view;
  let drag = null, rolled = 0;

  box.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!viewer.about) return;
    if (event.ctrlKey) return zoomAt(viewer, view, event, viewer.zoom * 1.2 ** -Math.sign(event.deltaY));
    rolled += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / WHEEL_STEP : event.deltaY;
    const steps = Math.trunc(rolled);
    if (!steps) return;
    rolled = 0;
    viewer.step(Math.sign(steps), view);
  }, { passive: false });

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    if (!viewer.about || !view.placed) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    const pans = event.buttons & MIDDLE || event.shiftKey;
    drag = { kind: pans ? "pan" : event.buttons & RIGHT ? "window" : "cross", x: event.clientX, y: event.clientY };
    if (drag.kind === "cross") pointTo(viewer, view, event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag || event.buttons === NONE) return;
    const [across, down] = [event.clientX - drag.x, event.clientY - drag.y];
    Object.assign(drag, { x: event.clientX, y: event.clientY });
    if (drag.kind === "cross" && event.buttons & LEFT) pointTo(viewer, view, event);
    else if (drag.kind === "pan") pan(viewer, view, across, down);
    else if (drag.kind === "window") changeWindow(viewer, across, down);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (drag = null));
}

/** The voxel under a point of the canvas, with fractions. */
function voxelAt(viewer, { plane, placed }, x, y) {
  const voxel = [...viewer.at];
  const found = [(x - placed.left) / placed.pixelWidth - 0.5, (y - placed.top) / placed.pixelHeight - 0.5];
  [plane.across, plane.down].forEach(({ axis, flipped }, place) => {
    voxel[axis] = flipped ? viewer.about.shape[axis] - 1 - found[place] : found[place];
  });
  return voxel;
}

function pointTo(viewer, view, { offsetX, offsetY }) {
  const voxel = voxelAt(viewer, view, offsetX, offsetY).map(Math.round);
  for (const { axis } of [view.plane.across, view.plane.down]) {
    viewer.at[axis] = Math.min(Math.max(voxel[axis], 0), viewer.about.shape[axis] - 1);
  }
  viewer.load();
}

function pan(viewer, { plane, placed }, across, down) {
  for (const [{ axis, flipped }, pixels] of [
    [plane.across, across / placed.pixelWidth], [plane.down, down / placed.pixelHeight],
  ]) {
    const moved = viewer.focus[axis] - (flipped ? -pixels : pixels);
    viewer.focus[axis] = Math.min(Math.max(moved, 0), viewer.about.shape[axis] - 1);
  }
  viewer.draw();
}

/** Zooms so that what lies under the pointer stays there, as far as the picture reaches. */
function zoomAt(viewer, view, { offsetX, offsetY, target }, zoom) {
  if (target !== view.canvas || !view.placed) return viewer.setZoom(zoom);
  const { plane, placed, box } = view, focus = voxelAt(viewer, view, offsetX, offsetY);
  const growth = Math.min(Math.max(zoom, 1), 16) / viewer.zoom;
  for (const [{ axis, flipped }, pixels] of [
    [plane.across, (box.clientWidth / 2 - offsetX) / (placed.pixelWidth * growth)],
    [plane.down, (box.clientHeight / 2 - offsetY) / (placed.pixelHeight * growth)],
  ]) {
    focus[axis] = Math.min(Math.max(focus[axis] + (flipped ? -pixels : pixels), 0), viewer.about.shape[axis] - 1);
  }
  viewer.setZoom(zoom, focus);
}

function changeWindow(viewer, across, down) {
  const { low, high } = viewer.window, { low: first, high: last } = viewer.about.window[viewer.channel];
  const step = (last - first) / 300, width = Math.max(high - low + across * step, step), level = (low + high) / 2 + down * step;
  viewer.setWindow(level - width / 2, level + width / 2);
}
