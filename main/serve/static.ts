/** The built renderer as files under a URL: for the browser server and for Electron's app:// protocol. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { RingsideError } from '../../core/errors.ts';

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
};

export interface StaticFile {
  body: Buffer;
  headers: Record<string, string>;
}

/**
 * The renderer's files by URL path. They are listed once; a request is looked up among those names and never made into
 * a path, so there is nothing to traverse.
 */
export class StaticFiles {
  readonly #root: string;
  readonly #names: ReadonlySet<string>;

  private constructor(root: string, names: ReadonlySet<string>) {
    this.#root = root;
    this.#names = names;
  }

  /** @throws not-found when the renderer has not been built */
  static async open(root: string): Promise<StaticFiles> {
    const names = new Set<string>();
    try {
      for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || TYPES[path.extname(entry.name)] === undefined) continue;
        names.add(path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'));
      }
    } catch (error) {
      throw new RingsideError('not-found', 'the user interface is not built: run npm run setup', { cause: error });
    }
    if (!names.has('index.html')) {
      throw new RingsideError('not-found', 'the user interface is not built: run npm run setup');
    }
    return new StaticFiles(root, names);
  }

  /** @param pathname of the URL, still percent-encoded; null when there is no such file */
  async get(pathname: string): Promise<StaticFile | null> {
    let name: string;
    try {
      name = decodeURIComponent(pathname).replace(/^\//, '');
    } catch {
      return null;
    }
    if (name === '') name = 'index.html';
    if (!this.#names.has(name)) return null;
    const body = await readFile(path.join(this.#root, name)).catch(() => null);
    if (body === null) return null;
    return {
      body,
      headers: {
        'Content-Type': TYPES[path.extname(name)],
        // Vite puts a content hash into every name under assets/.
        'Cache-Control': name.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-store',
      },
    };
  }
}
