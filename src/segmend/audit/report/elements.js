// Words and elements: one manner for the page of an audit and for 'segmend review'.

const KINDS = {
  ok: "ok", missing: "piece missing", extra: "piece too much", under_segmented: "under-segmented",
  over_segmented: "over-segmented", swap: "wrong class", object_missing: "object missed", object_extra: "false object",
  slices: "slices left out",
};
const SIGNS = { accept: "✓", reject: "✗", unsure: "?" };
const DONE = { accept: "accepted", reject: "rejected", unsure: "unsure" };

const byId = (id) => document.getElementById(id);
const words = (kind) => KINDS[kind] ?? kind.replaceAll("_", " ");
const number = (value, digits) => value === null ? "–" : value.toFixed(digits);

/** An element with a class and text in it; text never becomes markup. */
function make(tag, kind = "", text = "") {
  return Object.assign(document.createElement(tag), { className: kind, textContent: text });
}
