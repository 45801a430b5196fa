import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Makes the models once for all tests; returns what removes them. */
export default function makeModels() {
  const folder = mkdtempSync(join(tmpdir(), 'salient-web-'));
  process.env.SALIENT_WEB_MODELS = folder;
  execFileSync(join(root, '.venv/bin/python'), [join(root, 'tests/web/make_models.py'), folder]);
  return () => rmSync(folder, { recursive: true });
}
