import { test as base } from '@playwright/test';
import { ask, composer, expect, Server } from './page';

base('a server with a key asks for it, once a tab', async ({ page }) => {
  const server = new Server(['first'], '--api-key', 'open sesame');
  try {
    await page.goto(await server.url);
    const dialog = page.getByRole('dialog', { name: 'This server wants a key' });
    await dialog.getByLabel('Key').fill('wrong');
    await page.keyboard.press('Enter');
    await expect(dialog).toContainText('does not know that key');
    await dialog.getByLabel('Key').fill('open sesame');
    await page.keyboard.press('Enter');
    await expect(dialog).toBeHidden();
    await page.getByRole('button', { name: 'Settings', exact: true }).click();
    await page.getByRole('spinbutton', { name: 'Most tokens' }).fill('20');
    await page.getByRole('button', { name: 'Close settings' }).click();
    await ask(page, 'Hello');
    await page.reload();
    await expect(composer(page)).toBeVisible();
    await expect(page.getByRole('link', { name: 'Hello' })).toBeVisible();
    await expect(dialog).toBeHidden();
  } finally {
    await server.stop();
  }
});
