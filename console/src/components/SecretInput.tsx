import { Input, type InputProps } from 'antd';

type Props = Omit<InputProps, 'type' | 'autoComplete' | 'defaultValue'> & {
  // More than one line: a private key.
  multiline?: boolean;
};

// SecretInput takes a value that is never shown again: browsers do not store
// it, password managers leave it alone. It is never prefilled with a stored
// value. A private key needs its line breaks, which a password field loses; its
// characters are masked by the style instead.
export function SecretInput({ multiline, ...props }: Props) {
  const common = {
    autoComplete: multiline ? 'off' : 'new-password',
    autoCapitalize: 'off',
    autoCorrect: 'off',
    spellCheck: false,
    'data-1p-ignore': true,
    'data-lpignore': 'true',
    'data-form-type': 'other',
  };
  if (multiline) {
    const { id, value, onChange, placeholder, disabled } = props;
    return (
      <Input.TextArea
        {...common}
        className="masked"
        id={id}
        rows={4}
        value={value}
        placeholder={placeholder}
        disabled={disabled}
        aria-label={props['aria-label']}
        aria-required={props['aria-required']}
        onChange={(event) => onChange?.(event as never)}
      />
    );
  }
  return <Input {...props} {...common} type="password" />;
}
