/** Colours of terminals, light and dark; all of them readable on their background. */
import type { ISearchDecorationOptions } from '@xterm/addon-search';
import type { ITheme } from '@xterm/xterm';

export const LIGHT: ITheme = {
  background: '#ffffff',
  foreground: '#1b1e25',
  cursor: '#2563c4',
  cursorAccent: '#ffffff',
  selectionBackground: '#bcd3f7',
  black: '#1b1e25',
  red: '#b42b2b',
  green: '#17713d',
  yellow: '#8a5200',
  blue: '#2563c4',
  magenta: '#8b3a9e',
  cyan: '#0f6f7c',
  white: '#6b7280',
  brightBlack: '#565d6b',
  brightRed: '#cf3f3f',
  brightGreen: '#1f8a4c',
  brightYellow: '#a86a0a',
  brightBlue: '#3b7be0',
  brightMagenta: '#a451b8',
  brightCyan: '#178a99',
  brightWhite: '#3c4250',
};

export const DARK: ITheme = {
  background: '#111317',
  foreground: '#dde1e8',
  cursor: '#7aa8f7',
  cursorAccent: '#111317',
  selectionBackground: '#31486f',
  black: '#23272f',
  red: '#f28b8b',
  green: '#6bcf96',
  yellow: '#e6b04f',
  blue: '#7aa8f7',
  magenta: '#d19ae0',
  cyan: '#6fc7d4',
  white: '#c9ced8',
  brightBlack: '#7d8595',
  brightRed: '#ffa8a8',
  brightGreen: '#8fe3b2',
  brightYellow: '#f5cb7f',
  brightBlue: '#a0c2fc',
  brightMagenta: '#e4bdf0',
  brightCyan: '#98dfe9',
  brightWhite: '#f4f6f9',
};

/** What a search has found, and the one of them that is shown. */
export const LIGHT_MATCHES: ISearchDecorationOptions = {
  matchBackground: '#ffe39a',
  activeMatchBackground: '#ffb347',
  matchOverviewRuler: '#d9a400',
  activeMatchColorOverviewRuler: '#e07b00',
};

export const DARK_MATCHES: ISearchDecorationOptions = {
  matchBackground: '#6b5200',
  activeMatchBackground: '#a55d00',
  matchOverviewRuler: '#b8860b',
  activeMatchColorOverviewRuler: '#e07b00',
};
