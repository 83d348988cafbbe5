import { type Config, needsPerson } from './draft';

/** How the realm gets its tokens. */
export function wayOf(config: Config): 'person' | 'login' | 'computed' | 'refresh' | 'fetch' | 'fixed' {
  const grant = (config.grant as { name?: string } | undefined)?.name;
  if (needsPerson(config)) return 'person';
  if (config.unattended) return 'login';
  if (grant === 'computed') return 'computed';
  if (grant === 'refresh_token') return 'refresh';
  if (grant === 'static') return 'fixed';
  if (grant || config.url) return 'fetch';
  return config.refresh ? 'refresh' : 'fixed';
}
