import { Alert, Button, Card, Flex, Progress, Typography } from 'antd';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { getLines } from '../../api/client';
import { withQuery } from '../../api/path';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { collect, fileName, save, type Format } from './file';
import type { Filter } from './filter';

// Export downloads all entries of the filter, on whatever page they are.
export function Export({ filter, total }: { filter: Filter; total: number }) {
  const { t } = useTranslation('audit');
  const [count, setCount] = useState(0);
  const [state, setState] = useState<'idle' | 'running' | 'done' | 'stopped'>('idle');
  const [error, setError] = useState<Error>();
  const abort = useRef<AbortController>(undefined);
  useEffect(() => () => abort.current?.abort(), []);

  const run = async (format: Format) => {
    const control = new AbortController();
    abort.current = control;
    setState('running');
    setCount(0);
    setError(undefined);
    try {
      const body = await getLines('GET', withQuery('api/audit', { ...filter }), control.signal);
      save(await collect(body, format, setCount), fileName(format, new Date()));
      setState('done');
    } catch (e) {
      setState(control.signal.aborted ? 'stopped' : 'idle');
      if (!control.signal.aborted) setError(e as Error);
    }
  };
  return (
    <Card size="small" title={t('export.title')} style={{ height: '100%' }}>
      <Flex vertical gap="small">
        <Typography.Text type="secondary">{t('export.text', { count: total })}</Typography.Text>
        <Flex gap="small" wrap>
          <Button disabled={state === 'running' || total === 0} onClick={() => void run('csv')}>
            {t('export.csv')}
          </Button>
          <Button disabled={state === 'running' || total === 0} onClick={() => void run('ndjson')}>
            {t('export.ndjson')}
          </Button>
          {state === 'running' && (
            <Button danger onClick={() => abort.current?.abort()}>
              {t('export.stop')}
            </Button>
          )}
        </Flex>
        <div aria-live="polite">
          {state === 'running' && (
            <Progress
              aria-label={t('export.title')}
              percent={total > 0 ? Math.min(99, Math.floor((100 * count) / total)) : 0}
              format={() => t('export.count', { count })}
            />
          )}
          {state === 'done' && <Alert type="success" showIcon title={t('export.done', { count })} />}
          {state === 'stopped' && <Alert type="info" showIcon title={t('export.stopped')} />}
          <ApiErrorAlert error={error} />
        </div>
      </Flex>
    </Card>
  );
}
