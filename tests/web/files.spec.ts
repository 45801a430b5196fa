import { readFile } from 'node:fs/promises';
import type { Page } from '@playwright/test';
import { ask, expect, openWithLimit, replies, said, test, textOf } from './page';

async function download(page: Page, title: string, item: string): Promise<string> {
  await page.getByRole('button', { name: `More about ${title}` }).click();
  const started = page.waitForEvent('download');
  await page.getByRole('button', { name: item }).click();
  return readFile(await (await started).path(), 'utf8');
}

async function importText(page: Page, name: string, text: string): Promise<void> {
  const before = page.url();
  await page.getByLabel('File to import').setInputFiles({
    name,
    mimeType: name.endsWith('.md') ? 'text/markdown' : 'application/json',
    buffer: Buffer.from(text),
  });
  await expect.poll(() => page.url()).not.toBe(before);
}

for (const [item, name] of [['Export JSON', 'chat.json'], ['Export Markdown', 'chat.md']] as const) {
  test(`${item} and importing it gives the same conversation`, async ({ page }) => {
    const title = `Capybara ${name}`;
    await openWithLimit(page, 40);
    await ask(page, title);
    const reply = await textOf(replies(page).first());
    const exported = await download(page, title, item);
    expect(exported).toContain(title);
    await importText(page, name, exported);
    await expect(said(page)).toHaveText([title]);
    expect(await textOf(replies(page).first())).toBe(reply);
    await expect(page.getByRole('link', { name: title })).toHaveCount(2);
  });
}

const attacks = [
  '<script>window.broken = 1</script>',
  '<img src=x onerror="window.broken = 2">',
  '<svg onload="window.broken = 3"><script>window.broken = 4</script></svg>',
  '[press](javascript:window.broken=5) [press](JaVaScRiPt&colon;window.broken=6) <a href="java\tscript:window.broken=7">press</a>',
  '[data](data:text/html,<script>window.broken=8</script>) ![x](data:text/html;base64,PHNjcmlwdD4=)',
  '![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+) ![far](https://example.com/pixel.png)',
  '<iframe srcdoc="<script>parent.broken = 9</script>"></iframe><object data="x"></object><embed src="x">',
  '<form action="https://example.com"><input name=password><button>Sign in</button></form>',
  '<div style="position:fixed;inset:0" class="scrim" id="search" onclick="window.broken=10">cover</div>',
  '<math><mtext><table><mglyph><style><img src=x onerror="window.broken=11"></style></mglyph></table></mtext></math>',
  '```html"onload="window.broken=12\n<script>window.broken = 13</script>\n```',
  '$\\href{javascript:window.broken=14}{x}$ $\\htmlStyle{position:fixed}{y}$ $\\includegraphics{https://example.com/x.png}$',
  '<details open ontoggle="window.broken=15"><summary>s</summary>t</details><base href="https://example.com/">',
];

test('what a model writes cannot run, frame, cover or fetch anything', async ({ page, faults }) => {
  await openWithLimit(page, 20);
  await ask(page, 'Attack');
  const exported = JSON.parse(await download(page, 'Attack', 'Export JSON'));
  const conversation = exported.conversation ?? exported;
  const messages = exported.messages ?? conversation.messages;
  messages.find(({ role }: { role: string }) => role === 'assistant').content = attacks.join('\n\n');
  const foreign: string[] = [];
  page.on('request', (request) => {
    if (!/^(?:http:\/\/127\.0\.0\.1|data:image\/(?:png|jpeg|gif|webp))/.test(request.url())) foreign.push(request.url());
  });
  await importText(page, 'attack.json', JSON.stringify(exported));
  const reply = replies(page).first();
  await expect(reply).toContainText('cover');
  for (const link of await reply.locator('a:not([href])').all()) await link.click({ force: true });
  const bad = 'script, iframe, object, embed, form, input, svg:not(.icon):not(.pace svg), base, style, [style], .scrim, #search';
  await expect(reply.locator('.prose').locator(bad)).toHaveCount(0);
  const left = await reply.locator('.prose').evaluate((prose) => {
    const elements = [...prose.querySelectorAll('*')];
    return {
      handlers: elements.flatMap(({ attributes }) => [...attributes]).filter(({ name }) => name.startsWith('on')).length,
      addresses: [...prose.querySelectorAll<HTMLAnchorElement>('[href]')].map(({ href }) => href),
      pictures: [...prose.querySelectorAll('img[src]')].length,
    };
  });
  expect(left.handlers).toBe(0);
  expect(left.pictures).toBe(0);
  expect(left.addresses.filter((address) => !/^https?:/.test(address))).toEqual([]);
  expect(await page.evaluate(() => (window as unknown as { broken?: number }).broken)).toBeUndefined();
  expect(foreign).toEqual([]);
  // Where the text is parsed to be cleaned nothing runs either, and the browser says so.
  const others = faults.splice(0).filter((fault) => !fault.includes('Content Security Policy'));
  expect(others).toEqual([]);
});

test('formulas, code and tables are set', async ({ page }) => {
  await openWithLimit(page, 20);
  await ask(page, 'Format');
  const exported = JSON.parse(await download(page, 'Format', 'Export JSON'));
  const messages = exported.messages ?? exported.conversation.messages;
  messages.find(({ role }: { role: string }) => role === 'assistant').content =
    'Mass $E = mc^2$ costs $5 or $6.\n\n\\[\\sum_i x_i\\]\n\n```python\nprint("hi")\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n';
  await importText(page, 'format.json', JSON.stringify(exported));
  const reply = replies(page).first();
  await expect(reply.locator('math')).toHaveCount(2);
  await expect(reply).toContainText('costs $5 or $6.');
  await expect(reply.locator('.hljs-string')).toHaveText('"hi"');
  await expect(reply.getByRole('table')).toBeVisible();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await reply.getByRole('button', { name: 'Copy python code' }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('print("hi")\n');
});
