import dayjs from 'dayjs';
import relativeTime from 'dayjs/plugin/relativeTime';
import 'dayjs/locale/zh-cn';
import i18next from 'i18next';
import { initReactI18next } from 'react-i18next';
import { stored } from './stored';

export type Language = 'en' | 'zh';

// One file a page and language: i18n/<language>/<namespace>.json.
const texts = import.meta.glob<{ default: object }>('../i18n/*/*.json');

// isChinese reports whether the browser prefers Chinese to English.
function isChinese(): boolean {
  const first = navigator.languages.find((tag) => /^(zh|en)\b/i.test(tag));
  return first !== undefined && /^zh\b/i.test(first);
}

function apply(language: string) {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  dayjs.locale(language === 'zh' ? 'zh-cn' : 'en');
}

export async function startLanguage(): Promise<void> {
  dayjs.extend(relativeTime);
  i18next.on('languageChanged', apply);
  await i18next
    .use({
      type: 'backend',
      init: () => undefined,
      read: async (language: string, namespace: string) => {
        const load = texts[`../i18n/${language}/${namespace}.json`];
        if (!load) {
          throw new Error(`no texts ${language}/${namespace}`);
        }
        return (await load()).default;
      },
    } as never)
    .use(initReactI18next)
    .init({
      lng: stored.language() ?? (isChinese() ? 'zh' : 'en'),
      supportedLngs: ['en', 'zh'],
      fallbackLng: false,
      ns: ['common'],
      defaultNS: 'common',
      // React escapes what it shows.
      interpolation: { escapeValue: false },
    });
}

export async function setLanguage(language: Language): Promise<void> {
  stored.setLanguage(language);
  await i18next.changeLanguage(language);
}
