// How many operations a request cannot do without: two for each multiply-add of the layers, what all prompts share counted once, and no more
// of the last layer than the keys and values of every token and the rest of the last ones.

/** A workload's operations, divided by its documents. */
export function operationsPerPair(config, { sharedTokens, promptTokens }) {
  const { hidden_size: hidden, intermediate_size: inner, head_dim: head, num_hidden_layers: layers } = config;
  const queries = config.num_attention_heads * head;
  const keys = config.num_key_value_heads * head;
  const ownTokens = promptTokens.reduce((sum, tokens) => sum + tokens - sharedTokens, 0);
  const tokens = sharedTokens + ownTokens;
  const keysAndValues = 2 * hidden * keys;
  const rest = 2 * hidden * queries + 3 * hidden * inner;
  const upTo = (last) => (last * (last + 1)) / 2; // the tokens that each token up to `last` looks at
  const looks = promptTokens.reduce((sum, last) => sum + upTo(last) - upTo(sharedTokens), upTo(sharedTokens));
  const lastLooks = promptTokens.reduce((sum, last) => sum + last, 0);
  const matrices = tokens * (layers * keysAndValues + (layers - 1) * rest) + promptTokens.length * rest;
  const attention = 2 * queries * ((layers - 1) * looks + lastLooks);
  return (2 * (matrices + attention)) / promptTokens.length;
}
