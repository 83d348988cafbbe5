import { Tabs } from 'antd';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { CopyButton } from '../../components/CopyButton';
import { useCaddyfile, type Written } from './api';
import { type Preset, type RealmBody, type SecretBody, shown } from './draft';

interface Props {
  realm: RealmBody;
  secret: SecretBody | null;
  preset: Preset | null;
}

/** What the form makes: the bodies of the API, and the same as a block of the Caddyfile. No value is in it. */
export function Preview({ realm, secret, preset }: Props) {
  const { t } = useTranslation('realms');
  const [tab, setTab] = useState('realm');
  const realmShown = shown(realm, preset);
  const written: Written = {
    realm: realmShown,
    secrets: secret ? [{ key: secret.key, fields: fieldsOf(secret, preset) }] : [],
  };
  const json = (value: unknown) => JSON.stringify(value, null, 2);
  return (
    <section className="preview panel">
      <h2>{t('preview.title')}</h2>
      <Tabs
        activeKey={tab}
        onChange={setTab}
        size="small"
        items={[
          {
            key: 'realm',
            label: t('preview.realm'),
            children: <Code head="POST /api/realm" text={json(realmShown)} />,
          },
          ...(secret
            ? [
                {
                  key: 'secret',
                  label: t('preview.secret'),
                  children: <Code head="POST /api/secret" text={json(shown(secret, preset))} />,
                },
              ]
            : []),
          {
            key: 'caddyfile',
            label: 'Caddyfile',
            children: <Block written={tab === 'caddyfile' && realm.id !== '' ? written : null} />,
          },
        ]}
      />
      <p className="lead">{t('preview.no_values')}</p>
    </section>
  );
}

/** The names of the fields that a secret needs: those that were typed, and those that are still missing. */
function fieldsOf(secret: SecretBody, preset: Preset | null): string[] {
  const needed = preset?.fields.filter((f) => f.required && !f.shared && !f.pushed).map((f) => f.name) ?? [];
  return [...new Set([...needed, ...Object.keys(secret.fields)])];
}

function Code({ head, text }: { head: string; text: string }) {
  return (
    <div className="code-block">
      <div className="code-head">
        <code>{head}</code>
        <CopyButton text={text} />
      </div>
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}

function Block({ written }: { written: Written | null }) {
  const { t } = useTranslation('realms');
  const block = useCaddyfile(useSettled(written, 400));
  return (
    <>
      <ApiErrorAlert error={block.error} />
      {block.data !== undefined && !block.error && <Code head={t('preview.block')} text={block.data} />}
    </>
  );
}

/** The value after nobody has changed it for a while. */
function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  const text = JSON.stringify(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(JSON.parse(text) as T), ms);
    return () => clearTimeout(timer);
  }, [text, ms]);
  return settled;
}
