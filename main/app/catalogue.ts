/** The guest catalogue (main/guests) as the app uses it. */
import { discardDownloads, fetchGuest, guestPaths, listGuests, removeGuest } from '../guests/index.ts';
import type { GuestCatalogue } from './guest-service.ts';

export const catalogue: GuestCatalogue = {
  async list() {
    const guests = await listGuests();
    return Promise.all(
      guests.map(async ({ id, title, description, downloadSize, size, downloaded }) => {
        const files = await guestPaths(id);
        return {
          id,
          name: title,
          description,
          downloadSize,
          downloaded,
          files: files === null ? null : { ...files, size },
        };
      }),
    );
  },
  fetch(id, { onProgress, signal }) {
    return fetchGuest(id, {
      signal,
      onProgress: ({ message, done, total }) => {
        const step = message.charAt(0).toUpperCase() + message.slice(1);
        onProgress({ step, received: done ?? 0, total: total ?? null });
      },
    });
  },
  discard: (id) => discardDownloads(id),
  async remove(id) {
    await removeGuest(id);
  },
};
