import { QueryClient } from '@tanstack/react-query';
import { ApiError } from './error';

// isTransient reports whether the same request may succeed a moment later.
function isTransient(error: Error): boolean {
  return error instanceof ApiError && (error.status === 0 || error.status === 503);
}

// Values that somebody typed in are variables of mutations: nothing keeps them
// longer than the request (gcTime 0).
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      retry: (count, error) => count < 2 && isTransient(error),
      staleTime: 5_000,
      gcTime: 60_000,
    },
    mutations: { retry: false, gcTime: 0 },
  },
});
