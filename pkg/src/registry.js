// The models that have a short name. `bytes` is approximate: it is shown before a download, never trusted.

export const REMOTE_HOST = 'https://huggingface.co';

export const REGISTRY = [
  {
    id: 'mini',
    label: 'Built-in mini model (comes with the package)',
    bytes: 7_556_704,
    builtin: true,
  },
  {
    id: '0.6b-q8',
    label: 'Qwen3-Reranker-0.6B, 8 bits (Q8_0)',
    bytes: 639_000_000,
    repo: 'ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF',
    file: 'qwen3-reranker-0.6b-q8_0.gguf',
  },
  {
    id: '0.6b-q4',
    label: 'Qwen3-Reranker-0.6B, 4 bits (Q4_K_M)',
    bytes: 397_000_000,
    repo: 'Mungert/Qwen3-Reranker-0.6B-GGUF',
    file: 'Qwen3-Reranker-0.6B-q4_k_m.gguf',
  },
];

export const known = (id) => REGISTRY.find((entry) => entry.id === id);
