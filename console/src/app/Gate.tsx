import { useMutation } from '@tanstack/react-query';
import { Button, Spin } from 'antd';
import { useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from '../components/ApiErrorAlert';
import { whenForbidden } from '../api/client';
import { queryClient } from '../api/query';
import { signIn, useSessionQuery } from '../api/session';
import { Frame } from './Frame';
import { takeLink } from './link';
import { SignIn } from './SignIn';

// Gate shows the console to whoever the API lets in (a session, a user of an
// authentication directive in front, a local caller), and else the page to
// sign in. A one-time link is redeemed first.
export function Gate({ link }: { link: string | undefined }) {
  const { t } = useTranslation();
  const redeem = useMutation({ mutationFn: (code: string) => signIn({ link: code }) });
  const session = useSessionQuery(link === undefined || redeem.isSuccess || redeem.isError);
  const { mutate } = redeem;

  // A link works once: not again when React mounts a second time.
  const redeemed = useRef(false);
  useEffect(() => {
    if (link !== undefined && !redeemed.current) {
      redeemed.current = true;
      mutate(link);
    }
  }, [link, mutate]);

  // A link that is pasted into the address bar of the open console changes only
  // the fragment.
  useEffect(() => {
    const follow = () => {
      const code = takeLink();
      if (code !== undefined) {
        mutate(code);
      }
    };
    window.addEventListener('hashchange', follow);
    return () => window.removeEventListener('hashchange', follow);
  }, [mutate]);

  // An answer of 403 may mean that the session has ended, or only that one
  // object is not for this caller: the session is asked for again.
  useEffect(() => {
    whenForbidden(() => void queryClient.invalidateQueries({ queryKey: ['session'], exact: true }));
  }, []);

  const { error } = session;
  if (session.data === null) {
    return <SignIn linkError={redeem.error} />;
  }
  if (session.data) {
    return <Frame />;
  }
  return (
    <main className="alone">
      {error ? (
        <>
          <ApiErrorAlert error={error} />
          <Button onClick={() => void session.refetch()}>{t('retry')}</Button>
        </>
      ) : (
        <Spin size="large" aria-label={t('loading')} />
      )}
    </main>
  );
}
