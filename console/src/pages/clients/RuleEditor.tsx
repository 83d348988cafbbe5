import { CopyOutlined, DeleteOutlined } from '@ant-design/icons';
import { Button, Card, Col, Flex, Form, Row, Segmented, Select, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { RealmsSelect } from '../../components/RealmSelect';
import { Remarks } from './RulesTable';
import { broad, faults, hasRequests, methods, rights, type Clash, type Rule } from './rule';
import { ruleInWords, type Translate } from './words';

interface Props {
  rule: Rule;
  number: number;
  clash: Clash[];
  // showFaults: somebody tried to save; until then, what is not filled in yet is
  // no fault.
  showFaults: boolean;
  // refused is what the API says about this rule.
  refused?: string | undefined;
  onChange: (rule: Rule) => void;
  onCopy: () => void;
  onRemove: () => void;
}

// RuleEditor edits one rule, and says in words what comes of it.
export function RuleEditor({ rule, number, clash, showFaults, refused, onChange, onCopy, onRemove }: Props) {
  const { t } = useTranslation('clients');
  const found = faults(rule);
  const set = (more: Partial<Rule>) => onChange({ ...rule, ...more });
  const fault = (field: keyof Rule) => {
    const f = found.find((x) => x.field === field && (showFaults || (x.fault !== 'noRights' && x.fault !== 'noRealm')));
    return f ? { validateStatus: 'error' as const, help: t(`fault.${f.fault}`, { value: f.value }) } : {};
  };
  const withRequests = hasRequests(rule) || rule.rights.length === 0;
  const id = (field: string) => `rule-${number}-${field}`;
  const tags = {
    mode: 'tags' as const,
    tokenSeparators: [' ', ',', '\n'],
    style: { width: '100%' },
    open: false,
    suffixIcon: null,
  };

  return (
    <Card
      size="small"
      title={
        <Flex gap="small" align="center" wrap>
          <span>
            {t('rule.number')} {number}
          </span>
          <Segmented<'allow' | 'deny'>
            size="small"
            value={rule.effect as 'allow' | 'deny'}
            aria-label={t('rule.effect')}
            onChange={(effect) => set({ effect })}
            options={[
              { value: 'allow', label: t('rule.allow') },
              { value: 'deny', label: t('rule.deny') },
            ]}
          />
        </Flex>
      }
      extra={
        <Flex gap={4}>
          <Button size="small" type="text" icon={<CopyOutlined aria-hidden />} aria-label={t('rule.copy', { number })} onClick={onCopy} />
          <Button
            size="small"
            type="text"
            danger
            icon={<DeleteOutlined aria-hidden />}
            aria-label={t('rule.remove', { number })}
            onClick={onRemove}
          />
        </Flex>
      }
    >
      <Row gutter={[12, 0]}>
        <Col xs={24} lg={8}>
          <Form.Item label={t('rule.rights')} htmlFor={id('rights')} required {...fault('rights')}>
            <Select
              id={id('rights')}
              aria-required
              mode="multiple"
              value={rule.rights}
              onChange={(list) => set({ rights: list })}
              style={{ width: '100%' }}
              optionLabelProp="value"
              options={rights.map((right) => ({
                value: right,
                label: (
                  <span style={{ whiteSpace: 'normal' }}>
                    <Typography.Text code>{right}</Typography.Text> {t(`rightHelp.${right}`)}
                  </span>
                ),
              }))}
              popupMatchSelectWidth={420}
            />
          </Form.Item>
        </Col>
        <Col xs={24} sm={12} lg={8}>
          <Form.Item label={t('rule.realms')} htmlFor={id('realms')} required {...fault('realms')}>
            <RealmsSelect
              id={id('realms')}
              aria-required
              value={rule.realms}
              onChange={(realms) => set({ realms })}
              placeholder={t('rule.realmPlaceholder')}
            />
          </Form.Item>
        </Col>
        <Col xs={24} sm={12} lg={8}>
          <Form.Item label={t('rule.keys')} htmlFor={id('keys')} {...fault('keys')}>
            <Select
              {...tags}
              id={id('keys')}
              value={rule.keys ?? []}
              onChange={(keys: string[]) => set({ keys })}
              placeholder={t('rule.keyPlaceholder')}
            />
          </Form.Item>
        </Col>
        <Col xs={24} lg={8}>
          <Form.Item
            label={t('rule.methods')}
            htmlFor={id('methods')}
            {...fault('methods')}
            extra={withRequests ? undefined : t('rule.onlyUse')}
          >
            <Select
              id={id('methods')}
              mode="tags"
              value={rule.methods ?? []}
              disabled={!withRequests && !rule.methods?.length}
              placeholder={t('rule.methodPlaceholder')}
              options={methods.map((value) => ({ value }))}
              tokenSeparators={[' ', ',']}
              style={{ width: '100%' }}
              onChange={(list: string[]) => set({ methods: list.map((m) => m.toUpperCase()) })}
            />
          </Form.Item>
        </Col>
        <Col xs={24} lg={16}>
          <Form.Item
            label={t('rule.paths')}
            htmlFor={id('paths')}
            {...fault('paths')}
            extra={withRequests ? t('rule.pathHint') : undefined}
          >
            <Select
              {...tags}
              tokenSeparators={[' ', '\n']}
              id={id('paths')}
              value={rule.paths ?? []}
              disabled={!withRequests && !rule.paths?.length}
              placeholder={t('rule.pathPlaceholder')}
              onChange={(paths: string[]) => set({ paths })}
            />
          </Form.Item>
        </Col>
      </Row>
      <Flex vertical gap={6} aria-live="polite">
        {refused && <Typography.Text type="danger">{refused}</Typography.Text>}
        <Typography.Text strong style={{ overflowWrap: 'anywhere' }}>
          {ruleInWords(rule, t as unknown as Translate)}
        </Typography.Text>
        <Remarks found={broad(rule)} clash={clash} />
      </Flex>
    </Card>
  );
}
