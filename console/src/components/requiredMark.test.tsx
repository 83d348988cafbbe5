import { render, screen } from '@testing-library/react';
import { ConfigProvider, Form, Input, Select } from 'antd';
import { expect, test } from 'vitest';
import { requiredMark } from './requiredMark';

test('a required field is named by its label alone, and says that it is required', () => {
  render(
    <ConfigProvider form={{ requiredMark }}>
      <Form layout="vertical">
        <Form.Item label="appid" htmlFor="a" required>
          <Input id="a" aria-required />
        </Form.Item>
        <Form.Item label="realm" htmlFor="b" required>
          <Select id="b" aria-required options={[]} />
        </Form.Item>
      </Form>
    </ConfigProvider>,
  );
  expect(screen.getByRole('textbox', { name: 'appid' }).getAttribute('aria-required')).toBe('true');
  expect(screen.getByRole('combobox', { name: 'realm' }).getAttribute('aria-required')).toBe('true');
  // Ant Design's own mark is off.
  expect(document.querySelectorAll('.ant-form-item-required:not(.ant-form-item-required-mark-optional)')).toHaveLength(0);
});
