/** Thresholds as sliders: what they change is seen at once. */

import { element, input, show } from "./elements.js";

export class RuleForm {
  /**
   * @param {import("../core/types.js").Description} description
   * @param {(rule: any) => void} changed
   */
  constructor(description, changed) {
    this.description = description;
    const finds = description.task === "segmentation";
    show("rule", finds || description.task === "regions");
    show("foreground-row", finds);
    show("boundary-row", finds && description.outputs.includes("boundary"));
    for (const id of ["foreground", "boundary", "area"]) {
      input(id).addEventListener("input", () => {
        this.write();
        changed(this.rule());
      });
    }
    element("reset").onclick = () => {
      this.reset();
      changed(this.rule());
    };
    this.reset();
  }

  /** The package's own. */
  reset() {
    const { thresholds, instances } = this.description;
    input("foreground").value = String(thresholds.foreground);
    input("boundary").value = String(thresholds.boundary);
    input("area").max = String(Math.max(400, 4 * instances.minimum_area));
    input("area").value = String(instances.minimum_area);
    this.write();
  }

  write() {
    for (const id of ["foreground", "boundary", "area"]) {
      const told = /** @type {HTMLOutputElement} */ (element(`${id}-row`).querySelector("output"));
      told.value = input(id).value;
    }
  }

  rule() {
    // A slider has steps; where it stands as the package says, the package's own number counts.
    const { thresholds } = this.description;
    const own = (/** @type {"foreground" | "boundary"} */ id) => {
      const value = Number(input(id).value);
      return Math.abs(value - thresholds[id]) <= 0.005 ? thresholds[id] : value;
    };
    return {
      thresholds: { foreground: own("foreground"), boundary: own("boundary") },
      minimumArea: Number(input("area").value),
    };
  }
}
