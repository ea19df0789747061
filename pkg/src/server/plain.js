// What is asked about the server and the model, and the tokeniser's endpoint.
import { longest } from './bounds.js';
import { documents, needText, text } from './fields.js';
import { bad } from './problem.js';

export const describe = (info, { maxDocuments, maxBody, maxTokens, maxLength, maxQueue }) => ({
  model_id: info.name,
  model_type: { reranker: { id2label: { 0: 'relevant' }, label2id: { relevant: 0 } } },
  model_dtype: info.quantization,
  parameters: info.parameters,
  device: info.device,
  max_input_length: longest(info, maxLength),
  max_client_batch_size: maxDocuments,
  max_documents: maxDocuments,
  max_body_bytes: maxBody,
  max_tokens: maxTokens ?? null,
  max_queue: maxQueue,
});

export const models = (info) => ({ object: 'list', data: [{ id: info.name, object: 'model', created: 0, owned_by: 'edge-reranker' }] });

// { query, documents } or { query, document }; Text Embeddings Inference has no pairs here, so that its `inputs` are refused by name.
export function readTokenize(body) {
  if (body.inputs != null) throw bad('inputs', 'inputs is not understood here: send a query and documents.');
  const list = body.documents ?? (body.document == null ? undefined : [body.document]);
  return { query: needText(body.query, 'query'), documents: documents(list, 'documents'), instruction: text(body.instruction, 'instruction') };
}

export const tokenized = (prompts) => ({ ids: prompts.map(({ ids }) => [...ids]), shared_prefix: prompts[0].sharedPrefix });
