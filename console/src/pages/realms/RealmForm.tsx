import { useMutation } from '@tanstack/react-query';
import { Alert, Button, Checkbox, Collapse, Form, Input, Switch, Typography } from 'antd';
import { type ReactNode, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../../api/error';
import { ApiErrorAlert, useFieldText } from '../../components/ApiErrorAlert';
import { saveSecret } from '../secrets/api';
import { AddField } from '../secrets/AddField';
import { FieldInput } from '../secrets/FieldInput';
import { plain } from '../secrets/fields';
import { fieldsOfRealm, realmExists, saveRealm } from './api';
import { ConfigEditor, useConfigText } from './ConfigEditor';
import { Done } from './Done';
import {
  type Config,
  type Draft,
  fieldsRead,
  formConfig,
  groupFields,
  needsPerson,
  parentsOf,
  type Preset,
  type PresetField,
  realmBody,
  secretBody,
  withPreset,
} from './draft';
import { Preview } from './Preview';
import { Sentence } from './Sentence';
import type { Language } from './words';

/** What an own realm begins with: the usual token request. */
const USUAL = {
  api: 'https://api.example.com',
  url: 'https://api.example.com/oauth/token',
  method: 'POST',
  content_type: 'form',
  arguments: [
    { name: 'grant_type', place: 'body', value: 'client_credentials' },
    { name: 'client_id', place: 'body', value: '{secret.client_id}' },
    { name: 'client_secret', place: 'body', value: '{secret.client_secret}' },
  ],
  token_path: 'access_token',
  expires_in_path: 'expires_in',
  inject: [{ place: 'header', name: 'Authorization', value: 'Bearer {token}' }],
  renew_on: [{ status: [401] }],
};

function emptyDraft(id: string): Draft {
  return { id, comment: '', key: 'main', values: {}, injectOnly: false, isDefaultKey: false, config: null };
}

/** Where providers send people back: the callback of the site that serves this page. */
export function callbackOf(id: string, page = window.location.href): string {
  return new URL(`./${encodeURIComponent(id)}-account/callback-token`, page.split('#')[0]).href;
}

/** Which input the field of a refusal belongs to. */
export function inputOf(field: string | undefined): string {
  if (field === undefined) return '';
  return field.replace(/^(config\.shared|fields)\./, 'values.').replace(/^config\b.*/, 'config');
}

/**
 * The form of a new realm and its first secret. What is typed is state of this
 * component alone, and is dropped as soon as it is saved.
 */
export function RealmForm({ preset }: { preset: Preset | null }) {
  const { t, i18n } = useTranslation('realms');
  const fieldText = useFieldText();
  const [draft, setDraft] = useState(() => emptyDraft(preset?.name ?? ''));
  const [isExpert, setExpert] = useState(preset === null);
  const editor = useConfigText(JSON.stringify(preset ? { preset: preset.name } : USUAL, null, 2));
  /** Fields that a person added, and those that the server says a grant reads. */
  const [added, setAdded] = useState<string[]>([]);
  const [read, setRead] = useState<string[]>([]);
  const [isTried, setTried] = useState(false);
  const [isCreated, setCreated] = useState(false);
  const [saved, setSaved] = useState<{ realm: string; secret: string | null; warnings: string[]; config: Config } | null>(null);

  const change = (part: Partial<Draft>) => {
    // What was refused is being corrected.
    if (save.isError) save.reset();
    setDraft((before) => ({ ...before, ...part }));
  };
  const fields = preset ? preset.fields : ownFields(editor.config ?? {}, read);
  const groups = groupFields(fields);
  const known = fields.map((f) => f.name);
  const more = added.filter((name) => !known.includes(name)).map((name) => plain(name));
  const addField = (name: string) => setAdded((before) => [...new Set([...before, name])]);
  const hasCallback = fields.some((f) => f.name === 'redirect_uri');
  const suggested: Record<string, string> =
    hasCallback && draft.id ? { redirect_uri: callbackOf(draft.id.trim()) } : {};
  const whole: Draft = {
    ...draft,
    values: { ...suggested, ...draft.values },
    config: isExpert ? (editor.config ?? {}) : null,
  };
  const realm = realmBody(whole, preset);
  const secret = secretBody(whole, preset);
  const config = withPreset(realm.config, preset);
  const missing = missingOf(whole, groups, editor.error !== null && isExpert);

  const save = useMutation({
    mutationFn: async () => {
      if (!isCreated && (await realmExists(realm.id))) {
        throw new ApiError(409, { code: 'conflict', field: 'id', detail: t('form.exists', { id: realm.id }) });
      }
      await saveRealm(realm);
      setCreated(true);
      if (!secret) return [];
      if (!preset) {
        // Only the server knows what a grant reads.
        const reads = await fieldsOfRealm(realm.id);
        setRead(reads);
        const lacking = reads.filter((name) => !isVolatile(config, name) && !(name in secret.fields));
        if (lacking.length > 0) {
          setTried(true);
          throw new ApiError(400, { code: 'invalid_field', detail: t('form.reads', { names: lacking.join(', ') }) });
        }
      }
      return (await saveSecret(secret)).warnings ?? [];
    },
    onSuccess: (warnings) => {
      setSaved({ realm: realm.id, secret: secret?.key ?? null, warnings, config: { ...config, shared: undefined } });
      setDraft(emptyDraft(''));
      editor.setText('{}');
    },
  });
  const refused = save.error instanceof ApiError ? save.error : null;
  const errorAt = (input: string): string | undefined => {
    if (isTried && missing.has(input)) return t('form.required');
    return refused && inputOf(refused.field) === input ? fieldText(refused) : undefined;
  };

  // The others are folded away: their errors are shown above the button.
  const open = [...groups.app, ...groups.secret].map((f) => `values.${f.name}`);
  const places = ['id', 'key', ...(isExpert ? ['config'] : []), ...open];
  const isPlaced = refused !== null && places.includes(inputOf(refused.field));

  if (saved) return <Done {...saved} example={preset?.example} />;

  const submit = () => {
    setTried(true);
    if (missing.size === 0) save.mutate();
  };
  const input = (field: PresetField): ReactNode => (
    <FieldInput
      key={field.name}
      field={field}
      value={whole.values[field.name] ?? ''}
      error={errorAt(`values.${field.name}`)}
      onChange={(value) => change({ values: { ...draft.values, [field.name]: value } })}
    />
  );
  return (
    <div className="two-columns">
      <Form layout="vertical" className="realm-form panel" onFinish={submit} autoComplete="off">
        {preset && <Parents config={preset.config} />}
        <Typography.Title level={2}>{t('form.realm')}</Typography.Title>
        <Item label={t('form.id')} help={t('form.id_help')} error={errorAt('id')} name="realm-id" required>
          <Input
            id="realm-id"
            value={draft.id}
            disabled={isCreated}
            aria-required
            spellCheck={false}
            onChange={(event) => change({ id: event.target.value })}
          />
        </Item>
        {groups.app.map(input)}
        <Typography.Title level={2}>{t('form.secret')}</Typography.Title>
        <p className="lead">{needsPerson(config) ? t('form.secret_person') : t('form.secret_what')}</p>
        <Item label={t('form.key')} help={t('form.key_help')} error={errorAt('key')} name="secret-key">
          <Input
            id="secret-key"
            value={draft.key}
            spellCheck={false}
            onChange={(event) => change({ key: event.target.value })}
          />
        </Item>
        {draft.key.trim() !== '' && [...groups.secret, ...more].map(input)}
        {draft.key.trim() !== '' && !preset && <AddField onAdd={addField} />}
        <Collapse
          className="fold"
          destroyOnHidden={false}
          items={[
            {
              key: 'optional',
              label: t('form.optional'),
              children: (
                <>
                  {groups.optional.map(input)}
                  <Item label={t('form.comment')} error={errorAt('comment')} name="realm-comment">
                    <Input.TextArea
                      id="realm-comment"
                      rows={2}
                      maxLength={5000}
                      value={draft.comment}
                      onChange={(event) => change({ comment: event.target.value })}
                    />
                  </Item>
                  {!isExpert && (
                    <>
                      <Checkbox
                        checked={draft.injectOnly}
                        onChange={(event) => change({ injectOnly: event.target.checked })}
                      >
                        {t('form.inject_only')}
                      </Checkbox>
                      <Checkbox
                        checked={draft.isDefaultKey}
                        onChange={(event) => change({ isDefaultKey: event.target.checked })}
                      >
                        {t('form.default_key')}
                      </Checkbox>
                    </>
                  )}
                </>
              ),
            },
          ]}
        />
        {preset && (
          <label className="expert">
            <Switch
              checked={isExpert}
              onChange={(on) => {
                setExpert(on);
                if (on) editor.setText(JSON.stringify(formConfig(draft, preset), null, 2));
              }}
            />{' '}
            {t('form.expert')}
          </label>
        )}
        {isExpert && <ConfigEditor editor={editor} error={errorAt('config')} field={refused?.field} />}
        <ApiErrorAlert error={isPlaced ? null : save.error} />
        {isCreated && save.error && <Alert type="info" showIcon className="api-error" title={t('form.half_saved')} />}
        {isTried && missing.size > 0 && (
          <Alert type="warning" showIcon className="api-error" title={t('form.missing')} />
        )}
        <Button type="primary" htmlType="submit" loading={save.isPending}>
          {secret ? t('form.save_both') : t('form.save')}
        </Button>
      </Form>
      <aside aria-label={t('preview.label')}>
        <Preview realm={realm} secret={secret} preset={preset} />
        {preset && <Notes preset={preset} language={i18n.language as Language} />}
      </aside>
    </div>
  );
}

/** The fields of a config of one's own. Nobody says which of them is confidential, so all are. */
function ownFields(config: Config, read: string[]): PresetField[] {
  return [...new Set([...fieldsRead(config), ...read])].map((name) => plain(name, !isVolatile(config, name)));
}

function isVolatile(config: Config, name: string): boolean {
  return ((config.volatile as string[] | undefined) ?? []).includes(name);
}

function missingOf(draft: Draft, groups: ReturnType<typeof groupFields>, isBroken: boolean): Set<string> {
  const missing = new Set<string>();
  if (draft.id.trim() === '') missing.add('id');
  const needed = draft.key.trim() === '' ? groups.app : [...groups.app, ...groups.secret];
  for (const { name } of needed) {
    if ((draft.values[name] ?? '').trim() === '') missing.add(`values.${name}`);
  }
  if (isBroken) missing.add('json');
  return missing;
}

interface ItemProps {
  label: string;
  name: string;
  help?: string;
  error: string | undefined;
  required?: boolean;
  children: ReactNode;
}

/** A labelled input with its help below; an error takes the place of the help. */
export function Item({ label, name, help, error, required, children }: ItemProps) {
  return (
    <Form.Item
      label={label}
      htmlFor={name}
      required={required ?? false}
      extra={help}
      {...(error ? { help: error, validateStatus: 'error' as const } : {})}
    >
      {children}
    </Form.Item>
  );
}

function Parents({ config }: { config: Record<string, unknown> }) {
  const { t } = useTranslation('realms');
  const parents = parentsOf(config);
  if (parents.length === 0) return null;
  return <Alert type="info" showIcon className="api-error" title={t('form.parents', { realms: parents.join(', ') })} />;
}

function Notes({ preset, language }: { preset: Preset; language: Language }) {
  const { t } = useTranslation('realms');
  return (
    <section className="notes panel">
      <h2>{t('form.notes')}</h2>
      <ul>
        {preset.notes[language].map((note) => (
          <li key={note}>
            <Sentence text={note} />
          </li>
        ))}
      </ul>
      <h2>{t('form.docs')}</h2>
      <ul>
        {preset.docs.map((url) => (
          <li key={url}>
            <a href={url} target="_blank" rel="noreferrer">
              {url.replace(/^https:\/\//, '')}
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
