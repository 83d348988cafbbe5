import dayjs from 'dayjs';

export interface Bar {
  at: string;
  value: number;
}

const width = 600;
const height = 72;

// clock is the time of day on an axis.
function clock(at: string | undefined): string {
  return at ? dayjs(at).format('HH:mm') : '';
}

// Bars is a small chart: a bar for each step of time, on a scale of its own.
// label says in words what it shows, for those who do not see it.
export function Bars({ bars, label, tone }: { bars: Bar[]; label: string; tone: 'calm' | 'good' | 'bad' }) {
  const most = Math.max(1, ...bars.map(({ value }) => value));
  const step = width / Math.max(1, bars.length);
  const first = bars[0];
  const last = bars[bars.length - 1];
  return (
    <div className="bars">
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label} className={tone}>
        {bars.map(({ at, value }, index) => {
          // Also one of a thousand must be seen.
          const tall = value === 0 ? 0 : Math.max(2, (value / most) * height);
          return (
            <rect key={at} x={index * step} y={height - tall} width={step * 0.8} height={tall}>
              <title>{`${clock(at)}  ${value}`}</title>
            </rect>
          );
        })}
      </svg>
      <div className="axis" aria-hidden>
        <span>{clock(first?.at)}</span>
        <span>{clock(last?.at)}</span>
      </div>
    </div>
  );
}
