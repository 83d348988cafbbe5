import { useQuery } from '@tanstack/react-query';
import { Select } from 'antd';
import { useState } from 'react';
import { listRealms } from './api';

interface Props {
  /** Of a required field, whose label names it; absent in a bar, where label is the name. */
  id?: string;
  label: string;
  value: string;
  onChange: (realm: string) => void;
  allowClear?: boolean;
}

/** Chooses a realm. It shows the first ones, and those that fit what is typed. They are asked for once it is opened. */
export function RealmPicker({ id, label, value, onChange, allowClear }: Props) {
  const [keyword, setKeyword] = useState('');
  const [isOpened, setOpened] = useState(false);
  const realms = useQuery({
    enabled: isOpened,
    queryKey: ['realms', 'pick', keyword],
    queryFn: ({ signal }) => listRealms({ page: 1, pageSize: 20, keyword, signal }),
  });
  return (
    <Select
      {...(id ? { id, 'aria-required': true } : { 'aria-label': label })}
      className="realm-picker"
      placeholder={label}
      showSearch={{ filterOption: false, onSearch: setKeyword }}
      allowClear={allowClear ?? false}
      onOpenChange={() => setOpened(true)}
      loading={realms.isFetching}
      {...(value ? { value } : {})}
      onChange={(next: string | undefined) => onChange(next ?? '')}
      options={realms.data?.list.map((realm) => ({ value: realm.id }))}
    />
  );
}
