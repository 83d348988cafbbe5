import { useQuery, useQueryClient, type QueryClient } from '@tanstack/react-query';
import { getLines } from '../../api/client';
import { follow, newRun, type Kind, type Run } from './run';

// What goes on outlives the page that began it, and its report stays until the
// next run or a reload. It is kept beside what the API answered, so that it goes
// with that when somebody signs out.
const keyOf = (realm: string) => ['account-run', realm];
const controls = new Map<string, AbortController>();

export function useRun(realm: string): Run | undefined {
  const { data } = useQuery<Run | null>({
    queryKey: keyOf(realm),
    queryFn: () => null,
    enabled: false,
    gcTime: Infinity,
    staleTime: Infinity,
    initialData: null,
  });
  return data ?? undefined;
}

export function useRuns() {
  const cache = useQueryClient();
  return {
    start: (realm: string, kind: Kind, expected: number) => start(cache, realm, kind, expected),
    stop: (realm: string) => controls.get(realm)?.abort(),
    forget: (realm: string) => cache.setQueryData(keyOf(realm), null),
  };
}

async function start(cache: QueryClient, realm: string, kind: Kind, expected: number): Promise<Run> {
  const control = new AbortController();
  controls.get(realm)?.abort();
  controls.set(realm, control);
  cache.setQueryDefaults(keyOf(realm), { gcTime: Infinity });
  const path = `${encodeURIComponent(realm)}-account/${kind}-all-token`;
  const run = await follow(
    newRun(realm, kind, expected, Date.now()),
    () => getLines('POST', path, control.signal),
    // A run that was replaced has no say any more.
    (r) => controls.get(realm) === control && cache.setQueryData(keyOf(realm), r),
    control.signal,
  );
  return run;
}
