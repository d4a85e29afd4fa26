/** How consoles are shown in this window; kept by the window. */

const KEY = 'ringside-console';

export const FONT = { default: 13, min: 9, max: 24 };
export const SCROLLBACK = { default: 10_000, min: 0, max: 200_000 };

interface Stored {
  fontSize: number;
  /** Lines. */
  scrollback: number;
  /** Drawn by the GPU (WebGL) where that works. */
  gpu: boolean;
  /** Ask before several lines are pasted into a guest that would run each of them. */
  confirmPaste: boolean;
  /** What is selected is on the clipboard at once. */
  copyOnSelect: boolean;
  /** The frame of the console flashes when the guest rings (BEL). */
  bell: boolean;
  /** Text for screen readers beside the picture; slower. */
  screenReader: boolean;
}

const DEFAULTS: Stored = {
  fontSize: FONT.default,
  scrollback: SCROLLBACK.default,
  gpu: true,
  confirmPaste: true,
  copyOnSelect: false,
  bell: true,
  screenReader: false,
};

function stored(): Stored {
  const found = { ...DEFAULTS };
  try {
    const value = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Record<keyof Stored, unknown>>;
    const within = (size: unknown, { min, max }: { min: number; max: number }): size is number =>
      typeof size === 'number' && size >= min && size <= max;
    if (within(value.fontSize, FONT)) found.fontSize = value.fontSize;
    if (within(value.scrollback, SCROLLBACK)) found.scrollback = value.scrollback;
    for (const name of ['gpu', 'confirmPaste', 'copyOnSelect', 'bell', 'screenReader'] as const) {
      if (typeof value[name] === 'boolean') found[name] = value[name];
    }
  } catch {
    // Somebody else's value: the defaults do.
  }
  return found;
}

class ConsolePreferences {
  readonly values = $state<Stored>(stored());

  set(change: Partial<Stored>): void {
    Object.assign(this.values, change);
    localStorage.setItem(KEY, JSON.stringify(this.values));
  }
}

export const preferences = new ConsolePreferences();
