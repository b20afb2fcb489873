"use strict";
// Asks for the part that changes, as long as anybody looks; the server draws it only when it did.

const EVERY = 5000; // milliseconds
let edition = "";

async function refresh() {
  try {
    const answer = await fetch("/now", { headers: edition ? { "If-None-Match": edition } : {} });
    if (answer.status === 200) {
      edition = answer.headers.get("ETag") ?? "";
      document.getElementById("now").innerHTML = await answer.text();
    }
    document.getElementById("lost").style.display = answer.ok || answer.status === 304 ? "none" : "block";
  } catch {
    document.getElementById("lost").style.display = "block";
  }
}

setInterval(() => document.hidden || refresh(), EVERY);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
