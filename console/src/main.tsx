import 'virtual:antd.css';
import './app/page.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app/App';
import { startLanguage } from './app/language';
import { takeLink } from './app/link';

// First of all, before the router reads the address: the code of a one-time
// link must not stay in it.
const link = takeLink();

const root = document.getElementById('root');
if (!root) {
  throw new Error('the page has no #root');
}
await startLanguage();
createRoot(root).render(
  <StrictMode>
    <App link={link} />
  </StrictMode>,
);
