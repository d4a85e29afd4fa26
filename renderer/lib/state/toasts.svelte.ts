/** Short messages at the edge of the window: one line, gone after a while. */

export interface Toast {
  id: number;
  kind: 'info' | 'error';
  text: string;
}

const INFO_MS = 4000;
const ERROR_MS = 10_000;
const MOST = 4;

class Toasts {
  list = $state.raw<Toast[]>([]);
  #next = 0;

  show(kind: Toast['kind'], text: string): void {
    // The same thing again is no news.
    this.list = this.list.filter((toast) => toast.text !== text).slice(1 - MOST);
    const toast = { id: this.#next++, kind, text };
    this.list = [...this.list, toast];
    setTimeout(() => this.dismiss(toast.id), kind === 'error' ? ERROR_MS : INFO_MS);
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();

/** What was thrown, as the one line it is. */
export function lineOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Puts text on the clipboard and says so. */
export async function copyText(text: string, said = 'Copied.'): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toasts.show('info', said);
  } catch {
    toasts.show('error', `The clipboard could not be written to. Copy it by hand: ${text.slice(0, 200)}`);
  }
}

/** Runs something a person asked for; what goes wrong is shown. @returns whether it went well */
export async function act(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    toasts.show('error', lineOf(error));
    return false;
  }
}
