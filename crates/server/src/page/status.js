// How the server is: asked for at the start and whenever something failed, until it is ready.

import { health, model } from "./api.js";

/** Milliseconds between two questions to a server that loads or does not answer. */
const INTERVAL = 1000;

/**
 * @typedef {{state: "unknown" | "ready" | "loading" | "gone", progress: number,
 *   model: {id: string, context: number | null, notice: string | null} | null}} Server
 */

/** @type {Server} */
const server = { state: "unknown", progress: 0, model: null };
let changed = () => {};
let timer = 0;

/** Asks until the server is ready. @param {(server: Server) => void} listener told of every change */
export function watch(listener) {
  changed = () => listener(server);
  // A laptop that wakes up may have lost its server.
  document.addEventListener("visibilitychange", () => !document.hidden && check());
  check();
}

/** Asks now. */
export async function check() {
  clearTimeout(timer);
  const found = await health();
  const came = found.state === "ready" && server.state !== "ready";
  server.progress = found.progress ?? 0;
  // After a restart it may be another model. Its name is known before it has been loaded.
  if (came || server.model === null) server.model = await model().catch(() => server.model);
  server.state = found.state;
  changed();
  clearTimeout(timer);
  if (found.state !== "ready") timer = setTimeout(check, INTERVAL);
}

/** Whether the model is still being read, so that messages have to wait. */
export function isLoading() {
  return server.state === "loading";
}
