const prefix = '#link=';

// takeLink returns the code of a one-time link (`.../#link=<code>`), if the page
// was opened by one, and removes it from the address bar and from the history.
export function takeLink(): string | undefined {
  const { hash, pathname, search } = window.location;
  if (!hash.startsWith(prefix)) {
    return undefined;
  }
  window.history.replaceState(null, '', `${pathname}${search}#/`);
  const code = hash.slice(prefix.length);
  try {
    return decodeURIComponent(code);
  } catch {
    return code; // a link that was damaged on its way: the API refuses it
  }
}
