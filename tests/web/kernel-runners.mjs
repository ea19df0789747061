// Programs with a WebGPU of their own besides Chromium, where they are installed: each opens an address until it is stopped.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const found = (...names) => {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync);
};
export const firefox = process.env.FIREFOX ?? found('firefox-esr', 'firefox');
export const deno = process.env.DENO ?? found('deno');

// WebGPU on any adapter, and nothing that talks to the network by itself.
const PREFS = {
  'dom.webgpu.enabled': true,
  'gfx.webgpu.ignore-blocklist': true,
  'app.update.enabled': false,
  'browser.aboutwelcome.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.healthreport.uploadEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'http://127.0.0.1:9/',
  'toolkit.telemetry.enabled': false,
};

// The driver that Chromium brings is Chromium's alone: here the machine's own computes.
const { VK_ADD_DRIVER_FILES, ...env } = { XDG_RUNTIME_DIR: tmpdir(), ...process.env };

function start(program, args, more) {
  const child = spawn(program, args, { env: { ...env, ...more }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text) => (said = (said + text).slice(-2000)));
  const ended = new Promise((done) => {
    child.on('error', (error) => done(error.message));
    child.on('exit', (code, signal) => done(`${program} ended (${signal ?? code}): ${said}`));
  });
  const stop = () => {
    child.kill('SIGKILL');
    return ended;
  };
  return { ended, stop };
}

// Gives { ended, stop }: a promise of how it ended by itself, and a function that ends it.
export async function startFirefox(url) {
  const profile = await mkdtemp(join(tmpdir(), 'edge-reranker-'));
  const lines = Object.entries(PREFS).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
  await writeFile(join(profile, 'user.js'), lines.join(''));
  const { ended, stop } = start(firefox, ['--headless', '--no-remote', '--profile', profile, url], { HOME: profile });
  return { ended, stop: () => stop().then(() => rm(profile, { recursive: true, force: true, maxRetries: 5 })) };
}

export function startDeno(url) {
  const { host } = new URL(url);
  return start(deno, ['run', '--no-config', '--no-lock', '--reload', `--allow-import=${host}`, `--allow-net=${host}`, `${url}kernel-page.js`]);
}
