import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test as base, expect, type Page } from '@playwright/test';
import { composer, Server } from './page';

const images = fileURLToPath(new URL('../../docs/images', import.meta.url));
const models = process.env.SALIENT_SCREENSHOT_MODELS!.split(' ');
const desktop = { width: 1200, height: 750 };
const phone = { width: 390, height: 844 };

const test = base.extend<object, { server: Server }>({
  server: [
    async ({}, use) => {
      const server = new Server(models);
      await use(server);
      await server.stop();
    },
    { scope: 'worker' },
  ],
});

async function shoot(page: Page, name: string, colorScheme: 'light' | 'dark', viewport = desktop): Promise<void> {
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
  await page.setViewportSize(viewport);
  await page.mouse.move(0, 0);
  await page.waitForTimeout(300);
  await page.screenshot({ path: join(images, `${name}.png`) });
}

async function ask(page: Page, prompt: string, count: number): Promise<void> {
  await composer(page).fill(prompt);
  await page.keyboard.press('Enter');
  await expect(page.locator('article[aria-busy="false"]')).toHaveCount(count, { timeout: 120_000 });
}

test('pictures', async ({ page, server }) => {
  await page.setViewportSize(desktop);
  await page.goto(await server.url);
  await page.getByRole('button', { name: 'Settings', exact: true }).click();
  await page.getByRole('button', { name: 'Exact' }).click();
  await page.getByRole('spinbutton', { name: 'Most tokens' }).fill('400');
  await page.getByRole('button', { name: 'Close settings' }).click();
  await shoot(page, 'chat-new-light', 'light');

  await ask(page, 'Why is the sky blue? Two sentences.', 1);
  await page.getByRole('button', { name: 'New chat' }).click();
  await ask(page, 'Write a short Python function that reverses the words of a sentence, and explain it in three steps.', 1);
  await page.getByRole('region', { name: 'Messages' }).evaluate((thread) => thread.scrollTo(0, 0));
  await shoot(page, 'chat-light', 'light');
  await shoot(page, 'chat-dark', 'dark');
  await shoot(page, 'chat-phone-light', 'light', phone);
  await shoot(page, 'chat-phone-dark', 'dark', phone);
  await page.setViewportSize(desktop);

  await page.getByRole('button', { name: 'New chat' }).click();
  await page.getByRole('button', { name: 'Two models side by side' }).click();
  await ask(page, 'What is the difference between a star and a planet?', 2);
  await expect(page.getByRole('region', { name: 'Agreement' })).toContainText('Equal tokens');
  await shoot(page, 'chat-side-by-side-light', 'light');
  await shoot(page, 'chat-side-by-side-dark', 'dark');
});
