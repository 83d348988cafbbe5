import { InboxOutlined } from '@ant-design/icons';
import type { ReactNode } from 'react';

// EmptyState says that there is nothing, why, and (children) what to do next.
export function EmptyState({ title, text, children }: { title: string; text?: ReactNode; children?: ReactNode }) {
  return (
    <div className="empty">
      <InboxOutlined aria-hidden className="empty-icon" />
      <h2>{title}</h2>
      {text && <p>{text}</p>}
      {children}
    </div>
  );
}
