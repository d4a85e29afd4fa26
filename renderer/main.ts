import './lib/zod-without-eval.ts';
import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { applyTheme } from './lib/state/theme.svelte.ts';

applyTheme();
mount(App, { target: document.getElementById('app')! });
