// The keyboard.

const TYPING = "input:not([type=checkbox]):not([type=range]), textarea";

/** Calls actions by the key that is pressed, unless somebody types or a window is open. */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { target } = event;
    if (document.querySelector("dialog[open]") || target.closest?.(TYPING)) return;
    const arrows = event.key.startsWith("Arrow") || event.key.startsWith("Page");
    if (arrows && target.closest?.("select, input[type=range], canvas")) return;
    if (target.closest?.("select") && event.key.length === 1) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const shifted = event.shiftKey && /^[a-z]$/.test(name) ? `Shift ${name}` : name;
    if (!Object.hasOwn(actions, shifted)) return;
    event.preventDefault();
    actions[shifted]();
  });
}
