import { ask, chooseModel, composer, expect, openWithLimit, replies, said, setLimit, test, textOf, waitForReply } from './page';

test('from the first visit to the first reply', async ({ page }) => {
  await openWithLimit(page, 60);
  await expect(page.getByText('stays on this server')).toBeVisible();
  await ask(page, 'Hello');
  await expect(replies(page)).toHaveCount(1);
  expect((await textOf(replies(page).first())).length).toBeGreaterThan(20);
  await expect(replies(page)).toContainText('words/s');
  await expect(replies(page)).toContainText('tokens/s');
  await expect(replies(page)).toContainText('first word');
  await expect(page.getByRole('link', { name: 'Hello' })).toHaveAttribute('aria-current', 'page');
  await expect(page.getByRole('status')).toContainText('Reply complete');
});

test('a reply goes on where it was after a reload in the middle of it', async ({ page }) => {
  await openWithLimit(page, 1500);
  await chooseModel(page, 'slow');
  await composer(page).fill('Write');
  await page.keyboard.press('Enter');
  const text = replies(page).locator('.prose');
  await expect.poll(async () => (await text.innerText()).length).toBeGreaterThan(100);
  const before = (await text.innerText()).trim();
  await page.reload();
  await expect(page.getByRole('button', { name: 'Stop' })).toBeVisible();
  await waitForReply(page);
  const after = await textOf(replies(page).first());
  expect(after.startsWith(before.slice(0, 100))).toBe(true);
  expect(after.length).toBeGreaterThan(before.length);
  // What the page put together is what the server kept.
  await page.reload();
  await waitForReply(page);
  expect(await textOf(replies(page).first())).toBe(after);
});

test('stop ends a reply and keeps what was written', async ({ page }) => {
  await openWithLimit(page, 12000);
  await chooseModel(page, 'slow');
  await composer(page).fill('Write');
  await page.keyboard.press('Enter');
  await expect.poll(async () => (await replies(page).locator('.prose').innerText()).length).toBeGreaterThan(20);
  await page.getByRole('button', { name: 'Stop' }).click();
  await expect(replies(page)).toContainText('Stopped.');
  const text = await textOf(replies(page).first());
  expect(text.length).toBeGreaterThan(20);
  expect(text.length).toBeLessThan(12000);
  await page.reload();
  await expect(replies(page)).toContainText('Stopped.');
  expect(await textOf(replies(page).first())).toBe(text);
});

test('another reply and an edit are branches that one can go back to', async ({ page }) => {
  await openWithLimit(page, 40);
  await ask(page, 'One');
  const first = await textOf(replies(page).first());
  await page.getByRole('button', { name: 'Reply again' }).click();
  await expect(page.getByRole('group', { name: 'reply 2 of 2' })).toBeVisible();
  await waitForReply(page);
  expect(await textOf(replies(page).first())).not.toBe(first);
  await page.getByRole('button', { name: 'Previous reply' }).click();
  await expect(page.getByRole('group', { name: 'reply 1 of 2' })).toBeVisible();
  expect(await textOf(replies(page).first())).toBe(first);
  await ask(page, 'Two');
  await expect(replies(page)).toHaveCount(2);

  await said(page).first().hover();
  await said(page).first().getByRole('button', { name: 'Edit message' }).click();
  await page.getByRole('textbox', { name: 'Edit message' }).fill('Other');
  await page.keyboard.press('Enter');
  await expect(said(page)).toHaveText([/Other/]);
  await waitForReply(page);
  await page.getByRole('button', { name: 'Previous version' }).click();
  await expect(said(page)).toHaveText([/One/, /Two/]);
  await expect(replies(page)).toHaveCount(2);
  expect(await textOf(replies(page).first())).toBe(first);
  // The branch that was shown is the one that a reload shows.
  await page.reload();
  await expect(said(page)).toHaveText([/One/, /Two/]);
});

test('another model goes on with the conversation', async ({ page }) => {
  await openWithLimit(page, 30);
  await ask(page, 'Who?');
  await expect(replies(page).first()).toHaveAccessibleName('Reply of first');
  await chooseModel(page, 'second');
  await ask(page, 'And you?');
  await expect(replies(page).last()).toHaveAccessibleName('Reply of second');
});

test('settings are kept with the conversation, and presets for all', async ({ page }) => {
  await openWithLimit(page, 30);
  await page.getByRole('button', { name: 'Settings', exact: true }).click();
  await page.getByRole('button', { name: 'Exact' }).click();
  await expect(page.getByRole('spinbutton', { name: 'Temperature' })).toHaveValue('0');
  await page.getByRole('textbox', { name: 'System prompt' }).fill('Be brief.');
  await page.getByRole('spinbutton', { name: 'Most tokens' }).fill('25');
  await page.getByRole('textbox', { name: 'Name of the preset' }).fill('Mine');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Close settings' }).click();
  await ask(page, 'Hello');
  const first = await textOf(replies(page).first());
  await page.getByRole('button', { name: 'Reply again' }).click();
  await expect(page.getByRole('group', { name: 'reply 2 of 2' })).toBeVisible();
  await waitForReply(page);
  expect(await textOf(replies(page).first())).toBe(first);

  const chat = page.url();
  await page.getByRole('button', { name: 'New chat' }).click();
  await setLimit(page, '');
  await page.goto(chat);
  await page.getByRole('button', { name: 'Settings', exact: true }).click();
  await expect(page.getByRole('textbox', { name: 'System prompt' })).toHaveValue('Be brief.');
  await expect(page.getByRole('button', { name: 'Mine', exact: true })).toHaveAttribute('aria-pressed', 'true');
});

test('conversations are found, renamed and deleted', async ({ page }) => {
  await openWithLimit(page, 20);
  await ask(page, 'Porcupine');
  await page.getByRole('button', { name: 'New chat' }).click();
  await ask(page, 'Walrus');
  await page.getByRole('searchbox', { name: 'Search conversations' }).fill('porcu');
  await expect(page.getByRole('link', { name: 'Walrus' })).toHaveCount(0);
  await page.getByRole('link', { name: 'Porcupine' }).click();
  await expect(said(page)).toContainText('Porcupine');
  await page.getByRole('button', { name: 'More about Porcupine' }).click();
  await page.getByRole('button', { name: 'Rename' }).click();
  await page.getByRole('textbox', { name: 'Title' }).fill('Hedgehog');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'Hedgehog' })).toBeVisible();
  await page.getByRole('button', { name: 'More about Hedgehog' }).click();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Delete for good' }).click();
  await expect(page.getByRole('link', { name: 'Hedgehog' })).toHaveCount(0);
  await expect(said(page)).toHaveCount(0);
  await page.getByRole('searchbox').fill('');
  await expect(page.getByRole('link', { name: 'Walrus' })).toBeVisible();
});

test('the page stays at the end of a reply that grows, unless its reader went up', async ({ page }) => {
  await page.setViewportSize({ width: 800, height: 500 });
  await openWithLimit(page, 3000);
  await chooseModel(page, 'slow');
  await composer(page).fill('Write');
  await page.keyboard.press('Enter');
  const thread = page.getByRole('region', { name: 'Messages' });
  const gap = () => thread.evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight);
  await expect.poll(() => thread.evaluate((element) => element.scrollTop)).toBeGreaterThan(200);
  await thread.hover();
  await page.mouse.wheel(0, -150);
  await expect.poll(gap).toBeGreaterThan(100);
  const top = await thread.evaluate((element) => element.scrollTop);
  await page.waitForTimeout(300);
  expect(await thread.evaluate((element) => element.scrollTop)).toBe(top);
  await thread.evaluate((element) => element.scrollTo(0, element.scrollHeight));
  await waitForReply(page);
  await expect.poll(gap).toBeLessThan(2);
});
