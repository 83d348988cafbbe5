import type { ReactNode } from 'react';

// requiredMark is a label with an asterisk where the field is required. Ant
// Design's own asterisk is content of a style, which screen readers read as part
// of the name ("* appid"); that a field is required they say by aria-required.
export function requiredMark(label: ReactNode, { required }: { required: boolean }): ReactNode {
  if (!required) return label;
  return (
    <>
      <span className="required" aria-hidden>
        *
      </span>
      {label}
    </>
  );
}
