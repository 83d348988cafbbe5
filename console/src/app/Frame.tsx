import { MenuOutlined } from '@ant-design/icons';
import { Button, Drawer, Grid, Layout, Menu, Spin } from 'antd';
import { Suspense, useEffect, useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, Route, Routes, useLocation } from 'react-router';
import { useSession } from '../api/session';
import { Failed } from './Failed';
import { NotFound } from './NotFound';
import { whenIdle } from './page';
import { routes } from './routes';
import { Settings } from './Settings';

// Frame is what all pages have around them: the menu (a drawer on a phone), the
// language, the theme and who is signed in.
export function Frame() {
  const { t } = useTranslation();
  const { session, may } = useSession();
  const { pathname } = useLocation();
  const wide = Grid.useBreakpoint().lg ?? window.innerWidth >= 992;
  const [open, setOpen] = useState(false);

  const allowed = routes.filter(({ needs }) => !needs || needs.some(may));
  const selected = `/${pathname.split('/')[1] ?? ''}`;
  const menu = useMemo(() => {
    const items = routes
      .filter(({ menu, needs }) => menu && (!needs || needs.some(may)))
      .map(({ path, menu }) => ({ key: path, label: <Link to={path}>{t(`menu.${menu}`)}</Link> }));
    return (
      <nav aria-label={t('menu.label')}>
        <Menu mode="inline" items={items} selectedKeys={[selected]} onClick={() => setOpen(false)} />
      </nav>
    );
  }, [session, t, selected]); // `may` is what the session says
  // The lists are asked for most, and have most to load.
  useEffect(() => whenIdle(() => void Promise.allSettled(allowed.map(({ page }) => page.ahead?.()))), [session]);
  const skip = () => document.getElementById('content')?.focus();

  return (
    <Layout className="frame">
      <button type="button" className="skip" onClick={skip}>
        {t('skip')}
      </button>
      <Layout.Header className="head">
        {!wide && <Button type="text" icon={<MenuOutlined aria-hidden />} aria-label={t('menu.open')} onClick={() => setOpen(true)} />}
        <Link to="/" className="brand">
          caddy-tokens
        </Link>
        <Settings />
      </Layout.Header>
      <Layout hasSider={wide}>
        {wide ? (
          <Layout.Sider theme="light" width={208} className="side">
            {menu}
          </Layout.Sider>
        ) : (
          <Drawer placement="left" size={256} open={open} onClose={() => setOpen(false)} title={t('menu.label')}>
            {menu}
          </Drawer>
        )}
        <div className="page">
          <main id="content" tabIndex={-1} className="content">
            <Failed key={pathname}>
              <Suspense fallback={<Spin className="wait" aria-label={t('loading')} />}>
                <Routes>
                  {allowed.map(({ path, page }) => (
                    <Route key={path} path={path} element={<page.Component />} />
                  ))}
                  <Route path="*" element={<NotFound />} />
                </Routes>
              </Suspense>
            </Failed>
          </main>
        </div>
      </Layout>
    </Layout>
  );
}
