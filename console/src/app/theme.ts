import { createContext, use, useState, useSyncExternalStore } from 'react';
import { stored, type ThemeChoice } from './stored';

const query = '(prefers-color-scheme: dark)';

function subscribe(changed: () => void) {
  const media = window.matchMedia(query);
  media.addEventListener('change', changed);
  return () => media.removeEventListener('change', changed);
}

type Choose = (choice: ThemeChoice) => void;

export const ThemeChoiceContext = createContext<[ThemeChoice, Choose]>(['system', () => undefined]);

// useTheme returns what the person chose, and how to choose otherwise.
export function useTheme(): [ThemeChoice, Choose] {
  return use(ThemeChoiceContext);
}

// useThemeChoice keeps the choice; the last value reports whether the page is
// dark: by choice, or because the system is.
export function useThemeChoice(): [ThemeChoice, Choose, boolean] {
  const [choice, set] = useState<ThemeChoice>(stored.theme() ?? 'system');
  const systemIsDark = useSyncExternalStore(subscribe, () => window.matchMedia(query).matches);
  const choose = (next: ThemeChoice) => {
    stored.setTheme(next);
    set(next);
  };
  return [choice, choose, choice === 'dark' || (choice === 'system' && systemIsDark)];
}
