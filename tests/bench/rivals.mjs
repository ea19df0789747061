// The native engines, built once into target/bench for this machine's processor.
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { here, once, OUT } from './paths.mjs';
import { execute } from './processes.mjs';

export const LLAMA = 'llama-cpp-python==0.3.36'; // the source of llama.cpp is in its source
const TOOLS = ['cmake==4.4.4', 'ninja==1.13.2'];
const OFF = ['BUILD_SHARED_LIBS', 'GGML_METAL', 'LLAMA_BUILD_EXAMPLES', 'LLAMA_BUILD_TESTS', 'LLAMA_OPENSSL', 'LLAMA_USE_PREBUILT_UI'];
const DEFINES = ['-DCMAKE_BUILD_TYPE=Release', ...OFF.map((name) => `-D${name}=OFF`)];

function need(program, reason) {
  try {
    execute(program, ['--version']);
  } catch {
    throw new Error(`${program} is missing: ${reason}`);
  }
}

/** llama.cpp's server. */
export const llamaServer = () =>
  once(join(OUT, 'llama-server'), (part) => {
    need('c++', 'llama.cpp is built with a C++ compiler');
    const work = `${part}-work`;
    const tool = (name) => join(work, 'tools/bin', name);
    const pip = (...args) => execute(tool('python'), ['-m', 'pip', '--quiet', '--disable-pip-version-check', ...args]);
    rmSync(work, { recursive: true, force: true });
    mkdirSync(work);
    execute('python3', ['-m', 'venv', join(work, 'tools')]);
    pip('install', ...TOOLS);
    pip('download', '--no-deps', '--no-binary', 'llama-cpp-python', '--dest', work, LLAMA);
    const archive = readdirSync(work).find((name) => name.endsWith('.tar.gz'));
    execute('tar', ['xf', join(work, archive), '-C', work]);
    const source = join(work, archive.replace('.tar.gz', ''), 'vendor/llama.cpp');
    const env = { ...process.env, PATH: `${join(work, 'tools/bin')}:${process.env.PATH}` };
    const cmake = (...args) => execute(tool('cmake'), args, { env });
    cmake('-S', source, '-B', join(work, 'build'), '-G', 'Ninja', ...DEFINES);
    cmake('--build', join(work, 'build'), '--target', 'llama-server');
    copyFileSync(join(work, 'build/bin/llama-server'), part);
    rmSync(work, { recursive: true });
  });

/** The program in candle/, for the processor that it is built on. */
export const candle = () =>
  once(join(OUT, 'bench-candle'), (part) => {
    need('cargo', 'candle is built with Rust');
    const work = `${part}-work`;
    const env = { ...process.env, CARGO_TARGET_DIR: work, RUSTFLAGS: '-C target-cpu=native' };
    execute('cargo', ['build', '--release', '--quiet', '--locked', '--manifest-path', here('candle/Cargo.toml')], { env });
    copyFileSync(join(work, 'release/bench-candle'), part);
    rmSync(work, { recursive: true });
  });
