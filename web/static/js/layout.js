// The parts of the page that open and close: the list (a drawer on a phone), the panel, the menu, notices.

import { byId, el } from "./dom.js";
import { onKey } from "./keys.js";

const NOTICE = 6000; // ms
const PANES = ["persona", "you", "settings", "inspect"];
const phone = matchMedia("(max-width: 760px)");

export function setUpSidebar() {
  const sidebar = byId("sidebar");
  const opener = byId("open-sidebar");
  const backdrop = byId("backdrop");

  function set(open) {
    const was = sidebar.classList.contains("drawn");
    sidebar.classList.toggle("drawn", open);
    opener.setAttribute("aria-expanded", String(open));
    backdrop.hidden = !(open && phone.matches);
    sidebar.inert = phone.matches && !open;
    byId("chat").inert = phone.matches && open;
    if (open && !was) byId("close-sidebar").focus();
    if (!open && was && phone.matches) opener.focus();
  }

  opener.addEventListener("click", () => set(true));
  byId("close-sidebar").addEventListener("click", () => set(false));
  backdrop.addEventListener("click", () => set(false));
  phone.addEventListener("change", () => set(false));
  set(false);
  return { open: () => set(true), close: () => set(false), isOpen: () => sidebar.classList.contains("drawn") };
}

/** The panel on the right with its tabs; `shown(name)` is called when a pane comes to be seen. */
export function setUpPanel(shown) {
  const panel = byId("panel");
  let current = null;
  let before = null; // what had the focus

  function set(name, focus = true) {
    if (name && !current) before = document.activeElement;
    current = name;
    panel.hidden = name === null;
    byId("app").classList.toggle("with-panel", name !== null);
    byId("chat").inert = name !== null && phone.matches;
    for (const pane of PANES) {
      const selected = pane === name;
      byId(`pane-${pane}`).hidden = !selected;
      const tab = byId(`tab-${pane}`);
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      const button = document.querySelector(`[data-panel="${pane}"]`);
      button.setAttribute("aria-expanded", String(selected));
    }
    if (name) {
      shown(name);
      if (focus) byId(`tab-${name}`).focus();
    } else if (focus) (before?.isConnected && !before.closest("[hidden]") ? before : byId("message")).focus();
  }

  for (const button of document.querySelectorAll("[data-panel]"))
    button.addEventListener("click", () => set(current === button.dataset.panel ? null : button.dataset.panel));
  for (const tab of document.querySelectorAll("[data-tab]")) {
    tab.addEventListener("click", () => set(tab.dataset.tab));
    onKey(tab, (event) => {
      const step = { ArrowRight: 1, ArrowLeft: PANES.length - 1 }[event.key];
      if (step) set(PANES[(PANES.indexOf(tab.dataset.tab) + step) % PANES.length]);
    });
  }
  byId("close-panel").addEventListener("click", () => set(null));
  phone.addEventListener("change", () => (byId("chat").inert = current !== null && phone.matches));
  set(null, false);
  return {
    show: (name) => set(name),
    toggle: (name) => set(current === name ? null : name),
    close: () => set(null),
    covers: () => current !== null && phone.matches,
    current: () => current,
  };
}

/** A menu button with its items, by the pattern of the ARIA Authoring Practices. */
export function setUpMenu(actions) {
  const menu = byId("menu");
  const opener = byId("open-menu");
  const items = [...menu.querySelectorAll("[role=menuitem]")];

  function set(open, focus = true) {
    menu.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) items[0].focus();
    else if (focus) opener.focus();
  }

  opener.addEventListener("click", () => set(menu.hidden));
  menu.addEventListener("click", (event) => {
    const item = event.target.closest("[data-do]");
    if (!item) return;
    set(false);
    actions[item.dataset.do]();
  });
  onKey(menu, (event) => {
    const at = items.indexOf(document.activeElement);
    const to = {
      ArrowDown: (at + 1) % items.length,
      ArrowUp: (at + items.length - 1) % items.length,
      Home: 0,
      End: items.length - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      items[to].focus();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      set(false);
    } else if (event.key === "Tab") set(false);
  });
  document.addEventListener("pointerdown", (event) => {
    if (!menu.hidden && !event.target.closest(".menu-holder")) set(false, false);
  });
}

/** A notice that goes by itself; those about errors stay until the next one, or a click. */
export function notify(text, kind = "done") {
  const toasts = byId("toasts");
  const close = el("button", { type: "button", class: "link", text: "Dismiss" });
  const toast = el("div", { class: `toast ${kind}` }, el("span", { text }), close);
  close.addEventListener("click", () => toast.remove());
  toasts.replaceChildren(toast);
  if (kind !== "error") setTimeout(() => toast.remove(), NOTICE);
}
