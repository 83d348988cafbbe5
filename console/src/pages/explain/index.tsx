import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Card, Col, Flex, Form, Input, Row, Select, Typography } from 'antd';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useSearchParams } from 'react-router';
import { sendJSON } from '../../api/client';
import { getClient, listClients } from '../clients/client';
import { methods } from '../clients/rule';
import { RulesTable } from '../clients/RulesTable';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { PageHeader } from '../../components/PageHeader';
import { Said } from '../../components/Said';
import { KeySelect, RealmSelect, useSearch } from '../../components/RealmSelect';
import { useSession } from '../../api/session';
import { lastReason, type Translate, type Why } from './reasons';

interface Explanation extends Why {
  allowed: boolean;
  rule: number | null;
  reasons: string[];
}

const names = ['client', 'realm', 'key', 'method', 'path'] as const;
type Question = Record<(typeof names)[number], string>;

// The path may hold something confidential in its query, which does not belong
// into an address; rules do not look at it either.
const withoutQuery = (path: string) => path.replace(/[?#].*$/s, '');

// Explain says why a request of a client would or would not get its token. The
// question stands in the address, so that it can be shared.
export default function Explain() {
  const { t } = useTranslation('explain');
  const { may, mayAll, session } = useSession();
  const [query, setQuery] = useSearchParams();
  const asked: Question = {
    client: query.get('client') ?? '',
    realm: query.get('realm') ?? '',
    key: query.get('key') ?? '',
    method: query.get('method') || 'GET',
    path: query.get('path') || '/',
  };
  const isComplete = Boolean(asked.client && asked.realm && asked.key);
  const answer = useQuery({
    queryKey: ['explain', ...names.map((n) => asked[n])],
    queryFn: () => sendJSON<Explanation>('POST', 'api/explain', asked),
    enabled: isComplete && may('admin_read'),
    // Limits and tokens change: the answer is about now.
    staleTime: 0,
    retry: false,
  });
  // Only who sees all clients sees the rules.
  const client = useQuery({
    queryKey: ['client', asked.client],
    queryFn: ({ signal }) => getClient(asked.client, signal),
    enabled: isComplete && mayAll('admin_read'),
    retry: false,
  });
  if (session && !may('admin_read')) return <Alert type="info" showIcon title={t('noRight')} />;
  const { data } = answer;
  return (
    <>
      <PageHeader namespace="explain" />
      <QuestionForm
        asked={asked}
        busy={answer.isFetching}
        mayList={mayAll('admin_read')}
        onAsk={(q) => {
          const path = withoutQuery(q.path);
          setQuery({ client: q.client, realm: q.realm, key: q.key, method: q.method, path });
          if (isComplete) void answer.refetch();
        }}
      />
      <div aria-live="polite" style={{ marginTop: 16 }}>
        <ApiErrorAlert error={answer.error} />
        {data && (
          <Flex vertical gap="middle">
            <Alert
              type={data.allowed ? 'success' : 'error'}
              showIcon
              title={<strong>{t(data.allowed ? 'allowed' : 'refused')}</strong>}
              description={
                <>
                  <div style={{ overflowWrap: 'anywhere' }}>{t('question', { ...asked })}</div>
                  <ol aria-label={t('reasons')} style={{ margin: '8px 0 0', paddingInlineStart: 20 }}>
                    {data.reasons.map((reason, i) => (
                      <li key={i} style={{ overflowWrap: 'anywhere' }}>
                        <Reason reason={reason} why={i === data.reasons.length - 1 ? data : {}} />
                      </li>
                    ))}
                  </ol>
                </>
              }
            />
            {client.data && (
              <Card
                size="small"
                title={t('rules', { client: asked.client })}
                extra={<Link to={`/clients/${encodeURIComponent(asked.client)}`}>{t('toClient')}</Link>}
              >
                <Typography.Paragraph type="secondary">
                  {t(data.rule === null ? 'noRule' : 'decided', { rule: data.rule })}
                </Typography.Paragraph>
                <RulesTable rules={client.data.rules} decided={data.rule} remarks={false} />
              </Card>
            )}
          </Flex>
        )}
      </div>
    </>
  );
}

function Reason({ reason, why }: { reason: string; why: Why }) {
  const { t, i18n } = useTranslation(['explain', 'common', 'failure']);
  const { text, said } = lastReason(reason, why, t as unknown as Translate, (name) => i18n.exists(name));
  return (
    <>
      {text}
      <Said open lines={[said]} />
    </>
  );
}

interface FormProps {
  asked: Question;
  busy: boolean;
  mayList: boolean;
  onAsk: (q: Question) => void;
}

function QuestionForm({ asked, busy, mayList, onAsk }: FormProps) {
  const { t } = useTranslation('explain');
  const [q, setQ] = useState(asked);
  const [tried, setTried] = useState(false);
  const address = JSON.stringify(asked);
  useEffect(() => setQ(JSON.parse(address) as Question), [address]);
  const missing = (name: keyof Question) => (tried && !q[name] ? { validateStatus: 'error' as const, help: t('missing') } : {});
  const badPath = !q.path.startsWith('/');
  const ask = () => {
    setTried(true);
    if (q.client && q.realm && q.key && !badPath) onAsk(q);
  };
  return (
    <Card size="small">
      <Form
        layout="vertical"
        onSubmitCapture={(e) => {
          e.preventDefault();
          ask();
        }}
      >
        <Row gutter={12}>
          <Col xs={24} md={8}>
            <Form.Item label={t('client')} htmlFor="explain-client" required {...missing('client')}>
              {mayList ? (
                <ClientSelect value={q.client} onChange={(client) => setQ({ ...q, client })} />
              ) : (
                <Input id="explain-client" aria-required value={q.client} onChange={(e) => setQ({ ...q, client: e.target.value.trim() })} />
              )}
            </Form.Item>
          </Col>
          <Col xs={24} sm={12} md={8}>
            <Form.Item label={t('realm')} htmlFor="explain-realm" required {...missing('realm')}>
              <RealmSelect id="explain-realm" aria-required value={q.realm} onChange={(realm) => setQ({ ...q, realm, key: '' })} />
            </Form.Item>
          </Col>
          <Col xs={24} sm={12} md={8}>
            <Form.Item label={t('key')} htmlFor="explain-key" required {...missing('key')}>
              <KeySelect id="explain-key" aria-required realm={q.realm} value={q.key} onChange={(key) => setQ({ ...q, key })} />
            </Form.Item>
          </Col>
          <Col xs={24} sm={8} md={4}>
            <Form.Item label={t('method')} htmlFor="explain-method">
              <Select
                id="explain-method"
                value={q.method}
                options={methods.map((value) => ({ value }))}
                onChange={(method) => setQ({ ...q, method })}
              />
            </Form.Item>
          </Col>
          <Col xs={24} sm={16} md={20}>
            <Form.Item
              label={t('path')}
              htmlFor="explain-path"
              extra={t('pathHelp')}
              {...(badPath ? { validateStatus: 'error' as const, help: t('badPath') } : {})}
            >
              <Input
                id="explain-path"
                value={q.path}
                spellCheck={false}
                autoComplete="off"
                onChange={(e) => setQ({ ...q, path: e.target.value.trim() })}
              />
            </Form.Item>
          </Col>
        </Row>
        <Button type="primary" htmlType="submit" loading={busy}>
          {t('ask')}
        </Button>
      </Form>
    </Card>
  );
}

// ClientSelect finds a client by a part of its id or comment.
function ClientSelect({ value, onChange }: { value: string; onChange: (id: string) => void }) {
  const [keyword, search] = useSearch();
  const { data, isFetching } = useQuery({
    queryKey: ['clients', 1, 50, keyword],
    queryFn: ({ signal }) => listClients(1, 50, keyword, signal),
  });
  return (
    <Select
      id="explain-client"
      aria-required
      value={value || null}
      loading={isFetching}
      showSearch={{ onSearch: search, filterOption: false }}
      onChange={(id) => onChange(id)}
      options={(data?.data.list ?? []).map((c) => ({ value: c.id }))}
    />
  );
}
