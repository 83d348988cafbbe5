import { BgColorsOutlined, GlobalOutlined, LogoutOutlined, UserOutlined } from '@ant-design/icons';
import { useMutation } from '@tanstack/react-query';
import { App, Button, Dropdown } from 'antd';
import { useTranslation } from 'react-i18next';
import { signOut, useSession } from '../api/session';
import { useErrorText } from '../components/ApiErrorAlert';
import { type Language, setLanguage } from './language';
import type { ThemeChoice } from './stored';
import { useTheme } from './theme';

const languages = [
  { key: 'en', label: <span lang="en">English</span> },
  { key: 'zh', label: <span lang="zh-CN">中文</span> },
];

// Settings are the buttons at the right of the head.
export function Settings() {
  const { t, i18n } = useTranslation();
  const [choice, choose] = useTheme();
  const { session } = useSession();
  const { message } = App.useApp();
  const errorText = useErrorText();
  const leave = useMutation({
    mutationFn: signOut,
    onError: (error) => void message.error(errorText(error)),
  });
  const themes = (['light', 'dark', 'system'] as const).map((key) => ({ key, label: t(`theme.${key}`) }));
  return (
    <div className="settings">
      <Dropdown
        autoFocus
        trigger={['click']}
        menu={{
          items: languages,
          selectedKeys: [i18n.language],
          onClick: ({ key }) => void setLanguage(key as Language),
        }}
      >
        <Button type="text" icon={<GlobalOutlined aria-hidden />} aria-label={t('language')} title={t('language')} />
      </Dropdown>
      <Dropdown
        autoFocus
        trigger={['click']}
        menu={{ items: themes, selectedKeys: [choice], onClick: ({ key }) => choose(key as ThemeChoice) }}
      >
        <Button type="text" icon={<BgColorsOutlined aria-hidden />} aria-label={t('theme.label')} title={t('theme.label')} />
      </Dropdown>
      {session && (
        <span className="who" title={t(`kind.${session.kind}`)}>
          <UserOutlined aria-hidden /> {session.id || t(`kind.${session.kind}`)}
        </span>
      )}
      {session?.expires_at && (
        <Button type="text" icon={<LogoutOutlined aria-hidden />} loading={leave.isPending} onClick={() => leave.mutate()}>
          {t('sign_out')}
        </Button>
      )}
    </div>
  );
}
