// What the console keeps in local storage: the language and the theme, nothing
// else. A browser that refuses storage only forgets them.

type Language = 'en' | 'zh';
export type ThemeChoice = 'light' | 'dark' | 'system';

function read<T extends string>(name: string, allowed: readonly T[]): T | undefined {
  try {
    const value = window.localStorage.getItem(name);
    return allowed.find((one) => one === value);
  } catch {
    return undefined;
  }
}

function write(name: string, value: string) {
  try {
    window.localStorage.setItem(name, value);
  } catch {
    // Private windows and strict settings refuse.
  }
}

export const stored = {
  language: () => read<Language>('tokens.language', ['en', 'zh']),
  setLanguage: (value: Language) => write('tokens.language', value),
  theme: () => read<ThemeChoice>('tokens.theme', ['light', 'dark', 'system']),
  setTheme: (value: ThemeChoice) => write('tokens.theme', value),
};
