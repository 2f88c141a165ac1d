// Keys that are pressed: the one place that listens, so that no input method's keys are taken for the page's.

/**
 * Whether an input method has the key: Enter takes over a word, Escape gives one up. Safari ends the composition
 * before it tells of the key that ended it, so that `isComposing` is false there; key code 229 says it everywhere.
 */
const composing = (event) => event.isComposing || event.keyCode === 229;

/** Call `pressed(event)` for the keys of `target` that are the page's. Returns what ends that. */
export function onKey(target, pressed, options = {}) {
  const listener = (event) => {
    if (!composing(event)) pressed(event);
  };
  target.addEventListener("keydown", listener, options);
  return () => target.removeEventListener("keydown", listener, options);
}
