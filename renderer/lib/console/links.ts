/** Addresses that a guest has written. Where they lead is the guest's choice, so the person is asked. */
import { app } from '../state/app.svelte.ts';
import { act } from '../state/toasts.svelte.ts';
import { confirm } from '../ui/confirm.svelte.ts';

export async function openLink(url: string): Promise<void> {
  if (app.info?.host === 'desktop') {
    // The app asks by itself.
    await act(() => app.client.call('ui.openLink', { url }));
    return;
  }
  const yes = await confirm.ask({
    title: 'Open this address?',
    message: 'The guest wrote it. It opens in a new tab of this browser.',
    details: [url],
    confirm: 'Open',
  });
  if (yes) window.open(url, '_blank', 'noopener,noreferrer');
}
