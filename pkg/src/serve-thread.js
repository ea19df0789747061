// What a worker of the pool does: it starts the engine's module on the engine's memory and computes until it is told to end.
import { ALL_BUILDS } from './builds-threads.js';

const STACK_BYTES = 1 << 20;

export async function serveThread({ build, module, memory }, say) {
  let glue;
  let engine;
  try {
    glue = (await ALL_BUILDS[build]()).instantiate();
    engine = await glue.start({ module_or_path: module, memory, thread_stack_size: STACK_BYTES });
  } catch (error) {
    return say({ failed: error.message });
  }
  try {
    glue.Engine.serveThread(() => say('ready'));
  } catch {
    return glue.Engine.failThread(); // the engine's thread reports it
  }
  engine.__wbindgen_thread_destroy();
  say('ended');
}
