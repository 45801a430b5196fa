// Starts the server as a person would, with tiny random models, on a free port of the loopback.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const program = process.env.SALIENT_PROGRAM ?? join(root, 'build/release/salient');

/** This process's environment without settings of the program and of the hub. */
function environment() {
  const kept = Object.entries(process.env).filter(([name]) => !/^(SALIENT_|HF_|HUGGING)/.test(name));
  return { ...Object.fromEntries(kept), SALIENT_STORE: 'off', HF_ENDPOINT: 'http://127.0.0.1:9' };
}

/** A folder with the models `plain` and `hermes`; `remove` takes it away. */
export function makeModels() {
  const folder = mkdtempSync(join(tmpdir(), 'salient-node-'));
  execFileSync(join(root, '.venv/bin/python'), [join(root, 'tests/node/make_models.py'), folder]);
  return { folder, remove: () => rmSync(folder, { recursive: true }) };
}

/** What `salient generate` writes. */
export function generate(model, prompt, tokens) {
  const args = ['generate', model, '--prompt', prompt, '--temperature', '0', '--max-tokens', String(tokens), '--json'];
  return JSON.parse(execFileSync(program, args, { env: environment(), stdio: ['ignore', 'pipe', 'ignore'] })).text;
}

/** `salient serve` with these arguments. */
export async function startServer(...args) {
  const server = spawn(program, ['serve', ...args, '--port', '0', '--kv-memory', '0.1'],
                       { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const port = await Promise.race([
    new Promise((resolve) => {
      createInterface({ input: server.stdout }).on('line', (line) => {
        const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line);
        if (found) resolve(Number(found[1]));
      });
    }),
    ended.then((code) => { throw new Error(`the server ended with ${code}`); }),
  ]);
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    /** The sum of a metric over its labels. */
    async metric(name) {
      const text = await (await fetch(`${url}/metrics`)).text();
      const values = [...text.matchAll(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'gm'))];
      return values.reduce((sum, [, value]) => sum + Number(value), 0);
    },
    async stop() {
      server.kill('SIGTERM');
      return ended;
    },
  };
}
