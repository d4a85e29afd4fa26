/** Keyboard shortcuts as the contract has them (Electron's accelerators): matched with key events, and shown to people. */

const APPLE = /Mac|iP(hone|ad)/.test(navigator.platform);

interface Keys {
  command: boolean;
  shift: boolean;
  alt: boolean;
  key: string;
}

function parse(accelerator: string): Keys {
  const parts = accelerator.split('+');
  return {
    command: parts.includes('CmdOrCtrl'),
    shift: parts.includes('Shift'),
    alt: parts.includes('Alt'),
    key: parts.at(-1)!.toLowerCase(),
  };
}

/** Whether a key event is these keys. A digit is known by where it is: with Shift it is another character. */
export function matches(event: KeyboardEvent, accelerator: string): boolean {
  const { command, shift, alt, key } = parse(accelerator);
  const control = APPLE ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
  const pressed = /^Digit\d$/.test(event.code) ? event.code.slice('Digit'.length) : event.key.toLowerCase();
  return control === command && event.shiftKey === shift && event.altKey === alt && pressed === key;
}

/** The keys, one after another: "Ctrl", "Shift", "K"; on a Mac their signs. */
export function keyNames(accelerator: string): string[] {
  const { command, shift, alt, key } = parse(accelerator);
  return [
    ...(command ? [APPLE ? '⌘' : 'Ctrl'] : []),
    ...(alt ? [APPLE ? '⌥' : 'Alt'] : []),
    ...(shift ? [APPLE ? '⇧' : 'Shift'] : []),
    key.length === 1 ? key.toUpperCase() : key,
  ];
}

/** Whether what is typed belongs to a field or a terminal. */
export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select, .xterm') !== null;
}
