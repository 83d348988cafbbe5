import { useQuery } from '@tanstack/react-query';
import { Select } from 'antd';
import { useEffect, useState } from 'react';
import { getJSON, type Page } from '../api/client';
import { withQuery } from '../api/path';

// useSearch is a text that somebody types, once he stops for a moment.
export function useSearch(wait = 250): [string, (text: string) => void] {
  const [typed, setTyped] = useState('');
  const [settled, setSettled] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setSettled(typed), wait);
    return () => clearTimeout(timer);
  }, [typed, wait]);
  return [settled, setTyped];
}

const found = 50;

// useRealmIDs finds realms by a part of their id. The API searches: there may be
// thousands.
export function useRealmIDs(keyword: string) {
  return useQuery({
    queryKey: ['realm-ids', keyword],
    queryFn: async ({ signal }) =>
      (await getJSON<Page<{ id: string }>>(withQuery('api/realm', { page: 1, pageSize: found, keyword }), signal)).data.list.map((r) => r.id),
    retry: false,
  });
}

interface Common {
  id?: string;
  placeholder?: string;
  'aria-label'?: string;
  'aria-required'?: boolean;
}

// RealmsSelect chooses several realms, or patterns for them: what is typed counts
// also if there is no such realm.
export function RealmsSelect({ value, onChange, ...rest }: Common & { value: string[]; onChange: (ids: string[]) => void }) {
  const [keyword, search] = useSearch();
  const { data = [], isFetching } = useRealmIDs(keyword);
  const options = ['*', ...data].map((id) => ({ value: id }));
  return (
    <Select
      {...rest}
      mode="tags"
      value={value}
      onChange={(ids: string[]) => onChange(ids)}
      showSearch={{ onSearch: search, filterOption: false }}
      options={options}
      loading={isFetching}
      tokenSeparators={[' ', ',']}
      style={{ width: '100%' }}
    />
  );
}

// RealmSelect chooses one realm. Without the right to list realms, the id is
// typed.
export function RealmSelect({ value, onChange, ...rest }: Common & { value: string; onChange: (id: string) => void }) {
  const [keyword, search] = useSearch();
  const { data = [], isFetching } = useRealmIDs(keyword);
  return <OneOf {...rest} value={value} onChange={onChange} onSearch={search} ids={data} loading={isFetching} />;
}

// KeySelect chooses one secret of a realm by its key.
export function KeySelect({
  realm,
  value,
  onChange,
  ...rest
}: Common & { realm: string; value: string; onChange: (key: string) => void }) {
  const [keyword, search] = useSearch();
  const { data = [], isFetching } = useQuery({
    queryKey: ['secret-keys', realm, keyword],
    queryFn: async ({ signal }) =>
      (await getJSON<Page<{ key: string }>>(withQuery('api/secret', { page: 1, pageSize: found, realm, keyword }), signal)).data.list.map(
        (s) => s.key,
      ),
    enabled: realm !== '',
    retry: false,
  });
  return (
    <OneOf
      {...rest}
      value={value}
      onChange={onChange}
      onSearch={search}
      ids={data}
      loading={isFetching}
      disabled={realm === ''}
    />
  );
}

interface OneOfProps extends Common {
  value: string;
  onChange: (id: string) => void;
  onSearch: (text: string) => void;
  ids: string[];
  loading: boolean;
  disabled?: boolean;
}

// OneOf chooses one of what was found, or what was typed: an answer may be
// late, and not everybody may list.
function OneOf({ value, onChange, onSearch, ids, loading, ...rest }: OneOfProps) {
  const [typed, setTyped] = useState('');
  const all = typed && !ids.includes(typed) ? [...ids, typed] : ids;
  return (
    <Select
      {...rest}
      value={value || null}
      loading={loading}
      allowClear
      style={{ width: '100%' }}
      showSearch={{
        filterOption: false,
        onSearch: (text) => {
          setTyped(text.trim());
          onSearch(text.trim());
        },
      }}
      options={all.map((id) => ({ value: id }))}
      onChange={(id) => {
        setTyped('');
        onChange(id ?? '');
      }}
    />
  );
}
