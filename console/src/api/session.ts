import { useQueries, useQuery } from '@tanstack/react-query';
import { getJSON, meanSession, sendJSON } from './client';
import { ApiError } from './error';
import { queryClient } from './query';
import { watchAgain } from './watch';

export type Right = 'use' | 'read' | 'flush' | 'authorize' | 'push' | 'admin_read' | 'admin' | 'audit';

export interface Session {
  kind: 'client' | 'user' | 'admin' | 'local';
  id: string;
  // Absent where somebody is let in without a session: by an authentication
  // directive in front, or as a local caller.
  expires_at?: string;
  // Names the session.
  csrf_token?: string;
  rights: Record<Right, 'all' | 'some' | 'none'>;
  here?: Record<Right, boolean>;
}

const sessionKey = ['session'];

// Whose console this page shows.
let owner: Session | null = null;

const isSame = (one: Session, other: Session) => one.kind === other.kind && one.id === other.id;

// show says whose console the page shows from now on, and what it may send: it acts
// in this session only.
function show(session: Session | null) {
  owner = session;
  meanSession(session ? (session.csrf_token ?? null) : undefined);
}

// askWho asks who is signed in: null is nobody, which is no failure. If that is
// somebody else than the page shows, because another tab signed in, the page is
// loaded again: nothing that was begun here is done under another name. Until then,
// and if a person holds up the loading, its requests are refused.
async function askWho(signal: AbortSignal): Promise<Session | null> {
  let session: Session;
  try {
    session = await getJSON<Session>('api/session', signal);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
      return null;
    }
    throw error;
  }
  if (owner && !isSame(owner, session)) {
    window.location.reload();
    return new Promise(() => undefined);
  }
  const isAnew = owner !== null && owner.csrf_token !== session.csrf_token;
  show(session);
  if (isAnew) watchAgain();
  return session;
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

// become shows the console of somebody else: everything that was shown before
// is forgotten. The session itself stays in the cache, or those who watch it
// would not hear of the new one.
function become(session: Session | null) {
  show(session);
  queryClient.setQueryData(sessionKey, session);
  queryClient.removeQueries({ predicate: ({ queryKey }) => queryKey.length > 1 || queryKey[0] !== sessionKey[0] });
}

// signIn begins a session with an admin token or key, or with a one-time link.
// Without `replace` the API refuses (409) in a browser that has a session.
export async function signIn(body: ({ key: string } | { link: string }) & { replace?: true }): Promise<void> {
  become(await sendJSON<Session>('POST', 'api/session', body));
}

// signOut ends the session. Whoever is let in without one still is. In a page
// whose session has been replaced, it ends nothing, and asks who is there.
export async function signOut(): Promise<void> {
  try {
    await sendJSON('DELETE', 'api/session');
    become(null);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 403)) {
      throw error;
    }
  }
  await queryClient.invalidateQueries({ queryKey: sessionKey, exact: true });
}
