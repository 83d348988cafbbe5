import { type ComponentType, lazy, type LazyExoticComponent } from 'react';

// Route is a page: where it is, which line of the menu leads to it, and which
// right somebody needs for it (for at least one realm or key).
export interface Route {
  path: string;
  page: LazyExoticComponent<ComponentType>;
  menu?: string;
  needs?: ('admin' | 'admin_read' | 'audit' | 'read' | 'flush' | 'authorize' | 'push')[];
}

const inspect: Route['needs'] = ['admin', 'admin_read'];
const Realm = lazy(() => import('../pages/realms/Realm'));
const Secret = lazy(() => import('../pages/secrets/Secret'));
const Client = lazy(() => import('../pages/clients/ClientPage'));
const ClientEdit = lazy(() => import('../pages/clients/ClientEdit'));
const Company = lazy(() => import('../pages/companies/CompanyPage'));
const CompanyEdit = lazy(() => import('../pages/companies/CompanyEdit'));

// One line a page. `menu` is the key of its name in i18n/<language>/common.json.
export const routes: Route[] = [
  { path: '/', menu: 'overview', page: lazy(() => import('../pages/overview')) },
  { path: '/realms', menu: 'realms', needs: inspect, page: lazy(() => import('../pages/realms')) },
  { path: '/realms/new/catalogue', needs: ['admin'], page: lazy(() => import('../pages/realms/NewRealm')) },
  { path: '/realms/:id', needs: inspect, page: Realm },
  { path: '/realms/:id/edit', needs: ['admin'], page: lazy(() => import('../pages/realms/EditRealm')) },
  { path: '/secrets', menu: 'secrets', needs: inspect, page: lazy(() => import('../pages/secrets')) },
  { path: '/secrets/new', needs: ['admin'], page: lazy(() => import('../pages/secrets/NewSecret')) },
  { path: '/secrets/import', needs: ['admin'], page: lazy(() => import('../pages/secrets/Import')) },
  { path: '/secrets/:realm/:key', needs: inspect, page: Secret },
  { path: '/accounts', menu: 'accounts', needs: inspect, page: lazy(() => import('../pages/accounts')) },
  { path: '/companies', menu: 'companies', needs: inspect, page: lazy(() => import('../pages/companies')) },
  { path: '/companies/:id', needs: inspect, page: Company },
  { path: '/companies/:id/change', needs: ['admin'], page: CompanyEdit },
  { path: '/companies/-/new', needs: ['admin'], page: CompanyEdit },
  { path: '/clients', menu: 'clients', needs: inspect, page: lazy(() => import('../pages/clients')) },
  { path: '/clients/:id', needs: inspect, page: Client },
  { path: '/clients/:id/change', needs: ['admin'], page: ClientEdit },
  { path: '/clients/-/new', needs: ['admin'], page: ClientEdit },
  { path: '/explain', menu: 'explain', needs: inspect, page: lazy(() => import('../pages/explain')) },
  { path: '/audit', menu: 'audit', needs: ['audit'], page: lazy(() => import('../pages/audit')) },
];
