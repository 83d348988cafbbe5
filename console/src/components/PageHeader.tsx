import { Typography } from 'antd';
import { type ReactNode, useEffect } from 'react';
import { useTranslation } from 'react-i18next';

interface Props {
  // The namespace of the page's texts: `title` and, where there is one, `what`
  // are read from it.
  namespace: string;
  // In place of the namespace's title: the name of one object.
  title?: ReactNode;
  // Buttons.
  children?: ReactNode;
}

// PageHeader is the head of every page, with its only <h1>.
export function PageHeader({ namespace, title, children }: Props) {
  const { t, i18n } = useTranslation(namespace);
  const name = t('title');
  useEffect(() => {
    document.title = `${typeof title === 'string' ? `${title} · ` : ''}${name} · caddy-tokens`;
  }, [name, title]);
  return (
    <header className="page-header">
      <div>
        <Typography.Title level={1}>{title ?? name}</Typography.Title>
        {title === undefined && i18n.exists(`${namespace}:what`) && <p>{t('what')}</p>}
      </div>
      <div className="actions">{children}</div>
    </header>
  );
}
