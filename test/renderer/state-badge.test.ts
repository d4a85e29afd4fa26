import { render, screen } from '@testing-library/svelte';
import { expect, test } from 'vitest';
import StateBadge from '../../renderer/lib/ui/StateBadge.svelte';

test('a badge says the state in a word', () => {
  render(StateBadge, { state: 'paused' });
  expect(screen.getByTestId('vm-state').textContent).toBe('Paused');
});
