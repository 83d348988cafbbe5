import {
  CheckCircleOutlined,
  ClockCircleOutlined,
  CloseCircleOutlined,
  ExclamationCircleOutlined,
  PauseCircleOutlined,
} from '@ant-design/icons';
import { Tag } from 'antd';
import { useTranslation } from 'react-i18next';

const looks = {
  live: { color: 'success', icon: <CheckCircleOutlined aria-hidden /> },
  expired: { color: 'default', icon: <ClockCircleOutlined aria-hidden /> },
  failing: { color: 'error', icon: <CloseCircleOutlined aria-hidden /> },
  reauth_required: { color: 'warning', icon: <ExclamationCircleOutlined aria-hidden /> },
  idle: { color: 'default', icon: <PauseCircleOutlined aria-hidden /> },
} as const;

export const states = Object.keys(looks) as (keyof typeof looks)[];

// StateTag is the state of a token: a word, a colour and an icon, so that no one
// of them has to be seen. A state that this release does not know is shown as it
// is; absent means that memory knows nothing of it.
export function StateTag({ state }: { state: string | undefined }) {
  const { t } = useTranslation();
  const known = states.find((one) => one === state);
  if (!known) {
    return <Tag>{state ?? t('state.unknown')}</Tag>;
  }
  return (
    <Tag color={looks[known].color} icon={looks[known].icon}>
      {t(`state.${known}`)}
    </Tag>
  );
}
