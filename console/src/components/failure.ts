// Why is the name of two texts of the namespace "failure": `<name>.reason`, and
// `<name>.next`, what to do.
export type Why = `${'failure' | 'refused' | 'note'}.${string}`;

// The kinds of refusals that many providers have, by their own codes: those of
// WeChat, WeCom, DingTalk, Feishu and OAuth2.
const refusals: Record<string, string[]> = {
  address: ['40164', '60020', '61004', '99991401'],
  quota: ['45009', '45011', '10020', 'quota_exceeded', 'too_many_requests'],
  scope: ['invalid_scope', 'insufficient_scope', '48001', '60011', '99991672'],
  id: ['40013', '41002', 'invalid_client_id'],
  secret: ['invalid_client', '40001', '40125', '41004', 'bad_client_secret'],
};

// whyFailed finds what the last failure of a token means, by its words; the dry
// run knows more. A word of a newer server is one of which nothing is known.
export function whyFailed({ failure, code, address }: { failure?: string; code?: string; address?: string }, exists: (name: string) => boolean): Why {
  if (address) return 'refused.address';
  const kind = failure === 'refused' || failure === 'throttled' ? Object.keys(refusals).find((one) => refusals[one]?.includes(code ?? '')) : undefined;
  if (kind !== undefined) return `refused.${kind}`;
  return failure !== undefined && exists(`failure:failure.${failure}.reason`) ? `failure.${failure}` : 'failure.other';
}

// whyNoted finds what the note of a token is about. It begins with a word.
export function whyNoted(note: string): Why {
  if (note.startsWith('contention')) return 'note.contention';
  return note.startsWith('this node does not hear') ? 'note.deaf' : 'note.other';
}
