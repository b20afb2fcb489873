// Ask a service of `abbe serve --api` about an image; Node.js 18 or newer, or a browser's fetch.
//
// node client.mjs http://127.0.0.1:8000 nuclei cells.png
//
// The token, where one is needed, is read from the variable ABBE_TOKEN. From a page of another
// address the service must be started with --origins and that address.

import { readFile } from "node:fs/promises";
import { extname } from "node:path";

/** The service's answer; waits and asks again while too much waits there. */
export async function predict(service, package_, image, { query = {}, prompts, token } = {}) {
  const form = new FormData();
  form.set("image", image.bytes, `image${image.ending}`); // the ending tells; names may be private
  if (prompts) form.set("prompts", JSON.stringify(prompts));
  const address = `${service}/v1/packages/${package_}/predict?${new URLSearchParams(query)}`;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  for (let tries = 0; tries < 20; tries += 1) {
    const response = await fetch(address, { method: "POST", body: form, headers });
    if (response.ok) return response;
    const { error } = await response.json();
    if (response.status !== 503) throw new Error(`${response.status}: ${error}`);
    await new Promise((go) => setTimeout(go, 1000 * Number(response.headers.get("Retry-After"))));
  }
  throw new Error("the service has too much to do");
}

const [service, package_, path] = process.argv.slice(2);
const image = { bytes: new Blob([await readFile(path)]), ending: extname(path) };
const options = { query: { answer: "json" }, token: process.env.ABBE_TOKEN };
const { count, objects } = await (await predict(service, package_, image, options)).json();
console.log(`${count} objects`);
for (const each of objects) {
  console.log(`${each.label}: ${each.area_px} px at ${each.x.toFixed(1)}, ${each.y.toFixed(1)}`);
}
