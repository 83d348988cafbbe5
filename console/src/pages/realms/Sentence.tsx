import { cutCode } from './words';

/** A sentence of the catalogue. What stands between backquotes is code; nothing of it is HTML. */
export function Sentence({ text }: { text: string }) {
  return cutCode(text).map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : <span key={i}>{part}</span>));
}
