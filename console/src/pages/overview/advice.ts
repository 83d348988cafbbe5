// What to do about a failure, by its text in the status:
//
//	<kind> (HTTP <status>) <code and words of the provider>: <detail>
//
// Advice is the name of a text in i18n (`advice.<name>`). The dry run of the
// realm knows more: it makes the request and looks at the answer.
export type Advice =
  | 'address'
  | 'quota'
  | 'scope'
  | 'id'
  | 'secret'
  | 'connection'
  | 'forbidden'
  | 'provider'
  | 'answer'
  | 'store'
  | 'limits'
  | 'parent'
  | 'other';

// Refusals that many providers have, with the codes of WeChat, WeCom, DingTalk,
// Feishu and OAuth2. What is certain comes first.
const refusals: [Advice, RegExp][] = [
  ['address', /\b(40164|60020|61004|99991401)\b|\bip\b.*(white ?list|allow ?list|not allowed|not in)|白名单/i],
  ['quota', /\b(45009|45011|10020|quota_exceeded|too_many_requests)\b|quota|rate ?limit|频率|次数|限流/i],
  ['scope', /\b(invalid_scope|insufficient_scope|48001|60011|99991672)\b|scope|权限/i],
  ['id', /\b(40013|41002|invalid_client_id)\b|(invalid|unknown|not exist).{0,20}(app_?id|client_?id|corp_?id)/i],
  ['secret', /\b(invalid_client|40001|40125|41004|bad_client_secret)\b|(invalid|wrong|incorrect).{0,20}(secret|credential|sign)|密钥错误|签名错误/i],
];

const kinds: [Advice, RegExp][] = [
  ['store', /^the store did not take/],
  ['limits', /^the realm's limits allow no call/],
  ['connection', /^(timeout|connection)\b/],
  ['forbidden', /^forbidden\b/],
  ['parent', /^dead_parent\b/],
  ['provider', /^\w+ \(HTTP 5\d\d\)/],
];

export function adviceOf(error: string): Advice {
  // The words of a refusal mean nothing elsewhere: a host may be named "quota".
  const candidates = [...kinds, ...(/^(refused|invalid_grant)\b/.test(error) ? refusals : [])];
  const found = candidates.find(([, expression]) => expression.test(error));
  if (found) {
    return found[0];
  }
  return /^(bad_response|too_large|redirect|bad_request)\b/.test(error) ? 'answer' : 'other';
}
