// The server's HTTP surface, as far as the page uses it.

/** What the server, or something in front of it, answered instead of what was asked for. */
export class ServerError extends Error {
  /**
   * @param {string} message
   * @param {number} [status] of the answer; none in the middle of a stream
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Nobody answered. */
export class Unreachable extends Error {}

/** Relative to the page, so that it works behind a proxy that serves it under a prefix. @param {string} path */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

/**
 * How the server is.
 *
 * @returns {Promise<{state: "ready" | "loading" | "gone", progress?: number}>}
 */
export async function health() {
  try {
    const response = await ask("health");
    if (response.ok) return { state: "ready" };
    const { error } = await response.json();
    return typeof error?.progress === "number" ? { state: "loading", progress: error.progress } : { state: "gone" };
  } catch {
    return { state: "gone" };
  }
}

/**
 * The one model that the server has.
 *
 * @returns {Promise<{id: string, context: number | null, notice: string | null}>}
 */
export async function model() {
  const response = await ask("v1/models");
  if (!response.ok) throw await serverError(response);
  const { data } = await response.json();
  return { id: data[0].id, context: data[0].context_length ?? null, notice: data[0].notice ?? null };
}

/**
 * Asks for a streamed completion and gives its chunks as they come.
 *
 * @param {object} body
 * @param {string} key an API key, or nothing
 * @param {AbortSignal} signal
 * @throws {ServerError | Unreachable} also in the middle of the stream
 */
export async function* complete(body, key, signal) {
  // Such a key cannot even be sent; a server that could hear it would refuse it.
  if (/[^\x21-\x7e]/.test(key)) throw new ServerError("wrong API key", 401);
  const headers = { "Content-Type": "application/json" };
  if (key !== "") headers.Authorization = `Bearer ${key}`;
  const response = await ask("v1/chat/completions", { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!response.ok) throw await serverError(response);
  for await (const data of events(response.body.getReader(), signal)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ServerError(chunk.error.message ?? data);
    yield chunk;
  }
  throw new Unreachable("The connection ended before the answer did.");
}

/** The same request for a terminal. @param {object} body @param {string} key */
export function curl(body, key) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const words = ["curl -sN", quoted(address("v1/chat/completions")), "-H 'Content-Type: application/json'"];
  if (key !== "") words.push(`-H ${quoted(`Authorization: Bearer ${key}`)}`);
  return [...words, `-d ${quoted(JSON.stringify(body, null, 2))}`].join(" ");
}

async function ask(path, options) {
  try {
    return await fetch(address(path), { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("The server does not answer.");
  }
}

async function serverError(response) {
  const text = await response.text().catch(() => "");
  let message = `The server answered with status ${response.status}.`;
  try {
    message = JSON.parse(text).error.message ?? message;
  } catch {
    // A proxy in front of the server speaks HTML; its status says enough.
  }
  return new ServerError(message, response.status);
}

/** The data of server-sent events; comments keep the connection open and say nothing. */
async function* events(reader, signal) {
  const decoder = new TextDecoder();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read().catch((error) => {
      if (signal.aborted) throw error;
      throw new Unreachable("The connection broke in the middle of the answer.");
    });
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const whole = rest.split(/\r?\n\r?\n/);
    rest = whole.pop();
    for (const event of whole) {
      const lines = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length > 0) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}
