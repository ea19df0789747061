// The browser of the tests, with nothing in it that talks to the network by itself.
import { chromium } from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const NO_GPU = ['--disable-gpu'];
const SOFTWARE_GPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'];

export const launchWith = (flags) => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...FLAGS, ...flags] });

export const launch = () => launchWith(NO_GPU);
// WebGPU computed by SwiftShader, on the CPU.
export const launchWithGpu = () => launchWith(SOFTWARE_GPU);
