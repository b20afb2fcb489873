/** The keyboard, and the small buttons that do the same. */

import { element, input } from "./elements.js";

const PAN = 60; // px of the screen

/** @param {any} page */
export function listenToKeys(page) {
  const { viewer, results, prompting, editing } = page;
  element("closer").onclick = () => viewer.zoomBy(1.5);
  element("farther").onclick = () => viewer.zoomBy(1 / 1.5);
  element("fit").onclick = () => viewer.fit();
  const help = /** @type {HTMLDialogElement} */ (element("help"));
  element("help-button").onclick = () => help.showModal();
  const prompted = page.description.task === "promptable";
  for (const each of document.querySelectorAll(".prompted")) {
    /** @type {HTMLElement} */ (each).hidden = !prompted;
  }
  for (const each of document.querySelectorAll(".edited")) {
    /** @type {HTMLElement} */ (each).hidden = !editing.possible;
  }
  for (const each of document.querySelectorAll(".of-server, .of-site")) {
    /** @type {HTMLElement} */ (each).hidden = each.matches(".of-site") === Boolean(page.site.server);
  }
  listenToTheme(viewer);
  const toggled = (/** @type {string} */ id) => {
    input(id).checked = !input(id).checked;
    input(id).dispatchEvent(new Event("input"));
  };
  /** @type {Record<string, () => void>} */
  const keys = {
    ...(page.site.server
      ? { PageUp: () => page.images.turnTo(page.images.number - 1), PageDown: () => page.images.turnTo(page.images.number + 1) }
      : { o: () => input("file").click() }),
    "+": () => viewer.zoomBy(1.5), "=": () => viewer.zoomBy(1.5), "-": () => viewer.zoomBy(1 / 1.5),
    0: () => viewer.fit(),
    ArrowLeft: () => viewer.moveBy(PAN, 0), ArrowRight: () => viewer.moveBy(-PAN, 0),
    ArrowUp: () => viewer.moveBy(0, PAN), ArrowDown: () => viewer.moveBy(0, -PAN),
    j: () => results.step(1), k: () => results.step(-1),
    f: () => results.toggleFill(), l: () => toggled("outlines"), "?": () => help.showModal(),
    Escape: () => {
      page.stop();
      results.choose(0);
      if (prompted) prompting.clear();
    },
    ...(editing.possible ? editingKeys(page) : {}),
    ...(prompted ? { Enter: () => prompting.keep(), n: () => prompting.next() } : {}),
  };
  addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (document.querySelector("dialog[open]")) return;
    const control = (event.ctrlKey || event.metaKey) && event.key.toLowerCase();
    if (page.site.server && control === "s") {
      event.preventDefault();
      page.store();
      return;
    }
    const typing = target.matches("input:not([type=checkbox], [type=radio], [type=range]), select, textarea");
    if (control === "z" && editing.possible && !typing) {
      event.preventDefault();
      if (prompted) prompting.undo();
      else editing.undo();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
    if (target.matches("button, summary") && event.key === "Enter") return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** @param {any} page @returns {Record<string, () => void>} */
function editingKeys({ editing, prompting, viewer }) {
  const remove = () => (prompting.prompted ? prompting.remove() : editing.remove());
  const numbers = Array.from({ length: 9 }, (_, i) => [
    String(i + 1), () => (prompting.masks.length ? prompting.pick(i) : editing.pick(i)),
  ]);
  return {
    ...Object.fromEntries(numbers),
    b: () => editing.use("brush"), e: () => editing.use("eraser"), v: () => editing.use("choose"),
    "[": () => editing.resize(2 * viewer.radius - Math.max(1, viewer.radius / 4)),
    "]": () => editing.resize(2 * viewer.radius + Math.max(1, viewer.radius / 4)),
    Delete: remove, Backspace: remove,
  };
}

/** Light or dark: as the system has it, until the user says otherwise. @param {any} viewer */
function listenToTheme(viewer) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("abbe-theme") ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = chosen;
    viewer.draw();
  };
  dark.addEventListener("change", apply);
  element("theme").onclick = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("abbe-theme", next);
    apply();
  };
  apply();
}
