import { SearchOutlined } from '@ant-design/icons';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Button, Input, Pagination, Spin, Table, type TableProps } from 'antd';
import { type ReactNode, useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { ApiErrorAlert } from './ApiErrorAlert';

export interface PageRequest {
  page: number;
  pageSize: number;
  keyword?: string;
  signal: AbortSignal;
}

interface Props<T> {
  // The name of the list in the cache; filters that load uses belong to it.
  queryKey: readonly unknown[];
  load: (request: PageRequest) => Promise<{ list: T[]; total: number }>;
  // Both are the same from one rendering to the next: what changes draws all rows again.
  columns: NonNullable<TableProps<T>['columns']>;
  rowKey: (item: T) => string;
  // What the table lists, for screen readers.
  label: string;
  // The placeholder of the search field; no field where absent.
  search?: string;
  // Beside the search field: filters, buttons.
  bar?: ReactNode;
  // In place of the table, where there is nothing at all.
  empty?: ReactNode;
}

const sizes = [20, 50, 100];
const scroll = { x: 'max-content' };

// DataTable shows a list of the API page by page. Page and keyword are in the
// address (`#/realms?page=2&keyword=x`), so that "back" leads to them.
export function DataTable<T extends object>({ queryKey, load, columns, rowKey, label, search, bar, empty }: Props<T>) {
  const { t } = useTranslation();
  const [params, setParams] = useSearchParams();
  const page = Math.max(1, Number(params.get('page')) || 1);
  const size = Number(params.get('size'));
  const pageSize = sizes.includes(size) ? size : 20;
  const keyword = params.get('keyword') ?? '';
  const [typed, setTyped] = useState(keyword);

  const change = (values: Record<string, string>) =>
    setParams((before) => {
      const next = new URLSearchParams(before);
      for (const [name, value] of Object.entries(values)) {
        if (value === '') {
          next.delete(name);
        } else {
          next.set(name, value);
        }
      }
      return next;
    });

  const query = useQuery({
    queryKey: [...queryKey, page, pageSize, keyword],
    queryFn: ({ signal }) => load({ page, pageSize, ...(keyword ? { keyword } : {}), signal }),
    placeholderData: keepPreviousData,
  });
  const { data, error, isFetching } = query;
  const nothing = data?.total === 0 && keyword === '';
  const total = data?.total ?? 0;
  const list = data?.list;
  // Rows take longest to draw: they are drawn when they are there, and once. A table
  // that is told that it is loading draws them three times.
  const rows = useMemo(
    () => <Table<T> size="middle" columns={columns} rowKey={rowKey} dataSource={list ?? []} scroll={scroll} pagination={false} />,
    [columns, rowKey, list],
  );
  return (
    <section aria-label={label} aria-busy={isFetching}>
      {(search !== undefined || bar) && (
        <div className="bar">
          {search !== undefined && (
            <Input.Search
              allowClear
              type="search"
              enterButton={<Button icon={<SearchOutlined aria-hidden />} aria-label={t('search')} />}
              aria-label={search}
              placeholder={search}
              value={typed}
              onChange={(event) => setTyped(event.target.value)}
              onSearch={(value) => change({ keyword: value.trim(), page: '' })}
            />
          )}
          {bar}
        </div>
      )}
      <ApiErrorAlert error={error} />
      {nothing && empty ? (
        empty
      ) : (
        <Spin spinning={isFetching && (query.isPlaceholderData || !data)} delay={200}>
          {isFetching && !data ? <div className="rows-to-come" /> : rows}
          {total > (sizes[0] ?? 0) && (
            <Pagination
              className="pages"
              align="end"
              current={page}
              pageSize={pageSize}
              total={total}
              pageSizeOptions={sizes}
              showSizeChanger
              showTotal={(total) => t('total', { total })}
              onChange={(nextPage, nextSize) =>
                change({ page: nextSize === pageSize && nextPage > 1 ? `${nextPage}` : '', size: `${nextSize}` })
              }
            />
          )}
        </Spin>
      )}
    </section>
  );
}
