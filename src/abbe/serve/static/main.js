// The page: pictures in, prompts to the server, masks back, objects kept.

import { areaOf } from "./masks.js";
import { get, inOrder, post, put } from "./requests.js";
import { View, hueOf } from "./view.js";
import { Work } from "./work.js";

const byId = (id) => document.getElementById(id);
const works = new Map(); // number of the image → its Work; nothing is lost by looking at another
let images = [];
let number = 0;
let size = null;
let work = null;
let answers = []; // the network's masks for the present prompt
let asking = null;
let loading = null;

const view = new View(byId("canvas"), byId("frame"), {
  onPoint: (x, y, outside) => place((it) => it.addPoint(x, y, outside ? 0 : meaning())),
  onBox: (box) => place((it) => it.setBox(box)),
});

const meaning = () => Number(document.querySelector("input[name=meaning]:checked").value);
const best = () => answers.reduce((top, each, at) => (each.score > answers[top].score ? at : top), 0);
const present = () => answers[Math.min(work?.prompt.choice ?? best(), answers.length - 1)] ?? null;

function say(words, busy = false) {
  byId("status").textContent = words;
  byId("status").classList.toggle("busy", busy);
  byId("canvas").classList.toggle("busy", busy);
}

function fail(error) {
  if (error.name === "AbortError") return;
  byId("error").textContent = error.message;
  byId("error").hidden = false;
  say("");
}

const forgive = () => { byId("error").hidden = true; };

async function open(next) {
  loading?.abort();
  asking?.abort();
  const { signal } = (loading = new AbortController());
  [number, work, answers] = [next, null, []];
  byId("images").value = String(next);
  forgive();
  say("Reading the image…", true);
  render();
  const address = `/api/images/${next}`;
  try {
    const facts = await get(address, signal);
    const picture = new Image();
    picture.src = `${address}/picture`;
    await picture.decode().catch(async () => {
      await get(`${address}/picture`, signal); // says in words what is wrong
      throw new Error("The browser cannot show this picture.");
    });
    if (signal.aborted) return;
    size = { width: facts.width, height: facts.height };
    view.setImage(picture, size);
    byId("canvas").setAttribute("aria-label", `${images[next].name}, ${size.width} × ${size.height} pixels`);
    if (!works.has(next)) works.set(next, new Work(facts.objects, facts.saved, facts.edition));
    const opened = works.get(next);
    say("Encoding the image…", true);
    view.show(opened, null);
    await post(`${address}/encode`, {}, signal);
    if (signal.aborted) return;
    work = opened;
    say("Ready: click in an object, or drag a box around it.");
    await answer();
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

function place(change) {
  if (!work) return;
  forgive();
  change(work);
  answer();
}

// Ask for masks of the present prompt; a later question overtakes an earlier one.
async function answer() {
  asking?.abort();
  if (work.empty) {
    answers = [];
    render();
    return;
  }
  const { signal } = (asking = new AbortController());
  const { points, labels, box } = work.prompt;
  answers = [];
  render();
  say("Asking…", true);
  try {
    const answered = await post(`/api/images/${number}/masks`, { points, labels, box }, signal);
    if (signal.aborted) return;
    answers = answered.masks;
    render();
    tell();
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

function tell() {
  const shown = present();
  if (!shown) return;
  const area = areaOf(shown.counts);
  say(area ? `${area.toLocaleString("en")} px, expected IoU ${shown.score.toFixed(2)}. Enter accepts.`
    : "The network finds nothing here. Try another point, or a box.");
}

function choose(index) {
  if (!work || index >= answers.length || answers.length < 2) return;
  work.choose(index);
  render();
  tell();
}

function accept() {
  const shown = work && present();
  if (!shown) return;
  if (!areaOf(shown.counts)) return tell();
  work.accept(shown);
  answers = [];
  render();
  say(`Object ${work.objects.length} accepted. Go on with the next.`);
}

function undo() {
  if (!work) return;
  forgive();
  if (!work.undo()) return say("Nothing to undo.");
  say("Undone.");
  answer();
}

function remove() {
  if (!work) return;
  forgive();
  if (!work.empty) {
    work.drop();
    say("Dropped. Ctrl+Z brings it back.");
  } else if (work.chosen !== null) {
    say(`Object ${work.chosen + 1} deleted. Ctrl+Z brings it back.`);
    work.remove(work.chosen);
  }
  answer();
}

function select(step) {
  if (!work?.objects.length) return;
  const count = work.objects.length;
  const from = work.chosen ?? (step > 0 ? -1 : count);
  work.select((from + step + count) % count);
  render();
  say(`Object ${work.chosen + 1} of ${count}, ${areaOf(work.objects[work.chosen].counts).toLocaleString("en")} px.`);
}

// The server learns what is accepted and not saved: it saves that when it is ended.
function keep() {
  if (!work || work.keptObjects === work.objects) return;
  const [at, objects] = [number, work.unsaved ? work.objects : null];
  work.keptObjects = work.objects;
  change(work, `/api/images/${at}/unsaved`, objects).catch(fail);
}

// Each change names the edition that it was made from, so that no tab overwrites another's unseen.
function change(changed, address, objects) {
  return inOrder(async () => {
    const answer = await put(address, { objects, edition: changed.edition });
    changed.edition = answer.edition;
    return answer;
  });
}

async function save() {
  if (!work) return;
  const [saving, at] = [work, number];
  const { objects } = saving;
  forgive();
  say("Saving…", true);
  try {
    const { files } = await change(saving, `/api/images/${at}/objects`, objects);
    saving.savedObjects = objects;
    images[at].saved = objects.length;
    label(at);
    say(`Saved ${files.join(" and ")}.`);
    render();
  } catch (error) {
    fail(error);
  }
}

function label(at) {
  const { name, saved } = images[at];
  byId("images").options[at].textContent = saved ? `${name}  (${saved} saved)` : name;
}

function turn(step) {
  const next = number + step;
  if (next < 0 || next >= images.length) return say(step < 0 ? "This is the first image." : "This is the last image.");
  open(next);
}

function render() {
  const shown = work ? present() : null;
  if (work) view.show(work, shown);
  keep();
  const { points = [], box = null } = work?.prompt ?? {};
  const parts = [points.length && `${points.length} point${points.length > 1 ? "s" : ""}`, box && "a box"];
  byId("prompts").textContent = parts.filter(Boolean).join(" and ");
  byId("accept").disabled = !shown;
  byId("undo").disabled = !work?.past.length;
  byId("clear").disabled = !work || work.empty;
  byId("previous").disabled = number === 0;
  byId("next").disabled = number >= images.length - 1;
  byId("save").disabled = !work?.unsaved;
  byId("saved").textContent = !work ? "" : work.unsaved ? "Not saved yet" : work.objects.length ? "All saved" : "";
  renderChoices(shown);
  renderObjects();
}

function renderChoices(shown) {
  const field = byId("choices");
  field.hidden = answers.length < 2;
  field.querySelectorAll("label").forEach((each) => each.remove());
  if (field.hidden) return;
  answers.forEach((each, index) => {
    const line = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "choice", checked: each === shown });
    input.setAttribute("aria-label", `Mask ${index + 1}, expected IoU ${each.score.toFixed(2)}`);
    input.addEventListener("change", () => choose(index));
    const text = document.createElement("span");
    text.append(`${index + 1} `, Object.assign(document.createElement("small"), { textContent: each.score.toFixed(2) }));
    line.append(input, text);
    field.append(line);
  });
}

function renderObjects() {
  const objects = work?.objects ?? [];
  byId("count").textContent = objects.length ? `(${objects.length})` : "";
  byId("none").hidden = objects.length > 0;
  byId("objects").replaceChildren(...objects.map((object, index) => {
    const line = document.createElement("li");
    const name = Object.assign(document.createElement("button"), { className: "name" });
    name.setAttribute("aria-pressed", String(work.chosen === index));
    const chip = Object.assign(document.createElement("i"), { className: "chip" });
    chip.style.background = `rgb(${hueOf(index)})`;
    const area = document.createElement("small");
    area.textContent = `${areaOf(object.counts).toLocaleString("en")} px`;
    name.append(chip, `Object ${index + 1}`, area);
    name.addEventListener("click", () => { work.select(work.chosen === index ? null : index); render(); });
    const drop = Object.assign(document.createElement("button"), { className: "remove", textContent: "×" });
    drop.setAttribute("aria-label", `Delete object ${index + 1}`);
    drop.addEventListener("click", () => { work.remove(index); render(); say(`Object ${index + 1} deleted. Ctrl+Z brings it back.`); });
    line.append(name, drop);
    return line;
  }));
}

function placeByNumbers(event) {
  event.preventDefault();
  const numbers = byId("coordinates").value.split(/[\s,;]+/).filter(Boolean).map(Number);
  if (![2, 4].includes(numbers.length) || numbers.some(Number.isNaN)) {
    return fail(new Error("Give two numbers for a point (x, y), or four for a box (left, top, right, bottom)."));
  }
  const limits = [size?.width, size?.height];
  if (numbers.some((value, at) => value < 0 || value > limits[at % 2])) {
    return fail(new Error(`That lies outside the image of ${limits.join(" × ")} pixels.`));
  }
  place((it) => (numbers.length === 2 ? it.addPoint(...numbers, meaning()) : it.setBox(numbers)));
}

const KEYS = {
  Enter: accept,
  Delete: remove,
  Backspace: remove,
  ArrowLeft: () => turn(-1),
  ArrowRight: () => turn(1),
  ArrowUp: () => select(-1),
  ArrowDown: () => select(1),
  1: () => choose(0),
  2: () => choose(1),
  3: () => choose(2),
  "+": () => view.zoom(1.5),
  "-": () => view.zoom(1 / 1.5),
  "?": () => byId("help").showModal(),
};

function onKey(event) {
  if (byId("help").open) return;
  const typing = event.target.matches("input:not([type=radio]), select");
  if (event.ctrlKey || event.metaKey) {
    const action = { z: undo, s: save }[event.key.toLowerCase()];
    if (!action || (typing && action === undo)) return;
    event.preventDefault();
    action();
    return;
  }
  // Buttons, choices and fields keep the keys that are theirs.
  const own = event.target.matches("button, summary") ? ["Enter"]
    : event.target.matches("input[type=radio]") ? ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] : [];
  if (typing || event.altKey || own.includes(event.key) || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
}

async function start() {
  byId("images").addEventListener("change", (event) => open(Number(event.target.value)));
  const actions = {
    previous: () => turn(-1), next: () => turn(1), accept, undo, clear: remove, save,
    "zoom-in": KEYS["+"], "zoom-out": KEYS["-"], "help-button": KEYS["?"],
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", () => action());
  byId("numbers").addEventListener("submit", placeByNumbers);
  document.addEventListener("keydown", onKey);
  addEventListener("beforeunload", (event) => {
    if ([...works.values()].some((each) => each.unsaved)) event.preventDefault();
  });
  render();
  try {
    const session = await get("/api/session");
    images = session.images;
    byId("title").textContent = document.title = session.title;
    byId("images").replaceChildren(...images.map((_, at) => new Option("", String(at))));
    images.forEach((_, at) => label(at));
    await open(0);
  } catch (error) {
    fail(error);
  }
}

start();
