import { Empty, Timeline } from 'antd';
import { useTranslation } from 'react-i18next';
import { Said } from '../../components/Said';
import { TimeAgo } from '../../components/TimeAgo';
import { durationOf } from '../realms/words';
import type { Renewal } from './api';

/** The last renewals of a token, the newest first, as one node saw them. */
export function History({ history }: { history: Renewal[] }) {
  const { t, i18n } = useTranslation('secrets');
  if (history.length === 0) return <Empty image={Empty.PRESENTED_IMAGE_SIMPLE} description={t('history.none')} />;
  const why = (name: string) => (i18n.exists(`secrets:history.why.${name}`) ? t(`history.why.${name}`) : name);
  return (
    <>
      <p className="lead">{t('history.what')}</p>
      <Timeline
        items={history.map((one, i) => ({
          key: `${one.at}-${i}`,
          color: one.result === 'ok' ? 'green' : 'red',
          content: (
            <>
              <strong>{t(one.result === 'ok' ? 'history.ok' : 'history.failed')}</strong> · {why(one.why)} ·{' '}
              <TimeAgo at={one.at} />
              {one.took_ms !== undefined && <> · {durationOf(one.took_ms, i18n.language)}</>}
              {one.lineage !== undefined && one.result === 'ok' && (
                <> · {t('history.number', { lineage: one.lineage })}</>
              )}
              <Said lines={[one.detail]} />
            </>
          ),
        }))}
      />
    </>
  );
}
