import { useMutation } from '@tanstack/react-query';
import { Alert, Button, Checkbox, Collapse, Form, Input } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../../api/error';
import { ApiErrorAlert, useFieldText } from '../../components/ApiErrorAlert';
import { Warnings } from '../../components/Warnings';
import { groupFields, isMultiLine, type PresetField } from '../realms/draft';
import { AddField } from './AddField';
import { type Secret, type SecretChange, saveSecret, secretExists } from './api';
import { FieldInput } from './FieldInput';
import { plain, type RealmFields, setFields, withOwn } from './fields';

interface Props {
  realm: string;
  of: RealmFields;
  /** The secret that is changed; absent for a new one. */
  secret?: Secret;
  onSaved: (key: string) => void;
}

/** What is sent: fields that were typed, and null for those that are removed. An empty one stays. */
export function changedFields(values: Record<string, string>, removed: string[]): Record<string, string | null> {
  const fields: Record<string, string | null> = {};
  for (const [name, value] of Object.entries(values)) {
    if (value.trim() !== '') fields[name] = isMultiLine(name) ? value : value.trim();
  }
  for (const name of removed) fields[name] = null;
  return fields;
}

/**
 * The form of a secret. A value that is stored is never shown: an empty field
 * leaves it as it is. What was typed is dropped as soon as it is saved.
 */
export function SecretForm({ realm, of, secret, onSaved }: Props) {
  const { t } = useTranslation('secrets');
  const fieldText = useFieldText();
  const [key, setKey] = useState('');
  const [values, setValues] = useState<Record<string, string>>({});
  const [removed, setRemoved] = useState<string[]>([]);
  const [added, setAdded] = useState<string[]>([]);
  const [injectOnly, setInjectOnly] = useState(secret?.inject_only === true);
  const [dropRefresh, setDropRefresh] = useState(false);
  const [isTried, setTried] = useState(false);
  const [held, setHeld] = useState(false);
  const [warnings, setWarnings] = useState<string[]>([]);

  const set = secret ? setFields(secret) : [];
  const groups = groupFields(withOwn(of.fields, set));
  const known = [...of.fields.map((f) => f.name), ...set];
  const own = added.filter((one) => !known.includes(one)).map((one) => plain(one));
  // A field of the app that the realm does not have is one of the secret.
  const asked = [...groups.app, ...groups.secret, ...own];
  const name = secret?.key ?? key.trim();
  const isMissing = (field: PresetField) =>
    field.required && !set.includes(field.name) && (values[field.name] ?? '').trim() === '';
  const missing = [...(name === '' ? ['key'] : []), ...asked.filter(isMissing).map((f) => f.name)];

  const save = useMutation({
    mutationFn: async () => {
      if (!secret && (await secretExists(realm, name))) {
        throw new ApiError(409, { code: 'conflict', field: 'key', detail: t('form.exists', { key: name }) });
      }
      const change: SecretChange = { realm, key: name, fields: changedFields(values, removed) };
      if (injectOnly !== (secret?.inject_only === true)) change.inject_only = injectOnly;
      if (dropRefresh) change.drop_refresh_token = true;
      const saved = await saveSecret(change);
      // The names alone: a mutation keeps its answer.
      return { isHeld: (saved.needs_values?.length ?? 0) > 0, warnings: saved.warnings ?? [] };
    },
    onSuccess: ({ isHeld, warnings }) => {
      setValues({});
      setAdded([]);
      setRemoved([]);
      setTried(false);
      setHeld(isHeld);
      setWarnings(warnings);
      if (!isHeld && warnings.length === 0) onSaved(name);
    },
  });
  const refused = save.error instanceof ApiError ? save.error : null;
  const errorAt = (field: string): string | undefined => {
    if (isTried && missing.includes(field)) return t('form.required');
    return refused?.field === field || refused?.field === `fields.${field}` ? fieldText(refused) : undefined;
  };
  const isPlaced = refused !== null && ['key', ...asked.map((f) => `fields.${f.name}`)].includes(refused.field ?? '');
  const submit = () => {
    setTried(true);
    if (missing.length === 0) save.mutate();
  };
  // A new secret is there now: it is mended on its page.
  if (!secret && warnings.length > 0) {
    return (
      <>
        <Warnings warnings={warnings} />
        <Button type="primary" onClick={() => onSaved(name)}>
          {t('form.to_secret')}
        </Button>
      </>
    );
  }
  const input = (field: PresetField) => {
    const isSet = set.includes(field.name);
    const isRemoved = removed.includes(field.name);
    return (
      <div key={field.name} className="field">
        <FieldInput
          field={field}
          value={values[field.name] ?? ''}
          error={errorAt(field.name)}
          isOptional={isSet}
          disabled={isRemoved}
          placeholder={isSet ? t(isRemoved ? 'field.removed' : 'field.stays') : undefined}
          onChange={(value) => setValues((before) => ({ ...before, [field.name]: value }))}
        />
        {isSet && (!field.required || field.default !== undefined) && (
          <Checkbox
            checked={isRemoved}
            onChange={(event) => {
              setRemoved((before) =>
                event.target.checked ? [...before, field.name] : before.filter((one) => one !== field.name),
              );
              setValues((before) => ({ ...before, [field.name]: '' }));
            }}
          >
            {t('field.remove', { name: field.name })}
          </Checkbox>
        )}
      </div>
    );
  };
  return (
    <Form layout="vertical" className="secret-form" onFinish={submit} autoComplete="off">
      {!secret && (
        <Form.Item
          label={t('key')}
          htmlFor="secret-key"
          required
          extra={t('form.key_help')}
          {...(errorAt('key') ? { help: errorAt('key'), validateStatus: 'error' as const } : {})}
        >
          <Input id="secret-key" value={key} aria-required spellCheck={false} onChange={(event) => setKey(event.target.value)} />
        </Form.Item>
      )}
      {asked.map(input)}
      <AddField onAdd={(field) => setAdded((before) => [...new Set([...before, field])])} />
      {of.given.length > 0 && <p className="lead">{t('form.given', { names: of.given.join(', ') })}</p>}
      <Collapse
        className="fold"
        items={[
          {
            key: 'optional',
            label: t('form.optional'),
            children: (
              <>
                {groups.optional.map(input)}
                <Checkbox checked={injectOnly} onChange={(event) => setInjectOnly(event.target.checked)}>
                  {t('form.inject_only')}
                </Checkbox>
                {secret && (
                  <Checkbox checked={dropRefresh} onChange={(event) => setDropRefresh(event.target.checked)}>
                    {t('form.drop_refresh')}
                  </Checkbox>
                )}
              </>
            ),
          },
        ]}
      />
      {held && <Alert type="warning" showIcon className="api-error" title={t('form.held')} />}
      <Warnings warnings={warnings} />
      {secret && <p className="lead">{t('form.drops_token')}</p>}
      <ApiErrorAlert error={isPlaced ? null : save.error} />
      <Button type="primary" htmlType="submit" loading={save.isPending}>
        {t('common:save')}
      </Button>
    </Form>
  );
}
