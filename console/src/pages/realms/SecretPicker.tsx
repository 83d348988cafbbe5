import { useQuery } from '@tanstack/react-query';
import { Select } from 'antd';
import { useState } from 'react';
import { listSecrets } from '../secrets/api';

interface Props {
  id: string;
  realm: string;
  value: string;
  onChange: (key: string) => void;
}

/** Chooses a secret of a realm. It shows the newest ones, and those that fit what is typed. */
export function SecretPicker({ id, realm, value, onChange }: Props) {
  const [keyword, setKeyword] = useState('');
  const secrets = useQuery({
    queryKey: ['secrets', 'pick', realm, keyword],
    queryFn: ({ signal }) => listSecrets({ realm, keyword, page: 1, pageSize: 20, signal }),
  });
  return (
    <Select
      id={id}
      aria-required
      showSearch={{ filterOption: false, onSearch: setKeyword }}
      loading={secrets.isFetching}
      {...(value ? { value } : {})}
      onChange={onChange}
      options={secrets.data?.list.map((one) => ({ value: one.key }))}
    />
  );
}
