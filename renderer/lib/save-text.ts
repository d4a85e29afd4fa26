/** Text into a file of the person's choice: by the native dialog, or as a browser's download. */
import { app } from './state/app.svelte.ts';
import { act, toasts } from './state/toasts.svelte.ts';

/** @param name what the file is to be called unless the person says otherwise */
export async function saveText(name: string, text: string, title: string): Promise<void> {
  if (app.info?.nativeDialogs === true) {
    await act(async () => {
      const { path } = await app.client.call('files.saveText', { title, name, text });
      if (path !== null) toasts.show('info', `Saved as ${path}.`);
    });
    return;
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
