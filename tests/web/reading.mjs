// What the page reads of files: node reading.mjs SITE FOLDER, whose files.json names them.
// Facts are printed as JSON; the pixels of file N lie in N.out, those of a part of it in N.part, as float64.
import { openAsBlob, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , site, folder] = process.argv;
globalThis.GeoTIFF = createRequire(import.meta.url)(join(site, "lib", "geotiff.js"));
globalThis.FileReader = class {
  /** Browsers have it, and node has not. */
  readAsArrayBuffer(blob) {
    blob.arrayBuffer().then((result) => this.onload({ target: Object.assign(this, { result }) }));
  }
};
const { openPicture } = await import(pathToFileURL(join(site, "formats", "open.js")).href);
const numbers = (planes) => Float64Array.from(planes.flatMap((plane) => [...plane]));
const facts = [];
const { files, part } = JSON.parse(readFileSync(join(folder, "files.json"), "utf8"));
for (const [number, file] of files.entries()) {
  try {
    const { width, height, channels, planes, notes, read, pixelSize } = await openPicture(await openAsBlob(file), file);
    writeFileSync(join(folder, `${number}.out`), numbers(planes));
    if (read) writeFileSync(join(folder, `${number}.part`), numbers(await read(0, part)));
    facts.push({ width, height, channels, notes, pixelSize });
  } catch (problem) {
    facts.push({ problem: problem.message });
  }
}
console.log(JSON.stringify(facts));
process.exit(0);
