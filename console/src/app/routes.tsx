import { type Page, pageOf } from './page';

// Route is a page: where it is, which line of the menu leads to it, and which
// right somebody needs for it (for at least one realm or key).
export interface Route {
  path: string;
  page: Page;
  menu?: string;
  needs?: ('admin' | 'admin_read' | 'audit' | 'read' | 'flush' | 'authorize' | 'push')[];
}

const inspect: Route['needs'] = ['admin', 'admin_read'];
const Realm = pageOf(() => import('../pages/realms/Realm'));
const Secret = pageOf(() => import('../pages/secrets/Secret'));
const Client = pageOf(() => import('../pages/clients/ClientPage'));
const ClientEdit = pageOf(() => import('../pages/clients/ClientEdit'));
const Company = pageOf(() => import('../pages/companies/CompanyPage'));
const CompanyEdit = pageOf(() => import('../pages/companies/CompanyEdit'));

// One line a page. `menu` is the key of its name in i18n/<language>/common.json.
export const routes: Route[] = [
  { path: '/', menu: 'overview', page: pageOf(() => import('../pages/overview')) },
  { path: '/realms', menu: 'realms', needs: inspect, page: pageOf(() => import('../pages/realms'), ['realms']) },
  { path: '/realms/new/catalogue', needs: ['admin'], page: pageOf(() => import('../pages/realms/NewRealm')) },
  { path: '/realms/:id', needs: inspect, page: Realm },
  { path: '/realms/:id/edit', needs: ['admin'], page: pageOf(() => import('../pages/realms/EditRealm')) },
  { path: '/secrets', menu: 'secrets', needs: inspect, page: pageOf(() => import('../pages/secrets'), ['secrets', 'realms']) },
  { path: '/secrets/new', needs: ['admin'], page: pageOf(() => import('../pages/secrets/NewSecret')) },
  { path: '/secrets/import', needs: ['admin'], page: pageOf(() => import('../pages/secrets/Import')) },
  { path: '/secrets/:realm/:key', needs: inspect, page: Secret },
  { path: '/accounts', menu: 'accounts', needs: inspect, page: pageOf(() => import('../pages/accounts')) },
  { path: '/companies', menu: 'companies', needs: inspect, page: pageOf(() => import('../pages/companies'), ['companies']) },
  { path: '/companies/:id', needs: inspect, page: Company },
  { path: '/companies/:id/change', needs: ['admin'], page: CompanyEdit },
  { path: '/companies/-/new', needs: ['admin'], page: CompanyEdit },
  { path: '/clients', menu: 'clients', needs: inspect, page: pageOf(() => import('../pages/clients'), ['clients']) },
  { path: '/clients/:id', needs: inspect, page: Client },
  { path: '/clients/:id/change', needs: ['admin'], page: ClientEdit },
  { path: '/clients/-/new', needs: ['admin'], page: ClientEdit },
  { path: '/explain', menu: 'explain', needs: inspect, page: pageOf(() => import('../pages/explain')) },
  { path: '/audit', menu: 'audit', needs: ['audit'], page: pageOf(() => import('../pages/audit')) },
];
