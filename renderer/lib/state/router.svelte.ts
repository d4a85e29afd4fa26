/** Where the person is, kept in the address's fragment so that reload and back work. `place` is the tab's own affair. */

export type VmTab = 'console' | 'devices' | 'monitor' | 'hardware' | 'overview';
export type Route =
  | { page: 'library' }
  | { page: 'import' }
  | { page: 'export'; id: string }
  | { page: 'create' }
  | { page: 'guests' }
  | { page: 'log' }
  | { page: 'settings' }
  | { page: 'vm'; id: string; tab: VmTab; place?: string };

const TABS: readonly string[] = ['console', 'devices', 'monitor', 'hardware', 'overview'] satisfies VmTab[];

function parse(hash: string): Route {
  const [page, id, tab, ...place] = hash.replace(/^#\/?/, '').split('/');
  if (page === 'vm' && id) {
    return { page, id, tab: TABS.includes(tab) ? (tab as VmTab) : 'console', place: place.join('/') };
  }
  if (page === 'export' && id) return { page, id };
  if (page === 'import' || page === 'create' || page === 'guests' || page === 'log' || page === 'settings')
    return { page };
  return { page: 'library' };
}

class Router {
  route = $state.raw<Route>(parse(location.hash));

  constructor() {
    window.addEventListener('hashchange', () => {
      this.route = parse(location.hash);
    });
  }

  go(route: Route): void {
    location.hash = href(route);
  }
}

export function href(route: Route): string {
  if (route.page === 'export') return `#/export/${route.id}`;
  if (route.page !== 'vm') return `#/${route.page}`;
  return `#/vm/${route.id}/${route.tab}${route.place ? `/${route.place}` : ''}`;
}

export const router = new Router();
