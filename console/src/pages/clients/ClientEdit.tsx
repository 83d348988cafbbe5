import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Alert, App, Skeleton } from 'antd';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams } from 'react-router';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { PageHeader } from '../../components/PageHeader';
import { exists, taken } from '../../api/exists';
import { LeaveGuard } from '../../components/LeaveGuard';
import { useSession } from '../../api/session';
import { ClientForm } from './ClientForm';
import { draftOf, getClient, newDraft, saveClient, type Client, type Draft, type Saved } from './client';
import { KeyOnce } from './KeyOnce';

// ClientEdit creates a client, or changes the one of the address.
export default function ClientEdit() {
  const { id } = useParams();
  const { t } = useTranslation('clients');
  const navigate = useNavigate();
  const cache = useQueryClient();
  const { message, modal } = App.useApp();
  const { session } = useSession();
  const [dirty, setDirty] = useState(false);
  const [saving, setSaving] = useState(false);
  const [refusal, setRefusal] = useState<Error>();
  // key is the one that was made; done is the id of what is saved.
  const [key, setKey] = useState('');
  const [done, setDone] = useState('');
  const { data: client, error } = useQuery({
    queryKey: ['client', id],
    queryFn: ({ signal }) => getClient(id!, signal),
    enabled: id !== undefined,
    // A draft must not change under the hands of who writes it.
    refetchOnWindowFocus: false,
    staleTime: 0,
  });
  const back = id === undefined ? '/clients' : `/clients/${encodeURIComponent(id)}`;

  // The page is left only once the key is shown and confirmed, and nothing guards
  // it any more.
  useEffect(() => {
    if (done && !key) void navigate(`/clients/${encodeURIComponent(done)}`, { replace: true });
  }, [done, key, navigate]);

  const tell = (saved: Omit<Saved, 'key'>) => {
    void message.success(t(id === undefined ? 'created' : 'saved', { id: saved.id }));
    if (saved.closes_loopback) modal.warning({ title: t('closes') });
    if (saved.warnings?.length)
      modal.warning({ title: t('warnings'), content: saved.warnings.map((w) => <div key={w}>{w}</div>) });
  };
  const save = async (draft: Draft) => {
    setSaving(true);
    setRefusal(undefined);
    try {
      // POST creates or updates: a new client must not replace one of that id.
      if (id === undefined && (await exists<Client>('api/client', { keyword: draft.id }, (c) => c.id === draft.id))) throw taken('id', t('form.idTaken'));
      const { key: made, ...saved } = await saveClient(draft);
      setDirty(false);
      setKey(made ?? '');
      setDone(saved.id);
      cache.removeQueries({ queryKey: ['client', saved.id] });
      void cache.invalidateQueries({ queryKey: ['clients'] });
      tell(saved);
    } catch (e) {
      setRefusal(e as Error);
    }
    setSaving(false);
  };

  return (
    <>
      <Link to={back}>← {id ?? t('action.back')}</Link>
      <PageHeader namespace="clients" title={id === undefined ? t('form.newTitle') : t('form.editTitle', { id })} />
      <ApiErrorAlert error={error} />
      {id !== undefined && !client && !error && <Skeleton active />}
      {client?.read_only ? (
        <Alert type="info" showIcon title={t('readOnlyHint')} />
      ) : (
        (id === undefined || client) && (
          <ClientForm
            key={id ?? ''}
            start={client ? draftOf(client) : newDraft()}
            isNew={id === undefined}
            isOwn={id !== undefined && session?.kind === 'client' && session.id === id}
            saving={saving}
            refusal={refusal}
            onDirty={() => setDirty(true)}
            onSave={(draft) => void save(draft)}
            onCancel={() => void navigate(back)}
          />
        )
      )}
      {key ? (
        <KeyOnce id={done} value={key} onDone={() => setKey('')} />
      ) : (
        <LeaveGuard when={dirty} onLeave={() => setDirty(false)} />
      )}
    </>
  );
}
