import type { Rule } from './rule';

// templateNames are the kinds of clients that most people need. Their titles are
// texts of the language.
export const templateNames = ['app', 'operator', 'auditor', 'administrator', 'empty'] as const;
export type TemplateName = (typeof templateNames)[number];

// template makes the rules of a kind. An app gets the realm that is chosen
// beside it; without one, the rule waits for it.
export function template(name: TemplateName, realm: string): Rule[] {
  switch (name) {
    case 'app':
      return [{ effect: 'allow', rights: ['use'], realms: realm ? [realm] : [] }];
    case 'operator':
      return [{ effect: 'allow', rights: ['admin_read'], realms: ['*'] }];
    case 'auditor':
      return [{ effect: 'allow', rights: ['audit'], realms: ['*'] }];
    case 'administrator':
      // Neither use nor read: who administrates needs no token. The audit is left to
      // somebody else.
      return [{ effect: 'allow', rights: ['admin_read', 'admin', 'flush', 'authorize', 'push'], realms: ['*'] }];
    case 'empty':
      return [];
  }
}
