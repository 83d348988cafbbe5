import { Form, Input } from 'antd';
import { useId } from 'react';
import { useTranslation } from 'react-i18next';
import { SecretInput } from '../../components/SecretInput';
import { isMultiLine, type PresetField } from '../realms/draft';
import { Sentence } from '../realms/Sentence';
import type { Language } from '../realms/words';
import './secrets.css';

interface Props {
  field: PresetField;
  value: string;
  error?: string | undefined;
  /** In place of the field's default. */
  placeholder?: string | undefined;
  disabled?: boolean;
  /** Whether an empty field is fine, whatever the preset says: it is set already. */
  isOptional?: boolean;
  onChange: (value: string) => void;
}

/** The input of one field of a secret, with the preset's help. Confidential ones are masked. */
export function FieldInput({ field, value, error, placeholder, disabled, isOptional, onChange }: Props) {
  const { t, i18n } = useTranslation('secrets');
  const id = useId();
  const help = field.help[i18n.language as Language];
  const needed = field.required && !field.pushed && field.default === undefined && !isOptional;
  const common = {
    id,
    value,
    disabled: disabled ?? false,
    'aria-required': needed,
    placeholder: placeholder ?? field.default ?? '',
    onChange: (event: { target: { value: string } }) => onChange(event.target.value),
  };
  const hint = field.pushed ? `${help} ${t('field.pushed')}` : help;
  return (
    <Form.Item
      label={<span className="field-name">{field.name}</span>}
      htmlFor={id}
      required={needed}
      extra={hint ? <Sentence text={hint} /> : undefined}
      {...(error ? { help: error, validateStatus: 'error' as const } : {})}
    >
      {field.confidential ? (
        <SecretInput {...common} multiline={isMultiLine(field.name)} />
      ) : (
        <Input {...common} spellCheck={false} autoComplete="off" />
      )}
    </Form.Item>
  );
}
