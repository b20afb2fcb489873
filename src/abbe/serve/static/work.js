// What is being worked on for one image: the present prompt, the objects accepted, and a way back.

export const nothing = Object.freeze({ points: [], labels: [], box: null, choice: null });

export class Work {
  constructor(objects, saved, edition) {
    this.now = { prompt: nothing, objects, chosen: null };
    this.past = [];
    this.savedObjects = saved ? objects : null;
    this.edition = edition; // of what the server has; it refuses changes of an earlier one
    this.keptObjects = objects; // what the server knows of, saved or not
  }

  get prompt() { return this.now.prompt; }
  get objects() { return this.now.objects; }
  get chosen() { return this.now.chosen; }
  get empty() { return !this.prompt.points.length && !this.prompt.box; }
  get unsaved() { return this.objects !== this.savedObjects; }

  addPoint(x, y, label) {
    const { points, labels } = this.prompt;
    this.#prompt({ points: [...points, [x, y]], labels: [...labels, label], choice: null });
  }

  setBox(box) { this.#prompt({ box, choice: null }); }
  choose(choice) { this.#prompt({ choice }); }
  drop() { this.#step({ prompt: nothing }); }

  accept(object) {
    this.#step({ prompt: nothing, objects: [...this.objects, object], chosen: null });
  }

  remove(index) {
    this.#step({ objects: this.objects.filter((_, other) => other !== index), chosen: null });
  }

  select(index) { this.now = { ...this.now, chosen: index }; }

  undo() {
    if (!this.past.length) return false;
    this.now = this.past.pop();
    return true;
  }

  #prompt(change) { this.#step({ prompt: { ...this.prompt, ...change } }); }

  #step(change) {
    this.past.push(this.now);
    this.now = { ...this.now, ...change };
  }
}
