/** Files that are dropped onto the window. */

/** Where they are, as far as the window is told: Electron knows, a browser only of links. */
export function droppedPaths(data: DataTransfer | null): { paths: string[]; unknown: number } {
  const paths: string[] = [];
  let unknown = 0;
  for (const file of data?.files ?? []) {
    const path = window.ringside?.pathOf?.(file) ?? '';
    if (path === '') unknown++;
    else paths.push(path);
  }
  if (paths.length === 0) paths.push(...linkedPaths(data?.getData('text/uri-list') ?? ''));
  return { paths, unknown: paths.length > 0 ? 0 : unknown };
}

/** Images for VMs whose Hardware page is not shown yet. */
const waiting = new Map<string, string[]>();

/** Images that were dropped elsewhere onto a VM: its Hardware page takes them over when it opens. */
export function keepImages(vm: string, paths: readonly string[]): void {
  waiting.set(vm, [...(waiting.get(vm) ?? []), ...paths]);
}

export function takeImages(vm: string): string[] {
  const paths = waiting.get(vm) ?? [];
  waiting.delete(vm);
  return paths;
}

/** Of a text/uri-list (RFC 2483), its file:// lines. */
function linkedPaths(list: string): string[] {
  return list
    .split(/\r?\n/)
    .filter((line) => /^file:\/\/(localhost)?\//.test(line))
    .flatMap((line) => {
      try {
        return decodeURIComponent(new URL(line).pathname);
      } catch {
        return [];
      }
    });
}
