import { useQuery } from '@tanstack/react-query';
import { getJSON, sendJSON } from './client';
import { ApiError } from './error';
import { queryClient } from './query';

export type Right = 'use' | 'read' | 'flush' | 'authorize' | 'push' | 'admin_read' | 'admin' | 'audit';

export interface Session {
  kind: 'client' | 'user' | 'admin' | 'local';
  id: string;
  // Absent where somebody is let in without a session: by an authentication
  // directive in front, or as a local caller.
  expires_at?: string;
  rights: Record<Right, 'all' | 'some' | 'none'>;
  here?: Record<Right, boolean>;
}

const sessionKey = ['session'];

// askWho asks who is signed in: null is nobody, which is no failure.
async function askWho(signal: AbortSignal): Promise<Session | null> {
  try {
    return await getJSON<Session>('api/session', signal);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
      return null;
    }
    throw error;
  }
}

export function useSessionQuery(enabled = true) {
  return useQuery({
    queryKey: sessionKey,
    queryFn: ({ signal }) => askWho(signal),
    staleTime: 60_000,
    gcTime: Infinity,
    enabled,
  });
}

// useSession returns who is signed in. `may` reports whether somebody has a
// right for at least one realm or key, `mayAll` for every one: what the
// signed-in may not do is not offered.
export function useSession() {
  const { data } = useSessionQuery();
  return {
    session: data,
    may: (right: Right) => data?.rights !== undefined && data.rights[right] !== 'none',
    mayAll: (right: Right) => data?.rights[right] === 'all',
  };
}

// useHere returns what the signed-in may do with one realm, or one secret.
// Nothing is offered until the answer is there.
export function useHere(realm: string | undefined, key?: string): (right: Right) => boolean {
  const { data } = useQuery({
    queryKey: ['session', 'here', realm, key],
    queryFn: ({ signal }) => {
      const query = new URLSearchParams({ realm: realm ?? '' });
      if (key !== undefined) {
        query.set('key', key);
      }
      return getJSON<Session>(`api/session?${query}`, signal);
    },
    enabled: realm !== undefined,
    staleTime: 60_000,
  });
  return (right) => data?.here?.[right] === true;
}

// become shows the console of somebody else: everything that was shown before
// is forgotten. The session itself stays in the cache, or those who watch it
// would not hear of the new one.
function become(session: Session | null) {
  queryClient.setQueryData(sessionKey, session);
  queryClient.removeQueries({ predicate: ({ queryKey }) => queryKey.length > 1 || queryKey[0] !== sessionKey[0] });
}

// signIn begins a session with an admin token or key, with a one-time link, or
// (with neither) for whoever is let in already.
export async function signIn(body?: { key: string } | { link: string }): Promise<void> {
  become(await sendJSON<Session>('POST', 'api/session', body));
}

// signOut ends the session. Whoever is let in without one still is.
export async function signOut(): Promise<void> {
  await sendJSON('DELETE', 'api/session');
  become(null);
  await queryClient.invalidateQueries({ queryKey: sessionKey, exact: true });
}
