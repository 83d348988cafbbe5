import { InboxOutlined } from '@ant-design/icons';
import type { ReactNode } from 'react';

// EmptyState says that there is nothing, why, and (children) what to do next.
// level is 1 where it is the whole page.
export function EmptyState({ title, text, level = 2, children }: { title: string; text?: ReactNode; level?: 1 | 2; children?: ReactNode }) {
  const Heading = `h${level}` as const;
  return (
    <div className="empty">
      <InboxOutlined aria-hidden className="empty-icon" />
      <Heading>{title}</Heading>
      {text && <p>{text}</p>}
      {children}
    </div>
  );
}
