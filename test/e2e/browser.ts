/** The workstation in a real browser: Debian's chromium, driven by Playwright. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import type { Page } from 'playwright-core';
import type { App } from '../../main/app/app.ts';
import { serveApp } from '../../main/serve/server.ts';
import type { RunningServer } from '../../main/serve/server.ts';

const CHROMIUM = process.env.RINGSIDE_CHROMIUM ?? '/usr/bin/chromium';
const ARGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];
const OUT = fileURLToPath(new URL('../out', import.meta.url));

/** Why there is no browser to test in, or null. */
export const noBrowser = existsSync(CHROMIUM) ? null : `there is no ${CHROMIUM} (set RINGSIDE_CHROMIUM)`;

/**
 * Consoles are drawn by the page, where Playwright can read them, unless the person has chosen otherwise: a picture that the
 * GPU has made is no text.
 */
export const READABLE_CONSOLES = `localStorage.getItem('ringside-console') ?? localStorage.setItem('ringside-console', '{"gpu":false}')`;

export class Workstation {
  readonly page: Page;
  /** Errors that the page reported: scripts, refused styles, failed requests. */
  readonly complaints: string[] = [];
  readonly #close: () => Promise<void>;

  /** @param close ends what shows the page, and what serves it */
  constructor(page: Page, close: () => Promise<void>) {
    this.page = page;
    this.#close = close;
    page.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(String(error)));
  }

  /** Serves the app to a browser and opens it there, signed in. */
  static async open(app: App): Promise<Workstation & { server: RunningServer }> {
    const { buildRenderer } = (await import('../../main/build.mjs')) as { buildRenderer(): Promise<boolean> };
    await buildRenderer();
    const server = await serveApp({ app });
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      colorScheme: 'light',
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    await context.addInitScript(READABLE_CONSOLES);
    const page = await context.newPage();
    const workstation = new Workstation(page, async () => {
      await context.close();
      await browser.close();
      await server.close();
    });
    page.setDefaultTimeout(30_000);
    await page.goto(server.url);
    return Object.assign(workstation, { server });
  }

  /** Keeps a picture of the page, as an artefact of CI. */
  async picture(name: string): Promise<void> {
    await mkdir(OUT, { recursive: true });
    await this.page.screenshot({ path: path.join(OUT, `${name}.png`) });
  }

  /** The page in every size and theme that it is judged in. */
  async pictures(name: string): Promise<void> {
    const before = this.page.viewportSize();
    for (const [width, height] of [
      [1280, 800],
      [1920, 1080],
    ]) {
      await this.page.setViewportSize({ width, height });
      for (const colorScheme of ['light', 'dark'] as const) {
        await this.page.emulateMedia({ colorScheme });
        // Charts and terminals fit themselves to the window.
        await this.page.waitForTimeout(150);
        await this.picture(`${name}-${width}x${height}-${colorScheme}`);
      }
    }
    await this.page.emulateMedia({ colorScheme: 'light' });
    if (before !== null) await this.page.setViewportSize(before);
  }

  /** Waits until the VM's page says so. */
  async state(state: string): Promise<void> {
    const badge = this.page.locator(`[data-testid=vm-title] + [data-testid=vm-state][data-state=${state}]`);
    await badge.waitFor().catch(async (error: unknown) => {
      const said = await this.page.getByRole('alert').allInnerTexts();
      throw new Error(`the VM is not ${state}; the page says: ${said.join(' / ')}`, { cause: error });
    });
  }

  /** What the terminal shows. */
  async screen(): Promise<string> {
    return this.page.locator('.xterm-rows').innerText();
  }

  /** Waits until the terminal shows something. */
  async see(text: string | RegExp, timeout = 30_000): Promise<void> {
    const end = Date.now() + timeout;
    for (;;) {
      // Playwright's innerText gives hard spaces where the terminal has blanks.
      const screen = (await this.screen()).replaceAll('\u00a0', ' ');
      if (typeof text === 'string' ? screen.includes(text) : text.test(screen)) return;
      if (Date.now() > end) throw new Error(`the terminal does not show ${String(text)}:\n${screen}`);
      await this.page.waitForTimeout(100);
    }
  }

  /** Types a line into the terminal. */
  async type(line: string): Promise<void> {
    await this.page.locator('.xterm-helper-textarea').focus();
    await this.page.keyboard.type(`${line}\n`, { delay: 5 });
  }

  close(): Promise<void> {
    return this.#close();
  }
}
