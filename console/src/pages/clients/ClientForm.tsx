import {
  Alert,
  Button,
  Card,
  Col,
  DatePicker,
  Flex,
  Form,
  Input,
  InputNumber,
  Radio,
  Row,
  Select,
  Space,
  Switch,
  Typography,
} from 'antd';
import dayjs from 'dayjs';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../../api/error';
import { ApiErrorAlert, useFieldText } from '../../components/ApiErrorAlert';
import { RealmSelect } from '../../components/RealmSelect';
import { idFault, isSource, parseLimit, type Draft } from './client';
import { RuleEditor } from './RuleEditor';
import { clashes, faults, type Rule } from './rule';
import { template, templateNames, type TemplateName } from './templates';

interface Props {
  start: Draft;
  isNew: boolean;
  // losesOwn: it is the client that is signed in.
  isOwn: boolean;
  saving: boolean;
  refusal: Error | undefined;
  onSave: (draft: Draft) => void;
  onCancel: () => void;
  onDirty: () => void;
}

// ClientForm writes a client: what kind it is, its rules, its limits, and who it
// is.
export function ClientForm({ start, isNew, isOwn, saving, refusal, onSave, onCancel, onDirty }: Props) {
  const { t } = useTranslation('clients');
  const [draft, setDraft] = useState(start);
  const [kind, setKind] = useState<TemplateName>();
  const [realm, setRealm] = useState('');
  const [tried, setTried] = useState(false);
  const set = (more: Partial<Draft>) => {
    onDirty();
    setDraft({ ...draft, ...more });
  };
  const setRule = (i: number, rule: Rule) => set({ rules: draft.rules.map((r, j) => (j === i ? rule : r)) });
  const choose = (name: TemplateName, id: string) => {
    setKind(name);
    setRealm(id);
    set({ rules: template(name, id) });
  };

  const fieldText = useFieldText();
  const wrongID = isNew ? idFault(draft.id) : undefined;
  const wrongSource = draft.sources.find((s) => !isSource(s));
  const isWrong = Boolean(wrongID ?? wrongSource) || draft.rules.some((r) => faults(r).length > 0);
  const clash = clashes(draft.rules);
  // What the API refuses is said beside the field where there is one.
  const problem = refusal instanceof ApiError ? refusal : undefined;
  const refusedRule = /^rules\[(\d+)\]/.exec(problem?.field ?? '');
  const error = (wrong: string | undefined, field: string) => {
    const text = wrong ?? (problem?.field === field || problem?.field?.startsWith(`${field}[`) ? problem && fieldText(problem) : undefined);
    return text ? { validateStatus: 'error' as const, help: text } : {};
  };

  return (
    <Form
      layout="vertical"
      onSubmitCapture={(e) => {
        e.preventDefault();
        setTried(true);
        if (!isWrong) onSave(draft);
      }}
    >
      <Flex vertical gap="middle">
        {isOwn && <Alert type="warning" showIcon title={t('form.loses')} />}
        {isNew && (
          <Section title={t('form.template')}>
            <Radio.Group value={kind} onChange={(e) => choose(e.target.value as TemplateName, realm)} style={{ width: '100%' }}>
              <Row gutter={[12, 12]}>
                {templateNames.map((name) => (
                  <Col key={name} xs={24} md={12} xl={8}>
                    <Radio value={name}>
                      <strong>{t(`template.${name}`)}</strong>
                      <br />
                      <Typography.Text type="secondary">{t(`template.${name}Help`)}</Typography.Text>
                    </Radio>
                  </Col>
                ))}
              </Row>
            </Radio.Group>
            {kind === 'app' && (
              <Form.Item label={t('form.realm')} htmlFor="template-realm" style={{ maxWidth: 420, margin: '16px 0 0' }}>
                <RealmSelect id="template-realm" value={realm} onChange={(id) => choose('app', id)} />
              </Form.Item>
            )}
          </Section>
        )}
        <Section>
          <Row gutter={16}>
            <Col xs={24} md={10}>
              <Form.Item
                label={t('form.id')}
                htmlFor="client-id"
                required={isNew}
                extra={isNew ? t('form.idHelp') : undefined}
                {...error(tried && wrongID ? t(`form.${wrongID}`) : undefined, 'id')}
              >
                <Input
                  id="client-id"
                  value={draft.id}
                  disabled={!isNew}
                  aria-required={isNew}
                  autoComplete="off"
                  spellCheck={false}
                  onChange={(e) => set({ id: e.target.value })}
                />
              </Form.Item>
            </Col>
            <Col xs={24} md={14}>
              <Form.Item
                label={t('form.comment')}
                htmlFor="client-comment"
                extra={t('form.commentHelp')}
                {...error(undefined, 'comment')}
              >
                <Input
                  id="client-comment"
                  value={draft.comment}
                  maxLength={1024}
                  onChange={(e) => set({ comment: e.target.value })}
                />
              </Form.Item>
            </Col>
          </Row>
        </Section>
        <Section title={t('form.rules')} hint={t('rule.order')}>
          <Flex vertical gap="middle">
            {draft.rules.map((rule, i) => (
              <RuleEditor
                key={i}
                number={i}
                rule={rule}
                showFaults={tried}
                clash={clash.filter((c) => c.rule === i)}
                refused={refusedRule && Number(refusedRule[1]) === i ? problem && fieldText(problem) : undefined}
                onChange={(r) => setRule(i, r)}
                onCopy={() => set({ rules: [...draft.rules.slice(0, i + 1), { ...rule }, ...draft.rules.slice(i + 1)] })}
                onRemove={() => set({ rules: draft.rules.filter((_, j) => j !== i) })}
              />
            ))}
            <Button
              onClick={() => set({ rules: [...draft.rules, { effect: 'allow', rights: ['use'], realms: [] }] })}
              style={{ alignSelf: 'start' }}
            >
              + {t('rule.add')}
            </Button>
          </Flex>
        </Section>
        <Section title={t('form.limits')} hint={t('form.limitsHelp')}>
          <Row gutter={16}>
            {(['requests', 'fetches'] as const).map((name) => (
              <Col key={name} xs={24} md={8}>
                <Form.Item label={t(`limit.${name}`)} htmlFor={`limit-${name}`} {...error(undefined, `limits.${name}`)}>
                  <LimitInput
                    id={`limit-${name}`}
                    value={draft.limits[name]}
                    onChange={(text) => set({ limits: without(draft.limits, name, text) })}
                  />
                </Form.Item>
              </Col>
            ))}
            <Col xs={24} md={8}>
              <Form.Item label={t('limit.concurrency')} htmlFor="limit-concurrency" {...error(undefined, 'limits.concurrency')}>
                <InputNumber
                  id="limit-concurrency"
                  min={1}
                  max={1_000_000}
                  precision={0}
                  value={draft.limits.concurrency ?? null}
                  style={{ width: '100%' }}
                  onChange={(n) => set({ limits: without(draft.limits, 'concurrency', n ?? undefined) })}
                />
              </Form.Item>
            </Col>
          </Row>
        </Section>
        <Section title={t('form.identity')} hint={t('form.identityHelp')}>
          <Row gutter={16}>
            {(['users', 'subjects', 'sources'] as const).map((name) => (
              <Col key={name} xs={24} md={8}>
                <Form.Item
                  label={t(`form.${name}`)}
                  htmlFor={`client-${name}`}
                  extra={t(`form.${name}Help`)}
                  {...error(name === 'sources' && wrongSource ? t('form.sourceWrong', { value: wrongSource }) : undefined, name)}
                >
                  <Select
                    id={`client-${name}`}
                    mode="tags"
                    open={false}
                    suffixIcon={null}
                    value={draft[name]}
                    tokenSeparators={name === 'sources' ? [' ', ','] : ['\n']}
                    onChange={(list: string[]) => set({ [name]: list })}
                    style={{ width: '100%' }}
                  />
                </Form.Item>
              </Col>
            ))}
            <Col xs={24} md={8}>
              <Form.Item
                label={t('form.expires')}
                htmlFor="client-expires"
                extra={t('form.expiresHelp')}
                {...error(undefined, 'expires_at')}
              >
                <DatePicker
                  id="client-expires"
                  showTime={{ format: 'HH:mm' }}
                  format="YYYY-MM-DD HH:mm"
                  style={{ width: '100%' }}
                  value={draft.expires_at ? dayjs(draft.expires_at) : null}
                  onChange={(d) => set({ expires_at: d ? d.toDate().toISOString() : null })}
                />
              </Form.Item>
            </Col>
            <Col xs={24} md={16}>
              <Form.Item label={t('form.edge')} htmlFor="client-edge" extra={t('form.edgeHelp')}>
                <Switch id="client-edge" checked={draft.edge} onChange={(edge) => set({ edge })} />
              </Form.Item>
            </Col>
          </Row>
        </Section>
        <ApiErrorAlert error={refusal} />
        <Flex gap="small">
          <Button type="primary" htmlType="submit" loading={saving}>
            {t(isNew ? 'form.create' : 'form.save')}
          </Button>
          <Button onClick={onCancel}>{t('form.cancel')}</Button>
        </Flex>
      </Flex>
    </Form>
  );
}

function Section({ title, hint, children }: { title?: string; hint?: string; children: ReactNode }) {
  return (
    <Card title={title}>
      {hint && <Typography.Paragraph type="secondary">{hint}</Typography.Paragraph>}
      {children}
    </Card>
  );
}

// LimitInput writes so many calls in a unit of time: "100/s".
function LimitInput({
  id,
  value,
  onChange,
}: {
  id: string;
  value: string | undefined;
  onChange: (text: string | undefined) => void;
}) {
  const { t } = useTranslation('clients');
  const [unit, setUnit] = useState(parseLimit(value).unit);
  const { calls } = parseLimit(value);
  const change = (n: number | null, u: string) => onChange(n ? `${n}/${u}` : undefined);
  return (
    <Space.Compact block>
      <InputNumber id={id} min={1} precision={0} value={calls} onChange={(n) => change(n, unit)} style={{ width: '60%' }} />
      <Select
        aria-label={t('form.limits')}
        value={unit}
        style={{ width: '40%' }}
        options={['s', 'm', 'h', 'd'].map((u) => ({ value: u, label: t(`unit.${u}`) }))}
        onChange={(u) => {
          setUnit(u);
          change(calls, u);
        }}
      />
    </Space.Compact>
  );
}

function without<T extends object, K extends keyof T>(object: T, name: K, value: T[K] | undefined): T {
  const { [name]: _, ...rest } = object;
  return (value === undefined ? rest : { ...rest, [name]: value }) as T;
}
