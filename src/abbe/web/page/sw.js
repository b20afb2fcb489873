/*
 * Keeps the site for the next time, also without a network, and gives it the headers that threads
 * need (cross-origin isolation). It knows the files of this site alone and sends nothing anywhere.
 */
const CACHE = "abbe-@VERSION@";

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => {
  const scope = new URL(self.registration.scope).pathname;
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.endsWith(` ${scope}`) && name !== `${CACHE} ${scope}`) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("message", (event) => {
  event.waitUntil(event.data.reduce((before, file) => before.then(() => kept(file)), Promise.resolve()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  if (request.url.includes(".zarr/")) return; // images beside the site are no part of it
  event.respondWith(kept(request.url.split(/[?#]/)[0]));
});

async function kept(file) {
  const url = new URL(file, self.registration.scope);
  const cache = await caches.open(`${CACHE} ${new URL(self.registration.scope).pathname}`);
  // All files of one version belong together: a new version of the site has a new worker.
  const known = await cache.match(url.href);
  if (known) return isolated(known);
  const answer = await fetch(url.href, { cache: "no-cache" });
  if (answer.ok) await cache.put(url.href, answer.clone());
  return isolated(answer);
}

function isolated(answer) {
  const headers = new Headers(answer.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  if (answer.url.endsWith(".js")) headers.set("Content-Type", "text/javascript");
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
