import { Alert, Button, Card, Flex, Typography } from 'antd';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ndjson } from '../../api/lines';
import { getLines } from '../../api/client';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';

interface Chain {
  node: string;
  first?: number;
  last?: number;
  seq?: number;
  reason?: string;
}

// Verify checks the chains, and says how to do so from a shell. The key of the
// chains stays on the server, so that an exported file cannot be verified.
export function Verify() {
  const { t } = useTranslation('audit');
  const [chains, setChains] = useState<Chain[]>([]);
  const [state, setState] = useState<'idle' | 'running' | 'done'>('idle');
  const [error, setError] = useState<Error>();
  const abort = useRef<AbortController>(undefined);
  useEffect(() => () => abort.current?.abort(), []);

  const run = async () => {
    abort.current = new AbortController();
    setState('running');
    setChains([]);
    setError(undefined);
    try {
      const found: Chain[] = [];
      for await (const chain of ndjson<Chain>(await getLines('POST', 'api/audit/verify', abort.current.signal))) {
        found.push(chain);
        setChains(found.slice());
      }
      setState('done');
    } catch (e) {
      setState('idle');
      if (!abort.current.signal.aborted) setError(e as Error);
    }
  };
  const broken = chains.filter((c) => c.reason);
  const entries = chains.reduce((sum, c) => sum + (c.last ? c.last - (c.first ?? 1) + 1 : 0), 0);
  return (
    <Card size="small" title={t('verify.title')} style={{ height: '100%' }}>
      <Flex vertical gap="small">
        <Typography.Text type="secondary">{t('verify.text')}</Typography.Text>
        <Flex gap="small" align="center" wrap>
          <Button loading={state === 'running'} onClick={() => void run()}>
            {t('verify.do')}
          </Button>
          <Typography.Text type="secondary">{t('verify.shell')}</Typography.Text>
          <Typography.Text code copyable>
            caddy tokens audit verify
          </Typography.Text>
        </Flex>
        <div aria-live="polite">
          {state === 'running' && <Typography.Text>{t('verify.count', { count: chains.length })}</Typography.Text>}
          {state === 'done' && broken.length === 0 && (
            <Alert
              type="success"
              showIcon
              title={t('verify.intact', { count: entries, chains: chains.filter((c) => c.node).length })}
            />
          )}
          {broken.map((c) => (
            <Alert
              key={c.node}
              type="error"
              showIcon
              title={t('verify.broken', { node: c.node || t('verify.list'), seq: c.seq ?? '–' })}
              description={c.reason}
            />
          ))}
          <ApiErrorAlert error={error} />
        </div>
      </Flex>
    </Card>
  );
}
