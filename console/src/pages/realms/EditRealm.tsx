import { useMutation } from '@tanstack/react-query';
import { Alert, Button, Form, Input, Skeleton } from 'antd';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate, useParams } from 'react-router';
import { ApiError } from '../../api/error';
import { useSession } from '../../api/session';
import { ApiErrorAlert, useFieldText } from '../../components/ApiErrorAlert';
import { PageHeader } from '../../components/PageHeader';
import { Warnings } from '../../components/Warnings';
import { type Realm, saveRealm, useRealm } from './api';
import { ConfigEditor, useConfigText } from './ConfigEditor';
import { Item } from './RealmForm';
import './realms.css';
import { realmPath } from './words';

/** Changes a realm of the database. */
export default function EditRealm() {
  const { t } = useTranslation('realms');
  const { id = '' } = useParams();
  const realm = useRealm(id);
  return (
    <>
      <PageHeader namespace="realms" title={t('edit.title', { id })}>
        <Button href={`#${realmPath(id)}`}>{t('common:back')}</Button>
      </PageHeader>
      <ApiErrorAlert error={realm.error} />
      {realm.isPending && <Skeleton active />}
      {realm.data?.read_only && <Alert type="info" showIcon title={t('origin.caddyfile_what')} />}
      {realm.data && !realm.data.read_only && <EditForm realm={realm.data} />}
    </>
  );
}

function EditForm({ realm }: { realm: Realm }) {
  const { t } = useTranslation('realms');
  const fieldText = useFieldText();
  const navigate = useNavigate();
  const { mayAll } = useSession();
  const editor = useConfigText(JSON.stringify(realm.config ?? {}, null, 2));
  const [comment, setComment] = useState(realm.comment ?? '');
  const [held, setHeld] = useState<Realm | null>(null);
  const [warnings, setWarnings] = useState<string[]>([]);
  const save = useMutation({
    mutationFn: (keepValues: boolean) =>
      saveRealm({ id: realm.id, comment: comment.trim(), config: editor.config ?? {} }, keepValues),
    onSuccess: (saved) => {
      const isHeld = (saved.needs_values?.length ?? 0) + (saved.needs_shared?.length ?? 0) > 0;
      const found = saved.warnings ?? [];
      if (!isHeld && found.length === 0) return void navigate(realmPath(realm.id));
      setHeld(isHeld ? saved : null);
      setWarnings(found);
      // The answer has its values masked: what was typed goes.
      editor.setText(JSON.stringify(saved.config ?? {}, null, 2));
    },
  });
  const refused = save.error instanceof ApiError ? save.error : null;
  const isAt = (name: string) => refused?.field !== undefined && refused.field.split('.')[0] === name;
  return (
    <Form layout="vertical" className="realm-form panel" onFinish={() => editor.config && save.mutate(false)}>
      {held && (
        <Alert
          type="warning"
          showIcon
          className="api-error"
          title={t('edit.held')}
          description={
            <>
              {held.needs_values && <p>{t('edit.held_secrets', { keys: held.needs_values.join(', ') })}</p>}
              {held.needs_shared && <p>{t('edit.held_shared', { names: held.needs_shared.join(', ') })}</p>}
              {mayAll('admin') && (
                <Button danger loading={save.isPending} onClick={() => save.mutate(true)}>
                  {t('edit.keep')}
                </Button>
              )}
            </>
          }
        />
      )}
      <Warnings warnings={warnings} />
      <Item label={t('form.comment')} name="realm-comment" error={isAt('comment') && refused ? fieldText(refused) : undefined}>
        <Input.TextArea
          id="realm-comment"
          rows={2}
          maxLength={5000}
          value={comment}
          onChange={(event) => setComment(event.target.value)}
        />
      </Item>
      <p className="lead">{t('edit.masked')}</p>
      <ConfigEditor editor={editor} error={isAt('config') && refused ? fieldText(refused) : undefined} field={refused?.field} />
      <ApiErrorAlert error={isAt('comment') || isAt('config') ? null : save.error} />
      <Button type="primary" htmlType="submit" loading={save.isPending} disabled={editor.config === null}>
        {t('common:save')}
      </Button>
    </Form>
  );
}
