import { CodeOutlined } from '@ant-design/icons';
import { Button, Input, Segmented, Skeleton } from 'antd';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ApiErrorAlert } from '../../components/ApiErrorAlert';
import { EmptyState } from '../../components/EmptyState';
import { usePresets } from './api';
import { needsPerson, type Preset } from './draft';
import type { Language } from './words';

const CATEGORIES = ['messaging', 'commerce', 'cloud', 'ai', 'developer', 'business', 'social'];

/** Reports whether a preset fits what was typed: its name or its title, in either language. */
export function fits(preset: Preset, keyword: string): boolean {
  const words = keyword.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${preset.name} ${preset.title.en} ${preset.title.zh}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

/** The cards of the catalogue. */
export function Catalogue({ choose }: { choose: (preset: string | null) => void }) {
  const { t } = useTranslation('realms');
  const presets = usePresets();
  const [keyword, setKeyword] = useState('');
  const [category, setCategory] = useState('all');
  const list = useMemo(
    () => presets.data?.filter((p) => fits(p, keyword) && (category === 'all' || p.category === category)),
    [presets.data, keyword, category],
  );
  return (
    <>
      <p className="lead">{t('catalogue.what')}</p>
      <div className="bar">
        <Input
          type="search"
          allowClear
          autoFocus
          className="catalogue-search"
          aria-label={t('catalogue.search')}
          placeholder={t('catalogue.search')}
          value={keyword}
          onChange={(event) => setKeyword(event.target.value)}
        />
        <div className="categories">
          <Segmented
            aria-label={t('catalogue.category')}
            value={category}
            onChange={setCategory}
            options={['all', ...CATEGORIES].map((value) => ({ value, label: t(`category.${value}`) }))}
          />
        </div>
      </div>
      <ApiErrorAlert error={presets.error} />
      {presets.isPending && <Skeleton active />}
      {list?.length === 0 && <EmptyState title={t('catalogue.none')} text={t('catalogue.none_text')} />}
      <ul className="cards" aria-label={t('catalogue.label')}>
        {list?.map((preset) => (
          <li key={preset.name}>
            <PresetCard preset={preset} choose={() => choose(preset.name)} />
          </li>
        ))}
      </ul>
      {list && (
        <p>
          <Button icon={<CodeOutlined aria-hidden />} onClick={() => choose(null)}>
            {t('catalogue.own')}
          </Button>
        </p>
      )}
    </>
  );
}

function PresetCard({ preset, choose }: { preset: Preset; choose: () => void }) {
  const { t, i18n } = useTranslation('realms');
  const language = i18n.language as Language;
  return (
    <button type="button" className="preset" onClick={choose}>
      <strong>{preset.title[language]}</strong>
      <span className="preset-name">{preset.name}</span>
      <span className="preset-what">
        {needsPerson(preset.config) ? t('catalogue.person') : t('catalogue.asks', { count: askedOf(preset) })}
      </span>
    </button>
  );
}

function askedOf(preset: Preset): number {
  return preset.fields.filter((f) => f.required && !f.pushed && f.default === undefined).length;
}
