/** Asks the worker, and waits for its answers. */

export class Problem extends Error {
  /** @param {{message: string, named: boolean, outdated: boolean}} told */
  constructor({ message, named, outdated }) {
    super(message);
    this.named = named;
    this.outdated = outdated;
  }
}

export class Asking {
  constructor() {
    this.worker = new Worker(new URL("../worker.js", import.meta.url), { type: "module" });
    this.last = 0;
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (problem: Error) => void, progress?: (told: any) => void}>} */
    this.open = new Map();
    /** Told of what goes wrong without having been asked. @type {(message: string) => void} */
    this.told = () => {};
    this.worker.onmessage = ({ data }) => {
      if (data.told) this.told(data.told);
      const waiting = this.open.get(data.id);
      if (!waiting) return;
      if (data.progress) {
        waiting.progress?.(data.progress);
        return;
      }
      this.open.delete(data.id);
      if (data.problem) waiting.reject(new Problem(data.problem));
      else waiting.resolve(data.answer);
    };
    this.worker.onerror = (event) => {
      const problem = new Error(event.message || "the worker does not start");
      for (const { reject } of this.open.values()) reject(problem);
      this.open.clear();
    };
  }

  /**
   * @param {string} kind
   * @param {object} asked
   * @param {(told: any) => void} [progress]
   * @returns {Promise<any>}
   */
  ask(kind, asked, progress) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.open.set(id, { resolve, reject, progress });
      this.worker.postMessage({ id, kind, ...asked });
    });
  }
}
