import { CheckCircleOutlined, ExclamationCircleOutlined, WarningOutlined } from '@ant-design/icons';
import { Button, Card, Skeleton } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { StateTag } from '../../components/StateTag';
import { TimeAgo } from '../../components/TimeAgo';
import { attentionOf, type Item } from './attention';
import { shown, useStatus } from './data';

// secretPath is the page of one secret, which has "authorize" and "test".
function secretPath({ realm, key }: { realm: string; key: string }): string {
  return `/secrets/${encodeURIComponent(realm)}/${encodeURIComponent(key)}`;
}

function Todo({ item }: { item: Item }) {
  const { t } = useTranslation('overview');
  const { token } = item;
  return (
    <li className={`todo ${item.severity}`}>
      {item.severity === 'error' ? <ExclamationCircleOutlined aria-hidden /> : <WarningOutlined aria-hidden />}
      <div>
        <h3>
          {token ? <Link to={secretPath(token)}>{`${token.realm} / ${token.key}`}</Link> : null}
          {token && <StateTag state={token.state} />}
          <span>{t(`attention.${item.kind}`, item.values)}</span>
          {item.at && (
            <small>
              <TimeAgo at={item.at} />
            </small>
          )}
        </h3>
        {item.said && <p className="said">{item.said}</p>}
        {item.advice && <p>{t(item.advice)}</p>}
        {token?.next_refresh && item.kind === 'failing' && (
          <p>
            {t('next_try')} <TimeAgo at={token.next_refresh} />
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
  const { t } = useTranslation('overview');
  const { data, error } = useStatus();
  const items = data ? attentionOf(data) : [];
  const more = Math.max(0, (data?.total ?? 0) - shown);
  return (
    <Card title={<h2>{t('attention.title')}</h2>} className="attention">
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
