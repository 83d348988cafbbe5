import i18next from 'i18next';
import { type ComponentType, lazy, useState } from 'react';

// Page is a page of the console, whose code is loaded when somebody goes there.
export interface Page {
  Component: ComponentType;
  // Loads the page and its texts before that; absent where it is not worth it.
  ahead?: () => Promise<void>;
}

// pageOf makes a page. One with texts (their namespaces) can be loaded ahead.
export function pageOf(load: () => Promise<{ default: ComponentType }>, texts?: string[]): Page {
  if (!texts) return { Component: lazy(load) };
  // What is there already is shown at once. `lazy` would show a spinner in between,
  // and React takes no spinner away in its first 300 ms.
  let loaded: ComponentType | undefined;
  const Lazy = lazy(load);
  return {
    Component: function Ahead() {
      // Another component in its place would lose what the page knows.
      const [Shown] = useState(() => loaded ?? Lazy);
      return <Shown />;
    },
    ahead: async () => {
      const [page] = await Promise.all([load(), i18next.loadNamespaces(texts)]);
      loaded = page.default;
    },
  };
}

// whenIdle calls once the browser has nothing else to do. It returns how to
// prevent that.
export function whenIdle(call: () => void): () => void {
  if (typeof requestIdleCallback === 'undefined') {
    const timer = setTimeout(call, 1_000); // Safari
    return () => clearTimeout(timer);
  }
  const asked = requestIdleCallback(call);
  return () => cancelIdleCallback(asked);
}
