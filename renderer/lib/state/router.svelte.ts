/** Where the person is, kept in the address's fragment so that reload and back work. */

export type VmTab = 'console' | 'devices' | 'hardware' | 'overview';
export type Route =
  | { page: 'library' }
  | { page: 'create' }
  | { page: 'guests' }
  | { page: 'log' }
  | { page: 'vm'; id: string; tab: VmTab };

const TABS: readonly string[] = ['console', 'devices', 'hardware', 'overview'] satisfies VmTab[];

function parse(hash: string): Route {
  const [page, id, tab] = hash.replace(/^#\/?/, '').split('/');
  if (page === 'vm' && id) return { page, id, tab: TABS.includes(tab) ? (tab as VmTab) : 'console' };
  if (page === 'create' || page === 'guests' || page === 'log') return { page };
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
  return route.page === 'vm' ? `#/vm/${route.id}/${route.tab}` : `#/${route.page}`;
}

export const router = new Router();
