import { Alert, Button } from 'antd';
import { Component, type ReactNode } from 'react';
import { Translation } from 'react-i18next';

// Failed shows a message in place of a page that threw, or whose code could not
// be loaded: a new release has other files.
export class Failed extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    if (!this.state.failed) {
      return this.props.children;
    }
    return (
      <Translation>
        {(t) => (
          <Alert
            type="error"
            showIcon
            title={t('page_failed')}
            action={<Button onClick={() => window.location.reload()}>{t('reload')}</Button>}
          />
        )}
      </Translation>
    );
  }
}
