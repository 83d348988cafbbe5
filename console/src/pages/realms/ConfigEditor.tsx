import { Form, Input } from 'antd';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { type Config, lineOfField, parseConfig } from './draft';

export interface ConfigText {
  text: string;
  setText: (text: string) => void;
  /** The parsed text; null where it is no JSON object. */
  config: Config | null;
  /** The line of the fault, as text; empty where it is not known; null where there is none. */
  error: string | null;
}

/** The text of a config while somebody writes it. */
export function useConfigText(initial: string): ConfigText {
  const [text, setText] = useState(initial);
  const parsed = useMemo(() => parseConfig(text), [text]);
  return 'config' in parsed
    ? { text, setText, config: parsed.config, error: null }
    : { text, setText, config: null, error: parsed.error };
}

interface Props {
  editor: ConfigText;
  /** Why the API refused it, and the field that it named. */
  error?: string | undefined;
  field?: string | undefined;
}

/** An editor of a realm's config as JSON. */
export function ConfigEditor({ editor, error, field }: Props) {
  const { t } = useTranslation('realms');
  const fault = () => {
    if (editor.error === null) {
      const line = error && field ? lineOfField(editor.text, field) : 0;
      return line > 0 ? t('editor.at_line', { line, error }) : error;
    }
    if (editor.error === '{ }') return t('editor.no_object');
    return editor.error === '' ? t('editor.no_json') : t('editor.no_json_line', { line: editor.error });
  };
  const text = fault();
  return (
    <Form.Item
      label={t('editor.label')}
      htmlFor="realm-config"
      extra={t('editor.help')}
      {...(text ? { help: text, validateStatus: 'error' as const } : {})}
    >
      <Input.TextArea
        id="realm-config"
        className="code"
        // Not autoSize: it sets a style attribute, which the Content-Security-Policy forbids.
        rows={Math.min(30, Math.max(8, editor.text.split('\n').length))}
        value={editor.text}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => editor.setText(event.target.value)}
      />
    </Form.Item>
  );
}
