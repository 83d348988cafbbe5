import { useTranslation } from 'react-i18next';
import type { Why } from './failure';
import { Said } from './Said';

interface Props {
  why: Why;
  // The provider's own code.
  code?: string | undefined;
  // The address that the provider saw, if that is what it refuses.
  address?: string | undefined;
  // What the server or the provider said, in English.
  said?: string | undefined;
}

// WhyText says what to do about a failure or a note; its reason is the heading of
// whoever shows it.
export function WhyText({ why, code, address, said }: Props) {
  const { t } = useTranslation('failure');
  return (
    <>
      <p>{t(`${why}.next`)}</p>
      {address && <p>{t('address', { address })}</p>}
      {code && <p>{t('code', { code })}</p>}
      <Said lines={[said]} />
    </>
  );
}
