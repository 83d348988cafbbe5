import { Alert, Flex, Grid, Table, Tag, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { broad, clashes, type Broad, type Clash, type Rule } from './rule';
import { ruleInWords, type Translate } from './words';

const kinds = { danger: 'error', warning: 'warning', info: 'info' } as const;

// Remarks are what deserves a second look in a rule.
export function Remarks({ found, clash }: { found: Broad[]; clash: Clash[] }) {
  const { t } = useTranslation('clients');
  if (found.length + clash.length === 0) return null;
  return (
    <Flex vertical gap={4}>
      {found.map((b) => (
        <Alert key={b.what} type={kinds[b.level]} showIcon title={t(`broad.${b.what}`)} style={{ padding: '4px 10px' }} />
      ))}
      {clash.map((c, i) => (
        <Alert
          key={i}
          type="warning"
          showIcon
          style={{ padding: '4px 10px' }}
          title={t(`clash.${c.what}`, { by: c.by, right: c.right, what: c.right ? t(`clashWhat.${c.right}`) : '' })}
        />
      ))}
    </Flex>
  );
}

function Words({ list, all }: { list: readonly string[] | undefined; all: string }) {
  if (!list?.length) return <Typography.Text type="secondary">{all}</Typography.Text>;
  return (
    <Flex vertical gap={2} align="start">
      {list.map((text) => (
        <Typography.Text key={text} code style={{ overflowWrap: 'anywhere' }}>
          {text}
        </Typography.Text>
      ))}
    </Flex>
  );
}

// RulesTable shows the rules of a client, each with a sentence that says what it
// allows. `decided` is the index of the rule that decided about a request. The
// numbers are those of the API, of explanations and of the command line.
export function RulesTable({ rules, decided, remarks = true }: { rules: Rule[]; decided?: number | null; remarks?: boolean }) {
  const { t, i18n } = useTranslation('clients');
  const words = t as unknown as Translate;
  const clash = clashes(rules);
  // On a phone the sentence has to do: it says all of the rule.
  const wide = Grid.useBreakpoint().md ?? true;
  const rows = rules.map((rule, index) => ({ rule, index }));
  return (
    <Table
      size="small"
      rowKey="index"
      pagination={rows.length > 50 ? { pageSize: 50, showSizeChanger: false } : false}
      dataSource={rows}
      scroll={wide ? { x: 860 } : {}}
      locale={{ emptyText: t('noRules') }}
      onRow={({ index }) =>
        index === decided
          ? {
              'aria-current': true,
              style: {
                outline: '2px solid var(--ant-color-primary)',
                outlineOffset: -2,
                background: 'var(--ant-color-primary-bg)',
              },
            }
          : {}
      }
      columns={[
        { title: t('rule.number'), width: 64, render: (_, r) => r.index },
        {
          title: t('rule.effect'),
          width: 76,
          render: (_, { rule }) => <Tag color={rule.effect === 'deny' ? 'red' : 'green'}>{t(`rule.${rule.effect}`)}</Tag>,
        },
        {
          title: t('rule.words'),
          ...(wide ? { width: 320 } : {}),
          render: (_, { rule, index }) => (
            <Flex vertical gap={6}>
              <span lang={i18n.language} style={{ overflowWrap: 'anywhere' }}>
                {ruleInWords(rule, words)}
              </span>
              {remarks && <Remarks found={broad(rule)} clash={clash.filter((c) => c.rule === index)} />}
            </Flex>
          ),
        },
        { title: t('rule.rights'), responsive: ['md'], render: (_, { rule }) => <Words list={rule.rights} all="" /> },
        { title: t('rule.realms'), responsive: ['md'], render: (_, { rule }) => <Words list={rule.realms} all="" /> },
        { title: t('rule.keys'), responsive: ['md'], render: (_, { rule }) => <Words list={rule.keys} all={t('rule.all')} /> },
        {
          title: t('rule.methods'),
          responsive: ['md'],
          render: (_, { rule }) => <Words list={rule.methods} all={t('rule.all')} />,
        },
        { title: t('rule.paths'), responsive: ['md'], render: (_, { rule }) => <Words list={rule.paths} all={t('rule.all')} /> },
      ]}
    />
  );
}
