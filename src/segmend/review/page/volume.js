// A volume rendering by NiiVue, which is loaded when it is first wanted.

import { address } from "./slices.js";

const BUNDLE = "/static/niivue.umd.js";
const UNSEEN = 4; // entries of a table of colours that are never seen
const FAINT = 60; // of 255
const HAZE = 0.15; // opacity of the scan around the objects
const LAYERS = ["scan", "label", "proposal"];

let loading = null;

function loadNiiVue() {
  loading ??= new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: BUNDLE });
    script.addEventListener("load", () => done(window.niivue));
    script.addEventListener("error", () => {
      loading = null;
      failed(new Error("The program for 3D could not be loaded."));
    });
    document.head.append(script);
  });
  return loading;
}

export class Volume {
  #canvas = null;
  #shown = "";

  /** @param box its element; @param classes of the audit, with their colours. */
  constructor(box, classes) {
    Object.assign(this, { box, classes, seen: { scan: HAZE, label: 1, proposal: 0 } });
    this.status = make("p", "status");
    this.status.setAttribute("role", "status");
    this.switches = make("div", "segments");
    this.switches.setAttribute("role", "group");
    this.switches.setAttribute("aria-label", "what is rendered");
    for (const [layers, text] of [[["label"], "Label"], [["proposal"], "Proposal"], [["label", "proposal"], "Both"]]) {
      const button = Object.assign(make("button", "", text), { type: "button" });
      button.dataset.layers = layers.join(" ");
      button.addEventListener("click", () => this.choose(layers));
      this.switches.append(button);
    }
    const turn = make("label", "", "scan ");
    this.slider = Object.assign(make("input"), { type: "range", min: 0, max: 1, step: 0.05, value: this.seen.scan });
    this.slider.addEventListener("input", () => this.#set("scan", Number(this.slider.value)));
    turn.append(this.slider);
    this.planes = Object.assign(make("button", "", "with planes"), { type: "button" });
    this.planes.setAttribute("aria-pressed", "false");
    this.planes.addEventListener("click", () => this.#showPlanes());
    const bar = make("div", "bar");
    bar.append(this.switches, turn, this.planes, make("small", "", "drag to turn, wheel to zoom"));
    box.append(bar, this.status);
    this.choose(["label"]);
  }

  /** Shows a case; `key` is the label that a server of regions wants to know. */
  async show(about, subject, channel, window) {
    const key = JSON.stringify([about.case, subject.index, subject.key, channel]);
    if (this.#shown === key) return;
    this.#shown = key;
    this.status.textContent = "Loading the volume …";
    delete this.box.dataset.shown; // which hides the one that was there
    try {
      const niivue = await loadNiiVue();
      await this.#open(niivue);
      const of = (layer, values) => address(about.case, `/volume/${layer}.nii.gz`, values);
      const label = subject.key === null ? {} : { label: subject.key };
      await this.viewer.loadVolumes([
        { url: of("scan", { channel }), name: "scan.nii.gz", colormap: "gray", cal_min: window.low, cal_max: window.high },
        { url: of("label", label), name: "label.nii.gz" },
        { url: of("proposal", label), name: "proposal.nii.gz" },
      ]);
      if (this.#shown !== key) return; // another one was wanted meanwhile
      for (const volume of this.viewer.volumes.slice(1)) volume.setColormapLabel(this.#colours(subject.index));
      this.choose(this.chosen);
      this.status.textContent = "";
      this.box.dataset.shown = about.case;
    } catch (error) {
      this.#shown = "";
      this.status.textContent = `The volume cannot be shown: ${error.message}`;
    }
  }

  async #open({ Niivue }) {
    if (this.viewer) return;
    this.#canvas = make("canvas");
    this.#canvas.setAttribute("aria-label", "volume rendering");
    this.box.append(this.#canvas);
    const viewer = new Niivue({
      backColor: [0, 0, 0, 1], dragAndDropEnabled: false, isColorbar: false, logLevel: "error", loadingText: "",
      show3Dcrosshair: false, crosshairWidth: 0, isRadiologicalConvention: true, viewModeHotKey: "", clipPlaneHotKey: "", isOrientCube: true,
    });
    if (!this.#canvas.getContext("webgl2")) {
      this.#canvas.remove();
      throw new Error("this browser has no WebGL 2.");
    }
    await viewer.attachToCanvas(this.#canvas);
    viewer.setSliceType(viewer.sliceTypeRender);
    this.viewer = viewer;
  }

  /**
   * A lookup table by class index; the class that is judged is solid, all others are faint. NiiVue shows what lies near
   * the lower end as the second entry, and above the end as the last one: so there are unseen ones at both ends.
   */
  #colours(chosen) {
    const table = { R: [], G: [], B: [], A: [], I: [], labels: [] };
    const end = Math.max(...this.classes.map(({ index }) => index)) + 1;
    for (let index = -UNSEEN; index <= end; index++) {
      const known = this.classes.find((each) => each.index === index);
      const [red, green, blue] = known?.colour?.match(/[0-9a-f]{2}/gi)?.map((part) => parseInt(part, 16)) ?? [0, 0, 0];
      const alpha = !known ? 0 : index === chosen ? 255 : FAINT;
      for (const [name, value] of Object.entries({ R: red, G: green, B: blue, A: alpha, I: index })) table[name].push(value);
      table.labels.push(known?.name ?? "");
    }
    return table;
  }

  choose(layers) {
    this.chosen = layers;
    for (const button of this.switches.children) {
      button.setAttribute("aria-pressed", button.dataset.layers === layers.join(" "));
    }
    for (const layer of ["label", "proposal"]) this.seen[layer] = layers.includes(layer) ? (layers.length > 1 ? 0.6 : 1) : 0;
    for (const layer of LAYERS) this.#set(layer, this.seen[layer]);
  }

  #set(layer, opacity) {
    this.seen[layer] = opacity;
    const place = LAYERS.indexOf(layer);
    if (this.viewer?.volumes[place]) this.viewer.setOpacity(place, opacity);
  }

  #showPlanes() {
    if (!this.viewer) return;
    const on = this.planes.getAttribute("aria-pressed") !== "true";
    this.planes.setAttribute("aria-pressed", on);
    this.slider.value = on ? 1 : HAZE;
    this.#set("scan", on ? 1 : HAZE);
    this.viewer.setSliceType(on ? this.viewer.sliceTypeMultiplanar : this.viewer.sliceTypeRender);
  }
}
