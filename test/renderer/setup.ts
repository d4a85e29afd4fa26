import { cleanup } from '@testing-library/svelte';
import { afterEach } from 'vitest';

// Node's own, which is there in name only, hides happy-dom's.
Object.defineProperty(globalThis, 'localStorage', { value: new Storage(), configurable: true });

afterEach(cleanup);
