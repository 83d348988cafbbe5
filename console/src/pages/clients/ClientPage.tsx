import { useQuery, useQueryClient } from '@tanstack/react-query';
import { App, Button, Card, Descriptions, Flex, Modal, Radio, Skeleton, Tag, Typography } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { PageHeader } from '../../components/PageHeader';
import { timeText, When } from '../../components/When';
import { useSession } from '../../api/session';
import { deleteClient, getClient, parseLimit, rotateClient, type Client } from './client';
import { Badges } from './ClientList';
import { KeyOnce } from './KeyOnce';
import { RulesTable } from './RulesTable';

// ClientPage shows one client, gives it a new key, and deletes it.
export default function ClientPage() {
  const { id = '' } = useParams();
  const { t } = useTranslation('clients');
  const navigate = useNavigate();
  const cache = useQueryClient();
  const { message, modal } = App.useApp();
  const { may, mayAll, session } = useSession();
  const [rotating, setRotating] = useState(false);
  const [shown, setShown] = useState<{ key: string; note: string }>();
  const { data: client, error } = useQuery({ queryKey: ['client', id], queryFn: ({ signal }) => getClient(id, signal) });
  const isOwn = session?.kind === 'client' && session.id === id;
  const mayChange = mayAll('admin') && client !== undefined && !client.read_only;

  const remove = () =>
    modal.confirm({
      title: t('delete.title', { id }),
      content: t('delete.text'),
      okText: t('delete.do'),
      cancelText: t('form.cancel'),
      okButtonProps: { danger: true },
      onOk: async () => {
        try {
          await deleteClient(id);
        } catch (e) {
          void message.error((e as Error).message);
          return;
        }
        cache.removeQueries({ queryKey: ['client', id] });
        await cache.invalidateQueries({ queryKey: ['clients'] });
        void message.success(t('delete.done', { id }));
        void navigate('/clients');
      },
    });

  return (
    <>
      <Link to="/clients">← {t('action.back')}</Link>
      <PageHeader namespace="clients" title={id}>
        {may('admin_read') && (
          <Link to={`/explain?client=${encodeURIComponent(id)}`}>
            <Button>{t('action.explain')}</Button>
          </Link>
        )}
        {mayAll('audit') && (
          <Link to={`/audit?actor=${encodeURIComponent(id)}`}>
            <Button>{t('action.audit')}</Button>
          </Link>
        )}
        {mayChange && !client.damaged && <Button onClick={() => setRotating(true)}>{t('action.rotate')}</Button>}
        {mayChange && !client.damaged && (
          <Button onClick={() => void navigate(`/clients/${encodeURIComponent(id)}/change`)}>{t('action.edit')}</Button>
        )}
        {mayChange && !isOwn && (
          <Button danger onClick={remove}>
            {t('action.delete')}
          </Button>
        )}
      </PageHeader>
      <ApiErrorAlert error={error} />
      {!client && !error && <Skeleton active />}
      {client && (
        <Flex gap="small" style={{ marginBottom: 12 }} wrap>
          <Badges client={client} /> {client.comment}
        </Flex>
      )}
      {client?.read_only && <Typography.Paragraph type="secondary">{t('readOnlyHint')}</Typography.Paragraph>}
      {client?.damaged && <Typography.Paragraph type="danger">{t('damagedHint')}</Typography.Paragraph>}
      {client && (
        <Flex vertical gap="middle">
          <Card title={t('detail.rules')} size="small">
            <Typography.Paragraph type="secondary">{t('rule.order')}</Typography.Paragraph>
            <RulesTable rules={client.rules} />
          </Card>
          <Facts client={client} />
        </Flex>
      )}
      {rotating && (
        <RotateDialog
          id={id}
          onClose={() => setRotating(false)}
          onKey={(key, note) => {
            setRotating(false);
            setShown({ key, note });
            void cache.invalidateQueries({ queryKey: ['client', id] });
          }}
        />
      )}
      {shown && <KeyOnce id={id} value={shown.key} note={shown.note} onDone={() => setShown(undefined)} />}
    </>
  );
}

// Facts are a client's limits, and what it is known by.
function Facts({ client }: { client: Client }) {
  const { t, i18n } = useTranslation('clients');
  const limit = (text: string | undefined) => {
    const { calls, unit } = parseLimit(text);
    return calls === null ? t('detail.noLimit') : t('perUnit', { calls, unit: t(`unit.${unit}`) });
  };
  const tags = (list: string[]) =>
    list.length > 0 ? (
      <Flex gap={4} wrap>
        {list.map((x) => (
          <Tag key={x} style={{ whiteSpace: 'normal' }}>
            {x}
          </Tag>
        ))}
      </Flex>
    ) : (
      '–'
    );
  const keyText = (k: Client['keys'][number]) => {
    const made = k.created_at ? t('detail.keyMade', { time: timeText(k.created_at, i18n.language) }) : t('detail.keyOfCaddyfile');
    if (!k.expires_at) return [made, t('detail.keyStays')];
    const time = timeText(k.expires_at, i18n.language);
    return [made, t(Date.parse(k.expires_at) <= Date.now() ? 'detail.keyEnded' : 'detail.keyEnds', { time })];
  };
  return (
    <>
      <Card title={t('detail.identity')} size="small">
        <Descriptions
          size="small"
          column={{ xs: 1, md: 2 }}
          items={[
            {
              key: 'keys',
              span: 'filled',
              label: t('detail.keys'),
              children:
                client.keys.length > 0 ? (
                  <Flex vertical>
                    {client.keys.map((k, i) => (
                      <span key={i}>{keyText(k).join(t('words.comma'))}</span>
                    ))}
                  </Flex>
                ) : (
                  t('detail.noKeys')
                ),
            },
            { key: 'users', label: t('detail.users'), children: tags(client.users) },
            { key: 'subjects', label: t('detail.subjects'), children: tags(client.subjects) },
            { key: 'sources', label: t('detail.sources'), children: tags(client.sources) },
            ...(client.edge ? [{ key: 'edge', label: t('detail.edge'), children: t('detail.edgeOn') }] : []),
            { key: 'expires', label: t('detail.expires'), children: <When time={client.expires_at} none={t('never')} /> },
            {
              key: 'used',
              label: t('detail.used'),
              children: (
                <span title={t('detail.usedHour')}>
                  <When time={client.used_at} />
                </span>
              ),
            },
            { key: 'created', label: t('detail.created'), children: <When time={client.created_at} /> },
            { key: 'updated', label: t('detail.updated'), children: <When time={client.updated_at} /> },
          ]}
        />
      </Card>
      <Card title={t('detail.limits')} size="small">
        <Descriptions
          size="small"
          column={{ xs: 1, md: 3 }}
          items={[
            { key: 'requests', label: t('limit.requests'), children: limit(client.limits.requests) },
            { key: 'fetches', label: t('limit.fetches'), children: limit(client.limits.fetches) },
            { key: 'concurrency', label: t('limit.concurrency'), children: client.limits.concurrency ?? t('detail.noLimit') },
          ]}
        />
      </Card>
    </>
  );
}

const keeps = { now: '', hour: '1h', day: '24h', week: '168h' } as const;

// RotateDialog asks how long the key before stays good, and hands on the new one.
function RotateDialog({ id, onClose, onKey }: { id: string; onClose: () => void; onKey: (key: string, note: string) => void }) {
  const { t, i18n } = useTranslation('clients');
  const [keep, setKeep] = useState<keyof typeof keeps>('day');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const rotate = async () => {
    setBusy(true);
    try {
      const { key, keys } = await rotateClient(id, keeps[keep]);
      const before = keys[1]?.expires_at;
      onKey(key ?? '', before ? t('key.keptUntil', { time: timeText(before, i18n.language) }) : t('key.keptNot'));
    } catch (e) {
      setError(e as Error);
      setBusy(false);
    }
  };
  return (
    <Modal
      open
      title={t('rotate.title', { id })}
      onCancel={onClose}
      okText={t('rotate.do')}
      cancelText={t('form.cancel')}
      confirmLoading={busy}
      onOk={() => void rotate()}
    >
      <ApiErrorAlert error={error} />
      <p id="rotate-keep">{t('rotate.text')}</p>
      <Radio.Group
        aria-labelledby="rotate-keep"
        vertical
        value={keep}
        onChange={(e) => setKeep(e.target.value as keyof typeof keeps)}
        options={(Object.keys(keeps) as (keyof typeof keeps)[]).map((value) => ({ value, label: t(`rotate.${value}`) }))}
      />
      <Typography.Paragraph type="secondary" style={{ marginTop: 12 }}>
        {t(keep === 'now' ? 'rotate.nowText' : 'rotate.keepText')}
      </Typography.Paragraph>
    </Modal>
  );
}
