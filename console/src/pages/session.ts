import { useQueries } from '@tanstack/react-query';
import { getJSON } from '../api/client';
import { useHere, useSession, type Right, type Session } from '../api/session';

// useMayFor reports whether the signed-in has a right for a realm as a whole.
// Whoever has it everywhere need not ask.
export function useMayFor(right: Right, realm: string): boolean {
  const { may, mayAll } = useSession();
  const here = useHere(realm !== '' && may(right) && !mayAll(right) ? realm : undefined);
  return mayAll(right) || (realm !== '' && may(right) && here(right));
}

// useMayForAll is useMayFor for several realms: a company takes the right for
// each realm of its accounts, and for everything where it has none. It waits
// while the realms are not known.
export function useMayForAll(right: Right, realms: string[] | undefined): boolean {
  const { may, mayAll } = useSession();
  const answers = useQueries({
    queries: (realms ?? []).map((realm) => ({
      queryKey: ['session', 'here', realm, undefined],
      queryFn: ({ signal }: { signal: AbortSignal }) => getJSON<Session>(`api/session?${new URLSearchParams({ realm })}`, signal),
      enabled: may(right) && !mayAll(right),
      staleTime: 60_000,
    })),
  });
  if (realms === undefined) return false;
  return mayAll(right) || (answers.length > 0 && answers.every((a) => a.data?.here?.[right] === true));
}
