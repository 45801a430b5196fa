import { composer, expect, openWithLimit, replies, said, test } from './page';

test('two models answer the same prompts side by side', async ({ page }) => {
  await openWithLimit(page, 40);
  await page.getByRole('button', { name: 'Two models side by side' }).click();
  for (const prompt of ['One', 'Two']) {
    await composer(page).fill(prompt);
    await page.keyboard.press('Enter');
    await expect(said(page).filter({ hasText: prompt })).toHaveCount(2);
    await expect(page.locator('article[aria-busy="false"]')).toHaveCount(prompt === 'One' ? 2 : 4);
  }
  const first = page.getByRole('region', { name: 'Messages with first' });
  const second = page.getByRole('region', { name: 'Messages with second' });
  await expect(first.getByRole('article', { name: 'Reply of first' })).toHaveCount(2);
  await expect(second.getByRole('article', { name: 'Reply of second' })).toHaveCount(2);
  const agreement = page.getByRole('region', { name: 'Agreement' });
  await expect(agreement).toContainText(/Equal tokens\s*\d+ %/);
  await expect(agreement).toContainText(/Equal at first\s*\d+ token/);
  await expect(agreement).toContainText('tokens/s');

  await page.waitForTimeout(500);
  await page.reload();
  await expect(first.getByRole('article', { name: 'Reply of first' })).toHaveCount(2);
  await expect(second.getByRole('article', { name: 'Reply of second' })).toHaveCount(2);
  await page.getByRole('button', { name: 'Two models side by side' }).click();
  await expect(replies(page)).toHaveCount(2);
});

test('a model beside itself agrees with itself when it always takes the likeliest token', async ({ page }) => {
  await openWithLimit(page, 40);
  await page.getByRole('button', { name: 'Settings', exact: true }).click();
  await page.getByRole('spinbutton', { name: 'Temperature' }).fill('0');
  await page.getByRole('button', { name: 'Close settings' }).click();
  await page.getByRole('button', { name: 'Two models side by side' }).click();
  await page.getByRole('button', { name: 'Model: second' }).click();
  await page.getByRole('option', { name: 'first' }).click();
  await composer(page).fill('Same');
  await page.keyboard.press('Enter');
  const agreement = page.getByRole('region', { name: 'Agreement' });
  await expect(agreement).toContainText('100 %');
  await expect(agreement).toContainText('The replies are the same.');
});
