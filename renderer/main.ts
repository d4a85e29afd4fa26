import { mount } from 'svelte';
import { z } from 'zod';
import App from './App.svelte';
import './app.css';
import { applyTheme } from './lib/state/theme.svelte.ts';

// Zod would compile schemas with new Function(), which the content security policy forbids.
z.config({ jitless: true });

applyTheme();
mount(App, { target: document.getElementById('app')! });
