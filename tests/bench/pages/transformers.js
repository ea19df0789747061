// transformers.js: the model card's prompt, a causal model's logits, the softmax of "no" and "yes" in the last row.
import { AutoModelForCausalLM, AutoTokenizer, env } from '/modules/@huggingface/transformers/dist/transformers.min.js';

export async function open({ device, file, dtype, threads, batch, workload }) {
  const runtime = new URL('/modules/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify', location.href).href;
  Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: '/models/', useBrowserCache: false, useWasmCache: false });
  Object.assign(env.backends.onnx.wasm, { wasmPaths: { mjs: `${runtime}.mjs`, wasm: `${runtime}.wasm` }, numThreads: threads });
  const name = file.replace('/models/', '');
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  tokenizer.padding_side = 'left';
  const model = await AutoModelForCausalLM.from_pretrained(name, { dtype, device });
  const idOf = (text) => tokenizer.encode(text, { add_special_tokens: false })[0];
  const [no, yes] = [idOf('no'), idOf('yes')];
  const { prefix, suffix, instruction } = workload;
  let dims;

  const promptOf = (query, document) => `${prefix}<Instruct>: ${instruction}\n<Query>: ${query}\n<Document>: ${document}${suffix}`;
  return {
    atOnce: batch,
    async rank(query, documents) {
      const inputs = tokenizer(documents.map((document) => promptOf(query, document)), { add_special_tokens: false, padding: true });
      const { logits, past_key_values: cache, ...rest } = await model(inputs);
      dims = logits.dims;
      const [, rows, vocabulary] = dims;
      const scores = documents.map((_, at) => {
        const last = ((at + 1) * rows - 1) * vocabulary;
        return 1 / (1 + Math.exp(Number(logits.data[last + no]) - Number(logits.data[last + yes])));
      });
      await cache?.dispose?.();
      for (const tensor of [logits, ...Object.values(rest)]) tensor?.dispose?.();
      return scores;
    },
    details: () => ({ device, threads: device === 'wasm' ? threads : null, logits: dims }),
    close: () => model.dispose(),
  };
}
