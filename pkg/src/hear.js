// Listens to a Worker or MessagePort, or to Node's; gives the function that ends it.
export function hear(target, event, listener) {
  if (target.addEventListener) {
    target.addEventListener(event, listener);
    return () => target.removeEventListener(event, listener);
  }
  target.on?.(event, listener);
  return () => target.off?.(event, listener);
}
