// What outlives a reload, in the browser's own storage.

// Two servers behind one host are told apart by their path; the number changes with the shapes.
const PREFIX = `perigee 1 ${location.pathname} `;

/**
 * Reads what was kept under a name.
 *
 * @template T
 * @param {string} name
 * @param {T} otherwise given when there is nothing
 * @returns {T}
 */
export function kept(name, otherwise) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    // Browsers can be told to keep nothing.
    return otherwise;
  }
}

/** Keeps a value; says whether there was room for it. @param {string} name @param {unknown} value */
export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}
