// Controls around the picture: outlines and modes, window, channel, zoom, and where one is.

const MASKS_OF = { outlines: ["given", "proposal", "issue", "other"], before: ["other"], after: ["other"], difference: ["given", "proposal"] };

/** Position as people and programs count: voxel index, and mm in the patient. */
export function describePlace({ at, about, planar }) {
  if (planar) return `pixel ${at[0]}, ${at[1]}`;
  const voxel = `voxel ${at.join(", ")}`;
  if (!about.affine) return voxel;
  const mm = about.affine.slice(0, 3).map(([x, y, z, start]) => x * at[0] + y * at[1] + z * at[2] + start);
  return `${voxel} · RAS ${mm.map((value) => value.toFixed(1)).join(", ")} mm`;
}

export class Controls {
  /** @param viewer that they control; @param audit what the server knows of the audit. */
  constructor(viewer, { channels, presets }) {
    Object.assign(this, { viewer, presets: presets ?? [] });
    byId("channel").replaceChildren(...channels.map((name, index) => new Option(name, index)));
    byId("channel").hidden = channels.length < 2;
    byId("preset").replaceChildren(new Option("window", ""), ...this.presets.map(({ name }) => new Option(name, name)));
    byId("preset").hidden = !this.presets.length;
    byId("channel").addEventListener("input", () => viewer.setChannel(Number(byId("channel").value)));
    byId("preset").addEventListener("input", () => this.#choose(this.presets.find(({ name }) => name === byId("preset").value)));
    for (const id of ["level", "width"]) byId(id).addEventListener("input", () => this.#slide());
    byId("zoom").addEventListener("input", () => viewer.setZoom(Number(byId("zoom").value)));
    byId("reset").addEventListener("click", () => viewer.reset());
    byId("single").addEventListener("click", () => viewer.setSingle(!viewer.single));
    for (const button of document.querySelectorAll("[data-mask]")) {
      button.addEventListener("click", () => viewer.toggle(button.dataset.mask));
    }
    for (const button of document.querySelectorAll("[data-mode]")) {
      button.addEventListener("click", () => viewer.setMode(button.dataset.mode));
    }
    viewer.addEventListener("change", () => this.describe());
  }

  nextPreset() {
    if (!this.presets.length || !this.viewer.about) return;
    const at = this.presets.findIndex(({ name }) => name === byId("preset").value);
    this.#choose(this.presets[(at + 1) % this.presets.length]);
  }

  #choose(preset) {
    if (preset) this.viewer.setWindow(preset.low, preset.high);
    else this.viewer.reset();
  }

  #slide() {
    const level = Number(byId("level").value), half = Number(byId("width").value) / 2;
    this.viewer.setWindow(level - half, level + half);
  }

  describe() {
    const { viewer } = this, { low, high } = viewer.window;
    const { low: first, high: last } = viewer.about.window[viewer.channel], span = last - first;
    const level = byId("level"), width = byId("width");
    [level.min, level.max] = [Math.min(first - span, low), Math.max(last + span, high)];
    [width.min, width.max] = [span / 100, Math.max(3 * span, high - low)];
    [level.value, width.value] = [(low + high) / 2, high - low];
    byId("window").textContent = `${short(low)} to ${short(high)}`;
    byId("zoom").value = viewer.zoom;
    byId("channel").value = viewer.channel;
    byId("preset").value = this.presets.find((preset) => preset.low === low && preset.high === high)?.name ?? "";
    byId("place").textContent = describePlace(viewer);
    byId("single").hidden = byId("solid").hidden = viewer.planar;
    byId("single").setAttribute("aria-pressed", viewer.single);
    for (const button of document.querySelectorAll("[data-mask]")) {
      button.setAttribute("aria-pressed", viewer.shown.has(button.dataset.mask));
      button.disabled = !MASKS_OF[viewer.mode].includes(button.dataset.mask);
    }
    for (const button of document.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", viewer.mode === button.dataset.mode);
    }
  }
}

const short = (value) => Number(value.toPrecision(3)).toString();
