import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { queryClient } from '../../api/query';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { existingKeys } from './api';
import { type Fault, type Reading, type Result, sendAll } from './bulk';
import type { RealmFields } from './fields';
import { ImportPreview } from './ImportPreview';
import { ImportProgress } from './ImportProgress';
import { ImportTable } from './ImportTable';
import { InRealm } from './InRealm';
import { sendOne } from './sendOne';

const CONCURRENCY = 4;

/** Adds many secrets of one realm from a table. */
export default function ImportPage() {
  const { t } = useTranslation('secrets');
  return (
    <InRealm title={t('add_many')}>
      {(realm, fields) => <ImportSteps key={realm} realm={realm} of={fields} />}
    </InRealm>
  );
}

/** The steps: a table, a preview without values, sending, a report. */
function ImportSteps({ realm, of }: { realm: string; of: RealmFields }) {
  const { t } = useTranslation('secrets');
  const [reading, setReading] = useState<Reading | null>(null);
  const [replaces, setReplaces] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const [sending, setSending] = useState<{ total: number; results: Result[]; isRunning: boolean } | null>(null);
  const stop = useRef<AbortController | null>(null);
  // Whoever leaves the page stops what was not sent.
  useEffect(() => () => stop.current?.abort(), []);

  const send = async ({ items, faults }: Reading) => {
    const abort = new AbortController();
    stop.current = abort;
    const results = faults.map((fault) => faultResult(fault, t));
    const total = items.length + results.length;
    let shownAt = 0;
    setSending({ total, results: [...results], isRunning: true });
    // Those that are there already are asked for once, and not one by one.
    const there = replaces ? new Set<string>() : await existingKeys(realm, abort.signal);
    await sendAll(items, (item) => sendOne(realm, item, there, abort.signal), {
      concurrency: CONCURRENCY,
      signal: abort.signal,
      onResult: (result) => {
        results.push(result);
        // The page is drawn a few times a second, however fast the answers come.
        if (performance.now() - shownAt < 150) return;
        shownAt = performance.now();
        setSending({ total, results: [...results], isRunning: true });
      },
    });
    setReading(null);
    setSending({ total, results, isRunning: false });
    void queryClient.invalidateQueries({ queryKey: ['secrets'] });
  };
  const tryToSend = async (table: Reading) => {
    setError(null);
    try {
      await send(table);
    } catch (reason) {
      // Nothing was sent: the table is still there.
      setError(reason as Error);
      setSending(null);
    }
  };

  if (sending) {
    return <ImportProgress {...sending} stop={() => stop.current?.abort()} again={() => setSending(null)} />;
  }
  if (reading) {
    return (
      <>
        <ApiErrorAlert error={error} />
        <ImportPreview
          reading={reading}
          replaces={replaces}
          setReplaces={setReplaces}
          back={() => setReading(null)}
          send={() => void tryToSend(reading)}
        />
      </>
    );
  }
  return <ImportTable of={of} onRead={setReading} />;
}

function faultResult(fault: Fault, t: (name: string, values: { field: string }) => string): Result {
  const { line, key, code, field } = fault;
  const detail = t(`import.fault.${code}`, { field: field ?? '' });
  return { line, key, outcome: 'refused', code, detail, ...(field ? { field } : {}) };
}
