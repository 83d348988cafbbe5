import dayjs from 'dayjs';
import type { Activity } from './data';

export interface Hour {
  hour: string;
  calls: number;
  fetches: number;
  heals: number;
  errors: number;
}

// hourly sums the samples up by hours, for the table beside the charts.
export function hourly(list: Activity['list']): Hour[] {
  const hours = new Map<string, Hour>();
  for (const sample of list) {
    const hour = dayjs(sample.at).format('MM-DD HH:00');
    const sum = hours.get(hour) ?? { hour, calls: 0, fetches: 0, heals: 0, errors: 0 };
    sum.calls += sample.calls;
    sum.fetches += sample.fetches;
    sum.heals += sample.heals;
    sum.errors += sample.errors;
    hours.set(hour, sum);
  }
  return [...hours.values()];
}
