import { useQuery } from '@tanstack/react-query';
import { Select } from 'antd';
import { useState } from 'react';
import { listRealms } from './api';

interface Props {
  id?: string;
  label: string;
  value: string;
  onChange: (realm: string) => void;
  allowClear?: boolean;
}

/** Chooses a realm. It shows the first ones, and those that fit what is typed. */
export function RealmPicker({ id, label, value, onChange, allowClear }: Props) {
  const [keyword, setKeyword] = useState('');
  const realms = useQuery({
    queryKey: ['realms', 'pick', keyword],
    queryFn: ({ signal }) => listRealms({ page: 1, pageSize: 20, keyword, signal }),
  });
  return (
    <Select
      {...(id ? { id } : {})}
      className="realm-picker"
      aria-label={label}
      placeholder={label}
      showSearch={{ filterOption: false, onSearch: setKeyword }}
      allowClear={allowClear ?? false}
      loading={realms.isFetching}
      {...(value ? { value } : {})}
      onChange={(next: string | undefined) => onChange(next ?? '')}
      options={realms.data?.list.map((realm) => ({ value: realm.id }))}
    />
  );
}
