/** The model card: the Markdown that Abbe writes, as elements; nothing in it is run. */

/** @param {string} text @returns {HTMLElement} */
export function cardOf(text) {
  const box = document.createElement("div");
  const lines = text.replace(/^---\n[\s\S]*?\n---\n/, "").split("\n");
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    const taken = blockAt(lines, at);
    if (taken.element) box.append(taken.element);
    at = Math.max(taken.next, at + 1);
    if (!line.trim()) continue;
  }
  return box;
}

/** @param {string[]} lines @param {number} at @returns {{element: HTMLElement | null, next: number}} */
function blockAt(lines, at) {
  const line = lines[at];
  const until = (/** @type {(line: string) => boolean} */ stop) => {
    let end = at + 1;
    while (end < lines.length && !stop(lines[end])) end++;
    return end;
  };
  if (!line.trim()) return { element: null, next: at + 1 };
  const heading = /^(#{1,4}) (.*)/.exec(line);
  if (heading) return { element: withText(`h${Math.min(heading[1].length + 1, 5)}`, heading[2]), next: at + 1 };
  if (line.startsWith("```")) {
    const end = until((each) => each.startsWith("```"));
    const element = document.createElement("pre");
    element.textContent = lines.slice(at + 1, end).join("\n");
    return { element, next: end + 1 };
  }
  if (line.startsWith("|")) {
    const end = until((each) => !each.startsWith("|"));
    return { element: tableOf(lines.slice(at, end)), next: end };
  }
  if (line.startsWith("- ")) {
    const end = until((each) => !each.startsWith("- "));
    const list = document.createElement("ul");
    list.append(...lines.slice(at, end).map((each) => withText("li", each.slice(2))));
    return { element: list, next: end };
  }
  const end = until((each) => !each.trim() || /^(#|\||- |```)/.test(each));
  return { element: withText("p", lines.slice(at, end).join(" ")), next: end };
}

/** @param {string[]} lines */
function tableOf(lines) {
  const table = document.createElement("table");
  lines.filter((line) => !/^[|\s:-]+$/.test(line) || /^\|[ |]*\|$/.test(line)).forEach((line, i) => {
    const cells = line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/);
    if (cells.every((cell) => !cell.trim())) return;
    const row = document.createElement("tr");
    row.append(...cells.map((cell) => withText(i ? "td" : "th", cell.trim())));
    table.append(row);
  });
  const box = document.createElement("div");
  box.className = "scroll";
  box.append(table);
  return box;
}

/** @param {string} tag @param {string} text @returns {HTMLElement} */
function withText(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text.replace(/[`*]+/g, "").replace(/\\([|<>_*`])/g, "$1");
  return element;
}
