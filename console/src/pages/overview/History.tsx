import { Card, Segmented, Skeleton } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { StateTag, states } from '../../components/StateTag';
import { Bars } from './Bars';
import { type Activity, useActivity } from './data';
import { hourly } from './hourly';

const series = [
  { name: 'calls', tone: 'calm' },
  { name: 'fetches', tone: 'calm' },
  { name: 'heals', tone: 'good' },
  { name: 'errors', tone: 'bad' },
] as const;

// Table has the numbers of the charts, for those who cannot use pictures.
function Table({ activity }: { activity: Activity }) {
  const { t } = useTranslation('overview');
  return (
    <details>
      <summary>{t('activity.table')}</summary>
      <div className="scroll" tabIndex={0} role="region" aria-label={t('activity.title')}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('activity.hour')}</th>
              {series.map(({ name }) => (
                <th key={name} scope="col">
                  {t(`activity.${name}`)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {hourly(activity.list).map((hour) => (
              <tr key={hour.hour}>
                <th scope="row">{hour.hour}</th>
                {series.map(({ name }) => (
                  <td key={name}>{hour[name]}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Charts({ activity }: { activity: Activity }) {
  const { t } = useTranslation('overview');
  return (
    <div className="charts">
      {series.map(({ name, tone }) => {
        const total = activity.list.reduce((sum, sample) => sum + sample[name], 0);
        return (
          <figure key={name}>
            <figcaption>
              {t(`activity.${name}`)} <strong>{total.toLocaleString()}</strong>
            </figcaption>
            <Bars
              bars={activity.list.map((sample) => ({ at: sample.at, value: sample[name] }))}
              tone={tone}
              label={t('activity.label', { name: t(`activity.${name}`), total })}
            />
          </figure>
        );
      })}
    </div>
  );
}

// History is what happened in the last hours on this node, what the tokens are
// now, and when they will be renewed.
export function History() {
  const { t } = useTranslation('overview');
  const [hours, setHours] = useState(6);
  const { data, error } = useActivity(hours);
  const ahead = data?.renewals.reduce((sum, { count }) => sum + count, 0) ?? 0;
  const choose = (
    <Segmented
      aria-label={t('activity.hours_label')}
      value={hours}
      onChange={setHours}
      options={[1, 6, 24].map((value) => ({ value, label: t('activity.hours', { count: value }) }))}
    />
  );
  return (
    <>
      <ApiErrorAlert error={error} />
      <Card title={<h2>{t('states.title')}</h2>}>
        {!data && !error && <Skeleton active paragraph={{ rows: 1 }} />}
        {data && (
          <ul className="states">
            {states.map((state) => (
              <li key={state}>
                <StateTag state={state} /> <strong>{(data.states[state] ?? 0).toLocaleString()}</strong>
              </li>
            ))}
          </ul>
        )}
      </Card>
      <Card title={<h2>{t('activity.title')}</h2>} extra={choose}>
        {!data && !error && <Skeleton active />}
        {data && <Charts activity={data} />}
        {data && <Table activity={data} />}
      </Card>
      <Card title={<h2>{t('renewals.title')}</h2>}>
        {data && (
          <>
            <p>{t('renewals.text', { count: ahead, hours: t('activity.hours', { count: hours }) })}</p>
            <Bars
              bars={data.renewals.map(({ at, count }) => ({ at, value: count }))}
              tone="calm"
              label={t('renewals.text', { count: ahead, hours: t('activity.hours', { count: hours }) })}
            />
          </>
        )}
      </Card>
    </>
  );
}
