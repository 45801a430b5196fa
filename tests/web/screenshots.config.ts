import { defineConfig } from '@playwright/test';
import tests from './playwright.config';

/** scripts/make-screenshots: pictures for the docs, of the models that the environment names. */
export default defineConfig({ ...tests, testMatch: 'screenshots.ts', globalSetup: undefined, workers: 1, timeout: 300_000, reporter: 'list' });
