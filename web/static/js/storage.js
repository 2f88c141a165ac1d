// Small things that this browser remembers: appearance, kept personas, the server's token.

const PREFIX = "convai.";

export function remembered(name, otherwise) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise; // forbidden, or not ours
  }
}

/** Whether it could be kept. */
export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** The token for the server: until the tab is closed or, where the person wants it kept, until it is forgotten. */
const TOKEN = `${PREFIX}token`;
const tryIn = (storage, todo) => {
  try {
    return todo(window[storage]);
  } catch {
    return null; // forbidden: the server will ask again
  }
};

export const token = {
  get: () => tryIn("sessionStorage", (tab) => tab.getItem(TOKEN)) ?? tryIn("localStorage", (all) => all.getItem(TOKEN)),
  set: (value, keep = false) => {
    token.forget();
    tryIn("sessionStorage", (tab) => tab.setItem(TOKEN, value));
    if (keep) tryIn("localStorage", (all) => all.setItem(TOKEN, value));
  },
  forget: () => {
    tryIn("sessionStorage", (tab) => tab.removeItem(TOKEN));
    tryIn("localStorage", (all) => all.removeItem(TOKEN));
  },
};
