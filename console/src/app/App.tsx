import { QueryClientProvider } from '@tanstack/react-query';
import { App as AntApp, ConfigProvider } from 'antd';
import enUS from 'antd/locale/en_US';
import zhCN from 'antd/locale/zh_CN';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { HashRouter } from 'react-router';
import { queryClient } from '../api/query';
import { requiredMark } from '../components/requiredMark';
import { Gate } from './Gate';
import { ThemeChoiceContext, useThemeChoice } from './theme';
import { dark, light } from './themes';

// App gives the theme, the language and the data to everything below it.
export function App({ link }: { link: string | undefined }) {
  const { i18n } = useTranslation();
  const [choice, choose, isDark] = useThemeChoice();
  const theme = isDark ? dark : light;
  // Dialogs and menus are children of <body>: it needs the variables too.
  useEffect(() => {
    document.documentElement.classList.toggle('dark', isDark);
  }, [isDark]);
  const [code] = useState(link);
  return (
    <ThemeChoiceContext value={[choice, choose]}>
      <ConfigProvider theme={theme} locale={i18n.language === 'zh' ? zhCN : enUS} button={{ autoInsertSpace: false }} form={{ requiredMark }}>
        <AntApp className="app">
          <QueryClientProvider client={queryClient}>
            <HashRouter>
              <Gate link={code} />
            </HashRouter>
          </QueryClientProvider>
        </AntApp>
      </ConfigProvider>
    </ThemeChoiceContext>
  );
}
