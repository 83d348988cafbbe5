import { CheckCircleOutlined, ExclamationCircleOutlined, WarningOutlined } from '@ant-design/icons';
import { Button, Card, Skeleton, Tag } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { Said } from '../../components/Said';
import { StateTag } from '../../components/StateTag';
import { TimeAgo } from '../../components/TimeAgo';
import { WhyText } from '../../components/WhyText';
import { attentionOf, type Item } from './attention';
import { shown, useStatus } from './data';

// secretPath is the page of one secret, which has "authorize" and "test".
function secretPath({ realm, key }: { realm: string; key: string }): string {
  return `/secrets/${encodeURIComponent(realm)}/${encodeURIComponent(key)}`;
}

function Todo({ item }: { item: Item }) {
  const { t } = useTranslation(['overview', 'failure']);
  const { token, why } = item;
  const realm = item.kind === 'budget' ? String(item.values.realm) : undefined;
  return (
    <li className={`todo ${item.severity}`}>
      {item.severity === 'error' ? <ExclamationCircleOutlined aria-hidden /> : <WarningOutlined aria-hidden />}
      <div>
        <h3>
          {token ? <Link to={secretPath(token)}>{`${token.realm} / ${token.key}`}</Link> : null}
          {realm && <Link to={`/realms/${encodeURIComponent(realm)}`}>{realm}</Link>}
          {token && item.kind !== 'reauth' && <StateTag state={token.state} />}
          <span>{why ? t(`failure:${why}.reason`) : t(`attention.${item.kind}`, item.values)}</span>
          {item.at && (
            <small>
              <TimeAgo at={item.at} />
            </small>
          )}
        </h3>
        {why && <WhyText why={why} code={item.kind === 'failing' ? token?.code : undefined} address={item.kind === 'failing' ? token?.address : undefined} said={item.said} />}
        {item.advice && <p>{t(item.advice)}</p>}
        {!why && <Said lines={[item.said]} />}
        {token?.next_refresh && item.kind === 'failing' && (
          <p>
            {t('next_try')} <TimeAgo at={token.next_refresh} over={t('common:next_call')} />
          </p>
        )}
      </div>
      {token && (item.kind === 'reauth' || item.kind === 'failing') && (
        <Button className="action" href={`#${secretPath(token)}`}>
          {t(`do.${item.kind}`)}
        </Button>
      )}
    </li>
  );
}

// Attention lists what needs a person, what is worst first.
export function Attention() {
  const { t, i18n } = useTranslation(['overview', 'failure']);
  const { data, error } = useStatus();
  const items = data ? attentionOf(data, (name) => i18n.exists(name)) : [];
  const more = Math.max(0, (data?.total ?? 0) - shown);
  return (
    <Card
      className="attention"
      title={
        <h2>
          {t('attention.title')}
          {items.length > 0 && <Tag className="count" color={items[0]?.severity}>{items.length + more}</Tag>}
        </h2>
      }
    >
      <ApiErrorAlert error={error} />
      {!data && !error && <Skeleton active />}
      {data && items.length === 0 && (
        <p className="all-well">
          <CheckCircleOutlined aria-hidden /> {t('attention.none')}
        </p>
      )}
      <ul aria-live="polite">
        {items.map((item) => (
          <Todo key={item.id} item={item} />
        ))}
      </ul>
      {more > 0 && <p>{t('attention.more', { count: more })}</p>}
    </Card>
  );
}
