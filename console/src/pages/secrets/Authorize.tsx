import { useMutation } from '@tanstack/react-query';
import { Alert, Button, Spin } from 'antd';
import { QRCodeSVG } from 'qrcode.react';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useWatch } from '../../api/watch';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { CopyButton } from '../../components/CopyButton';
import { authorize, forgetSecret, getStatus, useStatus } from './api';

/** How long a link can be used. */
const LINK_MINUTES = 10;
const ASK_EVERY = 3_000;

/**
 * Leads a person through an authorization: a link and a QR code, until the
 * token is there. The link holds the state of the authorization; it is kept in
 * this component, and gone with it.
 */
export function Authorize({ realm, secret }: { realm: string; secret: string }) {
  const { t } = useTranslation('secrets');
  const [url, setURL] = useState<string | null>(null);
  const [isDone, setDone] = useState(false);
  const [isOver, setOver] = useState(false);
  const before = useRef(0);
  const isWaiting = url !== null && !isDone && !isOver;
  const status = useStatus(realm, secret, isWaiting ? ASK_EVERY : false);

  const begin = useMutation({
    mutationFn: async () => {
      before.current = (await getStatus(realm, secret))?.lineage ?? 0;
      return authorize(realm, secret);
    },
    onSuccess: (link) => {
      setURL(link);
      setDone(false);
      setOver(false);
      // The mutation forgets the link, too.
      begin.reset();
    },
  });
  const finishIf = (state: string | undefined, lineage: number | undefined) => {
    if (isWaiting && state === 'live' && (lineage ?? 0) > before.current) {
      setDone(true);
      setURL(null);
      forgetSecret(realm, secret);
    }
  };
  useWatch(
    (change) => {
      if (change.realm === realm && change.key === secret) finishIf(change.state, change.lineage);
    },
    () => void status.refetch(),
    isWaiting,
  );
  useEffect(() => finishIf(status.data?.state, status.data?.lineage), [status.data]);
  useEffect(() => {
    if (url === null) return undefined;
    const timer = setTimeout(() => {
      setOver(true);
      setURL(null);
    }, LINK_MINUTES * 60_000);
    return () => clearTimeout(timer);
  }, [url]);

  if (isDone) return <Alert type="success" showIcon title={t('authorize.done')} role="status" />;
  return (
    <>
      <ApiErrorAlert error={begin.error} />
      {isOver && <Alert type="warning" showIcon className="api-error" title={t('authorize.over')} />}
      {url === null ? (
        <Button type="primary" loading={begin.isPending} onClick={() => begin.mutate()}>
          {isOver ? t('authorize.again') : t('authorize.begin')}
        </Button>
      ) : (
        <div className="authorize">
          <QRCodeSVG value={url} level="L" size={200} marginSize={4} title={t('authorize.qr')} />
          <div>
            <p>{t('authorize.what', { minutes: LINK_MINUTES })}</p>
            <div className="actions">
              <Button type="primary" href={url} target="_blank" rel="noreferrer">
                {t('authorize.open')}
              </Button>
              <CopyButton text={url} label={t('authorize.copy')} />
            </div>
            <div role="status">
              <Spin size="small" /> {t('authorize.waiting')}
            </div>
            <p className="lead">{t('authorize.careful')}</p>
          </div>
        </div>
      )}
    </>
  );
}
