// One box beside what is looked at: for the pointer, for the focus, and for a finger. Escape puts it away.

import { el } from "./dom.js";
import { onKey } from "./keys.js";

const GAP = 6; // pixels
const LINGER = 120; // ms in which the pointer may go over into the box

let box = null;
let timer = null;
let anchor = null;

/** Show `nodes` beside `at`. */
export function showTip(at, nodes) {
  clearTimeout(timer);
  if (box === null) {
    box = el("div", { class: "tip", id: "tip", role: "tooltip", popover: "manual" });
    box.addEventListener("mouseenter", () => clearTimeout(timer));
    box.addEventListener("mouseleave", () => hideTip());
    document.body.append(box);
    document.addEventListener("scroll", () => hideTip(true), { capture: true, passive: true });
    onKey(document, (event) => event.key === "Escape" && hideTip(true), { capture: true });
  }
  anchor = at;
  box.replaceChildren(...nodes);
  if (!box.matches(":popover-open")) box.showPopover();
  const { left, top, bottom, width } = at.getBoundingClientRect();
  const { offsetWidth, offsetHeight } = box;
  const x = Math.min(Math.max(left + width / 2 - offsetWidth / 2, 8), innerWidth - offsetWidth - 8);
  const above = top - offsetHeight - GAP;
  box.style.setProperty("left", `${x}px`);
  box.style.setProperty("top", `${above >= 8 ? above : bottom + GAP}px`);
}

/** Put it away: soon, or `now`. */
export function hideTip(now = false) {
  clearTimeout(timer);
  if (!anchor) return;
  const hide = () => {
    anchor = null;
    if (box.matches(":popover-open")) box.hidePopover();
  };
  if (now) hide();
  else timer = setTimeout(hide, LINGER);
}

/**
 * Listeners for a button that has something to show: `nodes()` is called when it is looked at, and `looked(on)`
 * then and afterwards.
 */
export function tipOn(nodes, looked = () => {}) {
  const show = ({ currentTarget }) => {
    showTip(currentTarget, nodes());
    looked(true);
  };
  const hide = (now) => () => {
    hideTip(now);
    looked(false);
  };
  return { mouseenter: show, focus: show, click: show, mouseleave: hide(false), blur: hide(true) };
}
