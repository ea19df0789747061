// Every fixture of tests/dialects, through createFetchHandler; and every answer is one that /openapi.json describes.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv/dist/2020.js';
import { createFetchHandler } from '../../pkg/src/server.js';
import { description } from '../dialects/openapi.mjs';
import { FakeReranker, fixtures, matches, requestOf, send } from './node-server-fake.mjs';

async function describe(options) {
  const response = await createFetchHandler(new FakeReranker(), options)(requestOf({ method: 'GET', path: '/openapi.json', headers: { 'x-api-key': 'k' } }));
  return response.json();
}
const api = await describe();
const ajv = new Ajv({ strict: false });
ajv.addSchema(api, 'api');
const pathIn = (path) => path.split('?')[0].replace(/(.)\/$/, '$1').replace(/^.*\/ai\/run\/.*/, '/ai/run/{model}');
const schemaOf = (...steps) => ajv.getSchema(`api#/${steps.map((step) => encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')}`);

function described({ method = 'POST', path }, status, body) {
  const call = api.paths[pathIn(path)]?.[method.toLowerCase()];
  assert.ok(call, `/openapi.json has no ${method} ${path}`);
  assert.ok(call.responses[status], `/openapi.json has no ${status} for ${path}`);
  const valid = schemaOf('paths', pathIn(path), method.toLowerCase(), 'responses', String(status), 'content', 'application/json', 'schema');
  assert.ok(valid(body), JSON.stringify(valid.errors));
}

for (const [file, list] of fixtures) {
  test(file, async (t) => {
    for (const fixture of list) {
      await t.test(fixture.name, async () => {
        const response = await send(fixture);
        const { request, reply, server } = fixture;
        const text = await response.text();
        assert.equal(response.status, reply.status, text);
        for (const [name, value] of Object.entries(reply.headers ?? {})) {
          if (value === '$any') assert.ok(response.headers.get(name), name);
          else assert.equal(response.headers.get(name), value, name);
        }
        if (reply.body === '') return assert.equal(text, '');
        if (reply.body === undefined) return assert.ok(text);
        const body = JSON.parse(text);
        matches(body, reply.body);
        const everywhere = ![404, 405].includes(reply.status) && !server?.base_path;
        if (everywhere) described(request, reply.status, body);
      });
    }
  });
}

test('the schemas of requests take what is taken and refuse what is not', () => {
  const valid = schemaOf('paths', '/v1/rerank', 'post', 'requestBody', 'content', 'application/json', 'schema');
  const flat = fixtures.flatMap(([, list]) => list).filter(({ request }) => request.body && !JSON.stringify(request.body).includes('$repeat') && request.path.includes('rerank'));
  for (const { name, request, reply } of flat) if (reply.status === 200) assert.ok(valid(request.body), `${name}: ${JSON.stringify(valid.errors)}`);
  for (const body of [{}, { query: 'a' }, { query: '', documents: ['a'] }, { query: 'a', documents: [] }, { query: 'a', documents: [5] }]) assert.ok(!valid(body), JSON.stringify(body));
});

test('/openapi.json is sound OpenAPI, with keys and without', async () => {
  for (const options of [{}, { apiKey: 'k' }, { basePath: '/api' }]) {
    const path = options.basePath ?? '';
    const handler = createFetchHandler(new FakeReranker(), options);
    const response = await handler(requestOf({ method: 'GET', path: `${path}/openapi.json`, headers: { 'x-api-key': 'k' } }));
    const validator = new Validator();
    const { valid, errors } = await validator.validate(await response.json());
    assert.ok(valid, JSON.stringify(errors));
    assert.equal(validator.version, '3.1');
  }
});

test('the native server sends the same description', async () => {
  assert.equal(await readFile(new URL('../../src/server/openapi.json', import.meta.url), 'utf8'), description, 'run: node tests/dialects/openapi.mjs');
});

test('every path that is described is served', async () => {
  const handler = createFetchHandler(new FakeReranker());
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of Object.keys(item).filter((name) => ['get', 'post'].includes(name))) {
      const response = await handler(requestOf({ method: method.toUpperCase(), path: path.replace('{model}', 'm'), body: method === 'post' ? {} : undefined }));
      assert.ok(![404, 405].includes(response.status), `${method} ${path}: ${response.status}`);
    }
  }
});
