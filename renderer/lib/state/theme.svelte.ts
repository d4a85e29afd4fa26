/** Light, dark, or as the system has it. */

export type Theme = 'system' | 'light' | 'dark';
const KEY = 'ringside-theme';
const system = window.matchMedia('(prefers-color-scheme: dark)');

function stored(): Theme {
  const value = localStorage.getItem(KEY);
  return value === 'light' || value === 'dark' ? value : 'system';
}

class ThemeState {
  choice = $state<Theme>(stored());
  dark = $state(false);
}

export const theme = new ThemeState();

export function applyTheme(): void {
  theme.dark = theme.choice === 'dark' || (theme.choice === 'system' && system.matches);
  document.documentElement.dataset.theme = theme.dark ? 'dark' : 'light';
}

export function chooseTheme(choice: Theme): void {
  theme.choice = choice;
  if (choice === 'system') localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, choice);
  applyTheme();
}

system.addEventListener('change', applyTheme);
