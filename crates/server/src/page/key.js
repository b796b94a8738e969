// Asking for the key of a server that demands one.

const form = document.getElementById("key-form");
const input = document.getElementById("asked-key");
const label = document.getElementById("key-question");

/**
 * Shows the field for the key and waits for it.
 *
 * @param {boolean} refused whether the server has just refused one
 * @param {AbortSignal} signal ends the waiting
 * @returns {Promise<string>}
 * @throws {DOMException} "AbortError" when the user will not give one
 */
export function askForKey(refused, signal) {
  label.textContent = refused ? "The server does not accept this key." : "This server asks for a key.";
  form.hidden = false;
  input.value = "";
  input.focus();
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(new DOMException("no key", "AbortError"));
    form.onsubmit = (event) => {
      event.preventDefault();
      resolve(input.value);
    };
    document.getElementById("no-key").onclick = giveUp;
    signal.addEventListener("abort", giveUp);
  }).finally(() => (form.hidden = true));
}
