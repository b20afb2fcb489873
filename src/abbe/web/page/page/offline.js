/** The service worker: the site works without a network, and gets threads. */

/** ms that the page waits for it: without it all works too, more slowly. */
const PATIENCE = 3000;

/**
 * Start it; true where the page comes again now, so that all of it comes by way of the worker.
 *
 * @param {string[]} files All files of the site.
 */
export async function keepOffline(files) {
  if (!("serviceWorker" in navigator) || !isSecureContext) return false;
  try {
    const had = Boolean(navigator.serviceWorker.controller);
    await navigator.serviceWorker.register("sw.js");
    const registration = await Promise.race([navigator.serviceWorker.ready, later(PATIENCE)]);
    if (!registration) throw new Error("the service worker does not start");
    // Once only: where a browser gives no threads all the same, the page works without.
    if (!had && !sessionStorage.getItem("abbe-again")) {
      sessionStorage.setItem("abbe-again", "yes");
      await controlled();
      location.reload();
      return true;
    }
    setTimeout(() => registration.active?.postMessage(["./", ...files]), PATIENCE);
  } catch (problem) {
    console.warn("the site is not kept for the next time:", problem);
  }
  return false;
}

/** Wait until the worker has taken the page over, but not for ever. */
function controlled() {
  if (navigator.serviceWorker.controller) return Promise.resolve();
  const taken = new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
  });
  return Promise.race([taken, later(PATIENCE)]);
}

/** @param {number} time ms @returns {Promise<undefined>} */
function later(time) {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), time));
}
