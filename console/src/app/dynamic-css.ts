// Takes the place of the modules of Ant Design that add <style> elements to the
// page, with the functions that those export. The Content-Security-Policy of
// the page forbids such elements, but not style sheets that a script constructs.

interface Options {
  mark?: string;
  prepend?: boolean | 'queue';
}

// Styled stands for the <style> element that the callers expect to get.
interface Styled {
  setAttribute(name: string, value: string): void;
}

const sheets = new Map<string, CSSStyleSheet>();
// What each of them says: to replace it, even by the same, has the browser look at
// every element again.
const texts = new WeakMap<CSSStyleSheet, string>();

function nameOf(key: string, options: Options): string {
  return `${options.mark ?? ''}/${key}`;
}

export function updateCSS(css: string, key: string, options: Options = {}): Styled {
  const name = nameOf(key, options);
  let sheet = sheets.get(name);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheets.set(name, sheet);
    // What is prepended is meant to lose against everything after it.
    document.adoptedStyleSheets = options.prepend
      ? [sheet, ...document.adoptedStyleSheets]
      : [...document.adoptedStyleSheets, sheet];
  }
  if (texts.get(sheet) !== css) {
    sheet.replaceSync(css);
    texts.set(sheet, css);
  }
  return { setAttribute: () => undefined };
}

export function removeCSS(key: string, options: Options = {}): void {
  const name = nameOf(key, options);
  const sheet = sheets.get(name);
  if (sheet) {
    sheets.delete(name);
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
  }
}

// injectCSS adds styles that nobody removes.
export function injectCSS(css: string, options: Options = {}): Styled {
  return updateCSS(css, css, options);
}

export function clearContainerCache(): void {
  for (const sheet of sheets.values()) {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
  }
  sheets.clear();
}

// Icons ask for the shadow root that they are in; the page has none.
export function getShadowRoot(): null {
  return null;
}

export function warningOnce(): void {
  // Only the development build of the icons warns.
}
