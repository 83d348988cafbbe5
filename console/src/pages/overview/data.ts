import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { getJSON, type Schemas } from '../../api/client';
import { useWatch } from '../../api/watch';

export type TokenStatus = Schemas['TokenStatus'];

// Status is GET /api/status with attention=true: of the tokens, only those that
// need a person or soon will; total is their number on all pages.
export type Status = Schemas['Status'];

// Sample is what happened in one step of time.
export interface Sample {
  at: string;
  calls: number;
  fetches: number;
  heals: number;
  errors: number;
}

export interface Activity {
  // The seconds from one sample to the next.
  step: number;
  list: Sample[];
  states: Record<string, number>;
  renewals: { at: string; count: number }[];
  total: number;
}

// How many of the tokens that need a person are shown at once.
export const shown = 50;

export function useStatus() {
  return useQuery({
    queryKey: ['status', 'attention'],
    queryFn: ({ signal }) => getJSON<Status>(`api/status?attention=true&page=1&pageSize=${shown}`, signal),
    refetchInterval: 60_000,
  });
}

export function useActivity(hours: number) {
  return useQuery({
    queryKey: ['activity', hours],
    queryFn: async ({ signal }) => (await getJSON<{ data: Activity }>(`api/activity?hours=${hours}`, signal)).data,
    placeholderData: (before) => before,
    refetchInterval: 60_000,
  });
}

// useLive asks again as soon as the state of a token changed, at most every two
// seconds: ten thousand tokens that expire at once are one question.
export function useLive() {
  const client = useQueryClient();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const again = () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      void client.invalidateQueries({ queryKey: ['status'] });
      void client.invalidateQueries({ queryKey: ['activity'] });
    }, 2_000);
  };
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [],
  );
  useWatch(again, again);
}
