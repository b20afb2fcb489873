/** Short words for what every part of the page does with its elements. */

/** @param {string} id @returns {HTMLElement} */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element '${id}'`);
  return found;
}

/** @param {string} id @returns {HTMLInputElement} */
export function input(id) {
  return /** @type {HTMLInputElement} */ (element(id));
}

/** @param {string} id @param {boolean} shown */
export function show(id, shown) {
  element(id).hidden = !shown;
}

/**
 * A new element.
 *
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {(Node | string)[]} [children]
 * @returns {HTMLElement}
 */
export function made(tag, properties = {}, children = []) {
  const found = Object.assign(document.createElement(tag), properties);
  found.append(...children);
  return found;
}
