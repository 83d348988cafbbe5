import { useMutation } from '@tanstack/react-query';
import { App, Button, Spin } from 'antd';
import { useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert, useErrorText } from '../components/ApiErrorAlert';
import { whenForbidden } from '../api/client';
import { ApiError } from '../api/error';
import { queryClient } from '../api/query';
import { signIn, useSessionQuery } from '../api/session';
import { Frame } from './Frame';
import { takeLink } from './link';
import { SignIn } from './SignIn';
import { WhichSession } from './WhichSession';

const isStatus = (error: Error | null, status: number) => error instanceof ApiError && error.status === status;

// Gate shows the console to whoever the API lets in (a session, a user of an
// authentication directive in front, a local caller), and else the page to
// sign in. A one-time link is redeemed first. Where somebody is signed in
// already he is asked: anybody can make him open a link, and see what he enters
// in a session that is not his.
export function Gate({ link }: { link: string | undefined }) {
  const { t } = useTranslation(['common', 'session']);
  const { message } = App.useApp();
  const redeem = useMutation({
    mutationFn: ({ code, replace }: { code: string; replace?: true }) => signIn({ link: code, ...(replace ? { replace } : {}) }),
    // The page to sign in says why itself.
    onError: (failure) => {
      if (session.data && !isStatus(failure, 409)) void message.error(isStatus(failure, 403) ? t('session:refused_link') : errorText(failure));
    },
  });
  const errorText = useErrorText();
  const session = useSessionQuery(link === undefined || redeem.isSuccess || redeem.isError);
  const { mutate } = redeem;

  // A link works once: not again when React mounts a second time.
  const redeemed = useRef(false);
  useEffect(() => {
    if (link !== undefined && !redeemed.current) {
      redeemed.current = true;
      mutate({ code: link });
    }
  }, [link, mutate]);

  // A link that is pasted into the address bar of the open console changes only
  // the fragment.
  useEffect(() => {
    const follow = () => {
      const code = takeLink();
      if (code !== undefined) {
        mutate({ code });
      }
    };
    window.addEventListener('hashchange', follow);
    return () => window.removeEventListener('hashchange', follow);
  }, [mutate]);

  // An answer of 403 may mean that the session has ended, or that another tab
  // has signed in as somebody else, or only that one object is not for this
  // caller: the session is asked for again.
  useEffect(() => {
    whenForbidden(() => void queryClient.invalidateQueries({ queryKey: ['session'], exact: true }));
  }, []);

  const { error } = session;
  const code = redeem.variables?.code;
  const isAsked = isStatus(redeem.error, 409);
  if (session.data === null) {
    return <SignIn linkError={isAsked ? null : redeem.error} />;
  }
  if (session.data) {
    return (
      <>
        <Frame />
        {isAsked && code !== undefined && (
          <WhichSession session={session.data} stay={redeem.reset} change={() => mutate({ code, replace: true })} />
        )}
      </>
    );
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
