import { DeleteOutlined } from '@ant-design/icons';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { App, Button, Card, Col, Flex, Form, Input, Row as Columns, Skeleton, Typography } from 'antd';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';
import { ApiErrorAlert, useFieldText } from '../../components/ApiErrorAlert';
import { PageHeader } from '../../components/PageHeader';
import { ApiError } from '../../api/error';
import { exists, taken } from '../../api/exists';
import { LeaveGuard } from '../../components/LeaveGuard';
import { KeySelect, RealmSelect } from '../../components/RealmSelect';
import { getCompany, idFault, rowFault, saveCompany, texts, type Company, type Row } from './company';

const none: Company = {
  taxpayer_id: '',
  company_name: '',
  company_phone: '',
  company_registered_address: '',
  bank_name: '',
  bank_account: '',
  accounts: {},
};

// CompanyEdit creates a company, or changes the one of the address.
export default function CompanyEdit() {
  const { id } = useParams();
  const { t } = useTranslation('companies');
  const navigate = useNavigate();
  const cache = useQueryClient();
  const { message } = App.useApp();
  const [dirty, setDirty] = useState(false);
  const [done, setDone] = useState('');
  const [refusal, setRefusal] = useState<Error>();
  const [saving, setSaving] = useState(false);
  const { data: company, error } = useQuery({
    queryKey: ['company', id],
    queryFn: ({ signal }) => getCompany(id!, signal),
    enabled: id !== undefined,
    refetchOnWindowFocus: false,
    staleTime: 0,
  });
  const back = id === undefined ? '/companies' : `/companies/${encodeURIComponent(id)}`;
  // Left once nothing guards the page any more.
  useEffect(() => {
    if (done) void navigate(`/companies/${encodeURIComponent(done)}`, { replace: true });
  }, [done, navigate]);

  const save = async (draft: Company, rows: Row[]) => {
    setSaving(true);
    setRefusal(undefined);
    try {
      // POST creates or updates: a new company must not replace one of that id.
      if (id === undefined && (await exists<Company>('api/company', { keyword: draft.taxpayer_id }, (c) => c.taxpayer_id === draft.taxpayer_id))) throw taken('taxpayer_id', t('idTaken'));
      const saved = await saveCompany(draft, rows, company);
      cache.removeQueries({ queryKey: ['company', saved.taxpayer_id] });
      void cache.invalidateQueries({ queryKey: ['companies'] });
      void message.success(t('saved', { name: saved.company_name || saved.taxpayer_id }));
      setDirty(false);
      setDone(saved.taxpayer_id);
    } catch (e) {
      setRefusal(e as Error);
    }
    setSaving(false);
  };
  return (
    <>
      <Link to={back}>← {id === undefined ? t('back') : company?.company_name || id}</Link>
      <PageHeader
        namespace="companies"
        title={t(id === undefined ? 'new' : 'changeTitle', { name: company?.company_name || id })}
      />
      <ApiErrorAlert error={error} />
      {id !== undefined && !company && !error && <Skeleton active />}
      {(id === undefined || company) && (
        <CompanyForm
          key={id ?? ''}
          start={company ?? none}
          isNew={id === undefined}
          saving={saving}
          refusal={refusal}
          onDirty={() => setDirty(true)}
          onSave={(draft, rows) => void save(draft, rows)}
          onCancel={() => void navigate(back)}
        />
      )}
      <LeaveGuard when={dirty} onLeave={() => setDirty(false)} />
    </>
  );
}

interface FormProps {
  start: Company;
  isNew: boolean;
  saving: boolean;
  refusal: Error | undefined;
  onDirty: () => void;
  onSave: (draft: Company, rows: Row[]) => void;
  onCancel: () => void;
}

function CompanyForm({ start, isNew, saving, refusal, onDirty, onSave, onCancel }: FormProps) {
  const { t } = useTranslation('companies');
  const fieldText = useFieldText();
  const [draft, setDraft] = useState(start);
  const [rows, setRows] = useState<Row[]>(Object.entries(start.accounts).map(([realm, key]) => ({ realm, key })));
  const [tried, setTried] = useState(false);
  const change = (next: Row[]) => {
    onDirty();
    setRows(next);
  };
  const wrongID = isNew ? idFault(draft.taxpayer_id) : undefined;
  const isWrong = wrongID !== undefined || rows.some((_, i) => rowFault(rows, i) !== undefined);
  const problem = refusal instanceof ApiError ? refusal : undefined;
  const said = (wrong: string | undefined, field: string) => {
    const text = wrong ?? (problem?.field === field ? problem && fieldText(problem) : undefined);
    return text ? { validateStatus: 'error' as const, help: text } : {};
  };
  const input = (name: (typeof texts)[number]) => (
    <Col key={name} xs={24} md={12}>
      <Form.Item label={t(name)} htmlFor={`company-${name}`} {...said(undefined, name)}>
        <Input
          id={`company-${name}`}
          maxLength={500}
          autoComplete="off"
          value={draft[name]}
          onChange={(e) => {
            onDirty();
            setDraft({ ...draft, [name]: e.target.value });
          }}
        />
      </Form.Item>
    </Col>
  );
  return (
    <Form
      layout="vertical"
      onSubmitCapture={(e) => {
        e.preventDefault();
        setTried(true);
        if (!isWrong) onSave(draft, rows);
      }}
    >
      <Flex vertical gap="middle">
        <Card size="small">
          <Columns gutter={16}>
            <Col xs={24} md={12}>
              <Form.Item
                label={t('taxpayer_id')}
                htmlFor="company-id"
                required={isNew}
                extra={isNew ? t('idHelp') : undefined}
                {...said(tried && wrongID ? t(wrongID) : undefined, 'taxpayer_id')}
              >
                <Input
                  id="company-id"
                  disabled={!isNew}
                  aria-required={isNew}
                  autoComplete="off"
                  spellCheck={false}
                  value={draft.taxpayer_id}
                  onChange={(e) => {
                    onDirty();
                    setDraft({ ...draft, taxpayer_id: e.target.value.trim() });
                  }}
                />
              </Form.Item>
            </Col>
            {texts.map(input)}
          </Columns>
        </Card>
        <Card size="small" title={t('accounts')}>
          <Typography.Paragraph type="secondary">{t('accountsHelp')}</Typography.Paragraph>
          {rows.map((row, i) => {
            const fault = rowFault(rows, i);
            const bad = fault && (tried || fault === 'twice') ? fault : undefined;
            return (
              <Columns key={i} gutter={12}>
                <Col xs={24} sm={11}>
                  <Form.Item
                    label={t('realm')}
                    htmlFor={`account-realm-${i}`}
                    {...said(bad === 'realm' || bad === 'twice' ? t(`row.${bad}`) : undefined, `accounts.${row.realm}`)}
                  >
                    <RealmSelect
                      id={`account-realm-${i}`}
                      value={row.realm}
                      onChange={(realm) => change(rows.map((r, j) => (j === i ? { realm, key: '' } : r)))}
                    />
                  </Form.Item>
                </Col>
                <Col xs={20} sm={11}>
                  <Form.Item
                    label={t('account')}
                    htmlFor={`account-key-${i}`}
                    {...said(bad === 'key' ? t('row.key') : undefined, '')}
                  >
                    <KeySelect
                      id={`account-key-${i}`}
                      realm={row.realm}
                      value={row.key}
                      onChange={(key) => change(rows.map((r, j) => (j === i ? { ...r, key } : r)))}
                    />
                  </Form.Item>
                </Col>
                <Col xs={4} sm={2}>
                  <Form.Item label=" " colon={false}>
                    <Button
                      danger
                      type="text"
                      icon={<DeleteOutlined aria-hidden />}
                      aria-label={t('removeAccount', { number: i + 1 })}
                      onClick={() => change(rows.filter((_, j) => j !== i))}
                    />
                  </Form.Item>
                </Col>
              </Columns>
            );
          })}
          <Button disabled={rows.length >= 100} onClick={() => change([...rows, { realm: '', key: '' }])}>
            + {t('addAccount')}
          </Button>
        </Card>
        <ApiErrorAlert error={refusal} />
        <Flex gap="small">
          <Button type="primary" htmlType="submit" loading={saving}>
            {t('save')}
          </Button>
          <Button onClick={onCancel}>{t('cancel')}</Button>
        </Flex>
      </Flex>
    </Form>
  );
}
