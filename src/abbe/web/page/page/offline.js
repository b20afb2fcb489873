/** The service worker: the site works without a network, and gets threads. */

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
    const { active } = await navigator.serviceWorker.ready;
    // Once only: where a browser gives no threads all the same, the page works without.
    if (!had && !sessionStorage.getItem("abbe-again")) {
      sessionStorage.setItem("abbe-again", "yes");
      await controlled();
      location.reload();
      return true;
    }
    setTimeout(() => active?.postMessage(["./", ...files]), 3000);
  } catch (problem) {
    console.warn("the site is not kept for the next time:", problem);
  }
  return false;
}

/** Wait until the worker has taken the page over, but not for ever. */
function controlled() {
  if (navigator.serviceWorker.controller) return Promise.resolve();
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(resolve, 2000);
  });
}
