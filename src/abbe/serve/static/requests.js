// Requests to the server; a refusal becomes an Error in the server's own words.

export async function ask(address, { method = "GET", body, signal } = {}) {
  const options = { method, signal };
  if (method !== "GET") {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body ?? {});
  }
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is 'abbe serve' still running?");
  }
  if (answer.ok) return answer.json();
  const words = await answer.json().then((said) => said.error, () => null);
  throw new Error(words ?? `The server failed (${answer.status}). Its terminal says more.`);
}

export const get = (address, signal) => ask(address, { signal });
export const post = (address, body, signal) => ask(address, { method: "POST", body, signal });
export const put = (address, body) => ask(address, { method: "PUT", body });

let sent = Promise.resolve();

// Send when all that was sent so before is answered: of two writings the later must stay.
export function inOrder(send) {
  const answer = sent.then(send);
  sent = answer.catch(() => {});
  return answer;
}
