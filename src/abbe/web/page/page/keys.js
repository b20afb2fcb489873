/** The keyboard, and the small buttons that do the same. */

import { element, input } from "./elements.js";

const PAN = 60; // px of the screen

/** @param {any} page */
export function listenToKeys(page) {
  const { viewer, results, prompting } = page;
  element("closer").onclick = () => viewer.zoomBy(1.5);
  element("farther").onclick = () => viewer.zoomBy(1 / 1.5);
  element("fit").onclick = () => viewer.fit();
  const help = /** @type {HTMLDialogElement} */ (element("help"));
  element("help-button").onclick = () => help.showModal();
  const prompted = page.description.task === "promptable";
  for (const each of document.querySelectorAll(".prompted")) {
    /** @type {HTMLElement} */ (each).hidden = !prompted;
  }
  for (const each of document.querySelectorAll(".of-server")) {
    /** @type {HTMLElement} */ (each).hidden = !page.site.server;
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
    ...(prompted ? { Enter: () => prompting.keep(), n: () => prompting.next(), Delete: () => prompting.remove(), Backspace: () => prompting.remove() } : {}),
  };
  addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (document.querySelector("dialog[open]")) return;
    if (prompted && event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      prompting.undo();
      return;
    }
    const typing = target.matches("input:not([type=checkbox]), select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
    if (target.matches("button") && event.key === "Enter") return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
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
