import type { Schemas } from '../../api/client';
import type { Preset } from './draft';
import type { Language } from './words';

export type Advice = Schemas['Advice'];

/** i18next's t and exists, of one language. */
export interface Texts {
  language: string;
  t: (key: string, values?: Record<string, string>) => string;
  exists: (key: string) => boolean;
}

/** The name of the text for an advice; undefined for one of a newer server. */
function nameOf({ code, case: which }: Advice, { exists }: Texts): string | undefined {
  const own = `doctor:advice.${which ? `${code}.${which}` : code}`;
  if (exists(own)) return own;
  // What ails a connection ails that of a call, too.
  const connection = `doctor:advice.${code.replace(/^call_/, '')}`;
  return code.startsWith('call_') && exists(connection) ? connection : undefined;
}

/**
 * An advice of the dry run in the reader's language: by its code, its case and
 * its values. What the catalogue knows of a provider's code stands there. Of one
 * that is new, the English text is shown.
 */
export function adviceText(advice: Advice, texts: Texts, preset?: Pick<Preset, 'errors'>): string {
  const { t } = texts;
  const values = advice.values ?? {};
  const known = preset?.errors.find((e) => e.code === values.code)?.[texts.language as Language];
  if (advice.code === 'preset') return known ? `${values.code}: ${known}` : advice.text;
  if (advice.code === 'preset_call' && !known) return advice.text;
  const name = nameOf(advice, texts);
  if (name === undefined) return advice.text;
  const text = t(name, {
    ...values,
    host: advice.code.startsWith('call_') ? t('doctor:api') : (values.host ?? ''),
    where: t(`doctor:where.${values.list ?? 'any'}`),
    unit: values.unit ? t(`doctor:unit.${values.unit}`) : '',
  });
  return known ? `${text} ${known}` : text;
}
