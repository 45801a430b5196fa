/** The page on a server of its own, and the steps that many tests take. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { test as base, expect, type Locator, type Page } from '@playwright/test';

const root = fileURLToPath(new URL('../..', import.meta.url));
const program = process.env.SALIENT_PROGRAM ?? join(root, 'build/release/salient');

export class Server {
  readonly url: Promise<string>;
  #process: ChildProcess;
  #store = mkdtempSync(join(tmpdir(), 'salient-store-'));

  constructor(models: string[], ...options: string[]) {
    const folder = process.env.SALIENT_WEB_MODELS ?? '';
    this.#process = spawn(
      program,
      ['serve', ...models.map((model) => resolve(folder, model)), '--port', '0', '--threads', '1', '--open', 'off',
       '--store', join(this.#store, 'chats.sqlite'), '--models-in-memory', String(models.length), ...options],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    this.url = new Promise((resolve, reject) => {
      createInterface(this.#process.stdout!).on('line', (line) => {
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
        if (found) resolve(found[0]);
      });
      this.#process.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    });
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.exitCode === null && this.#process.kill('SIGTERM')) await ended;
    rmSync(this.#store, { recursive: true });
  }
}

/** Every test fails when its page reports an error, of the script or of the server's policy. */
export const test = base.extend<{ faults: string[] }, { server: Server }>({
  server: [
    async ({}, use) => {
      const server = new Server(['first', 'second', 'slow']);
      await use(server);
      await server.stop();
    },
    { scope: 'worker' },
  ],
  baseURL: async ({ server }, use) => use(await server.url),
  faults: [
    async ({ page }, use) => {
      const faults: string[] = [];
      page.on('pageerror', (error) => faults.push(String(error)));
      page.on('console', (message) => {
        if (message.type() === 'error') faults.push(message.text());
      });
      await use(faults);
      expect(faults).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export const composer = (page: Page) => page.getByRole('textbox', { name: 'Message', exact: true });
export const replies = (page: Page) => page.getByRole('article', { name: /^Reply of/ });
export const said = (page: Page) => page.getByRole('article', { name: 'You' });
export const textOf = async (reply: Locator) => (await reply.locator('.prose').last().innerText()).trim();

export async function chooseModel(page: Page, name: string): Promise<void> {
  await page.getByRole('button', { name: 'Model:' }).click();
  await page.getByRole('option', { name }).click();
  await expect(page.getByRole('button', { name: `Model: ${name}` })).toBeVisible();
}

/** A new chat whose replies end after this many tokens, which are letters. */
export async function openWithLimit(page: Page, tokens: number): Promise<void> {
  await page.goto('/');
  await setLimit(page, tokens);
}

export async function setLimit(page: Page, tokens: number | ''): Promise<void> {
  await page.getByRole('button', { name: 'Settings', exact: true }).click();
  await page.getByRole('spinbutton', { name: 'Most tokens' }).fill(String(tokens));
  await page.getByRole('button', { name: 'Close settings' }).click();
}

/** Says something and waits until it is answered. */
export async function ask(page: Page, text: string): Promise<void> {
  await composer(page).fill(text);
  await page.keyboard.press('Enter');
  await expect(said(page).last()).toContainText(text);
  await waitForReply(page);
}

export async function waitForReply(page: Page): Promise<void> {
  await expect(replies(page).last()).toHaveAttribute('aria-busy', 'false');
}
