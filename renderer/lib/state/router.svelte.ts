/** Where the person is, kept in the address's fragment so that reload and back work. `place` is the tab's own affair. */

export type VmTab = 'console' | 'devices' | 'monitor' | 'hardware' | 'overview';
export type CaptureView = 'timeline' | 'rings' | 'replay';
export type Route =
  | { page: 'library' }
  | { page: 'import' }
  | { page: 'export'; id: string }
  | { page: 'create' }
  | { page: 'guests' }
  | { page: 'log' }
  | { page: 'settings' }
  /** A capture file; without: to choose one. */
  | { page: 'capture'; file?: string; view?: CaptureView }
  | { page: 'vm'; id: string; tab: VmTab; place?: string };

const TABS: readonly string[] = ['console', 'devices', 'monitor', 'hardware', 'overview'] satisfies VmTab[];

function parse(hash: string): Route {
  const [page, id, tab, ...place] = hash.replace(/^#\/?/, '').split('/');
  if (page === 'vm' && id) {
    return { page, id, tab: TABS.includes(tab) ? (tab as VmTab) : 'console', place: place.join('/') };
  }
  if (page === 'export' && id) return { page, id };
  if (page === 'capture') return parseCapture(id, tab);
  if (page === 'import' || page === 'create' || page === 'guests' || page === 'log' || page === 'settings')
    return { page };
  return { page: 'library' };
}

const CAPTURE_VIEWS: readonly string[] = ['timeline', 'rings', 'replay'] satisfies CaptureView[];

function parseCapture(file: string | undefined, view: string | undefined): Route {
  try {
    if (!file) return { page: 'capture' };
    const known = CAPTURE_VIEWS.includes(view ?? '') ? (view as CaptureView) : 'timeline';
    return { page: 'capture', file: decodeURIComponent(file), view: known };
  } catch {
    return { page: 'capture' };
  }
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
  if (route.page === 'capture' && route.file !== undefined) {
    return `#/capture/${encodeURIComponent(route.file)}/${route.view ?? 'timeline'}`;
  }
  if (route.page !== 'vm') return `#/${route.page}`;
  return `#/vm/${route.id}/${route.tab}${route.place ? `/${route.place}` : ''}`;
}

export const router = new Router();
