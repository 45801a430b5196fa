/** Everyone can use the page: with the keyboard alone, with a screen reader, on a phone, in dark and in light. */
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { ask, chooseModel, composer, expect, openWithLimit, replies, said, test, waitForReply } from './page';

test('everything goes with the keyboard alone', async ({ page }) => {
  await page.goto('/');
  await expect(composer(page)).toBeFocused();
  await openWithLimit(page, 60);
  await expect(page.getByRole('button', { name: 'Settings', exact: true })).toBeFocused();
  await page.keyboard.press('Control+Shift+O');
  await page.keyboard.type('One');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('more');
  await page.keyboard.press('Enter');
  await expect(said(page)).toContainText('One\nmore');
  await waitForReply(page);
  await expect(composer(page)).toBeFocused();

  await page.keyboard.press('ArrowUp');
  await expect(page.getByRole('textbox', { name: 'Edit message' })).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('textbox', { name: 'Edit message' })).toHaveCount(0);

  await page.keyboard.press('Control+k');
  await expect(page.getByRole('searchbox')).toBeFocused();
  await page.keyboard.press('Control+Shift+O');
  await expect(composer(page)).toBeFocused();
  await expect(said(page)).toHaveCount(0);

  await page.getByRole('button', { name: 'Model:' }).focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('End');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('button', { name: 'Model: slow' })).toBeFocused();
});

test('Escape stops a reply', async ({ page }) => {
  await openWithLimit(page, 12000);
  await chooseModel(page, 'slow');
  await composer(page).fill('Write');
  await page.keyboard.press('Enter');
  await expect.poll(async () => (await replies(page).locator('.prose').innerText()).length).toBeGreaterThan(20);
  await page.keyboard.press('Escape');
  await expect(replies(page)).toContainText('Stopped.');
});

async function expectNoFindings(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)).toEqual([]);
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds nothing serious in ${colorScheme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await openWithLimit(page, 40);
    await expectNoFindings(page);
    await ask(page, 'Hello');
    await page.getByRole('button', { name: 'Reply again' }).click();
    await expect(page.getByRole('group', { name: 'reply 2 of 2' })).toBeVisible();
    await waitForReply(page);
    await page.getByRole('button', { name: 'Settings', exact: true }).click();
    await expectNoFindings(page);
    await page.getByRole('button', { name: 'Two models side by side' }).click();
    await composer(page).fill('Both');
    await page.keyboard.press('Enter');
    await expect(page.getByRole('region', { name: 'Agreement' })).toContainText('Equal tokens');
    await page.getByRole('button', { name: 'Model: first' }).click();
    await expectNoFindings(page);
  });
}

test('the theme can be chosen and is kept', async ({ page }) => {
  await page.emulateMedia({ colorScheme: 'light' });
  await page.goto('/');
  const paper = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await paper();
  await page.getByRole('radio', { name: 'Dark' }).check();
  const dark = await paper();
  expect(dark).not.toBe(light);
  await page.reload();
  await expect(page.getByRole('radio', { name: 'Dark' })).toBeChecked();
  expect(await paper()).toBe(dark);
});

test.describe('on a phone', () => {
  test.use({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });

  test('nothing is wider than the screen, and the list opens over the page', async ({ page }) => {
    await openWithLimit(page, 200);
    await ask(page, 'Hello');
    const isTooWide = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    expect(await isTooWide()).toBe(false);
    await page.getByRole('button', { name: 'Conversations', exact: true }).tap();
    await page.getByRole('button', { name: 'New chat' }).tap();
    await expect(said(page)).toHaveCount(0);
    await page.getByRole('button', { name: 'Conversations', exact: true }).tap();
    await page.getByRole('link', { name: 'Hello' }).first().tap();
    await expect(said(page)).toContainText('Hello');
    await expect(page.getByRole('button', { name: 'Conversations', exact: true })).toHaveAttribute('aria-expanded', 'false');
    await page.getByRole('button', { name: 'Two models side by side' }).tap();
    expect(await isTooWide()).toBe(false);
  });
});
