// Every JavaScript example of Pinecone's data-plane reference (API version 2025-04), in its order, against Pinyon:
// between `page` and `checks` stands what the page prints, with key and host replaced. What had to be mended, because
// the page was written for an older client or has a slip:
//
//   example            on the page                         here
//   Delete vectors     deleteOne('id-1')                   deleteOne({ id: 'id-1' })
//                      deleteMany(['id-2', 'id-3'])        deleteMany({ ids: ['id-2', 'id-3'] })
//   Fetch vectors      fetch(['id-1', 'id-2'])             fetch({ ids: ['id-1', 'id-2'] })
//   List vector IDs    the second page goes nowhere        it gets a name, so that it can be checked
//   Upsert vectors     await index.('example-namespace')   await index.namespace('example-namespace')
//                      upsert(records)                     upsert({ records })
//
// `index('docs-example')` names no host; there the client is told the controller's instead (`controllerHostUrl`). The
// page's vectors have 8 numbers (2 in its update), so the indexes have too; the one with text needs `test-embed-8`.

import assert from 'node:assert/strict';
import { Pinecone } from '@pinecone-database/pinecone';
import { APPLES, CONTROLLER, KEY, near, removeIndexes, step } from './steps.mjs';

const VECTORS = 'docs-example';
const PAIRS = 'docs-example-pairs';
const TEXTS = 'docs-example-texts';

let printed = [];
const console = { log: (value) => printed.push(value) };

const setup = new Pinecone();
const hosts = {};

/** Make these the only namespaces of an index. */
async function fill(name, namespaces) {
  const index = setup.index({ name });
  for (const { name: old } of (await index.listNamespaces()).namespaces) await index.deleteNamespace(old);
  for (const [namespace, records] of Object.entries(namespaces)) await index.upsert({ namespace, records });
  printed = [];
}

const eight = (number) => Array(8).fill(number);
const records = (...ids) => ids.map((id, position) => ({ id, values: eight((position + 1) / 10) }));

await step('the indexes of the page', async () => {
  await removeIndexes(VECTORS, PAIRS, TEXTS);
  const spec = { serverless: { cloud: 'aws', region: 'us-east-1' } };
  const plain = { metric: 'euclidean', spec, waitUntilReady: true };
  await setup.createIndex({ name: VECTORS, dimension: 8, ...plain });
  await setup.createIndex({ name: PAIRS, dimension: 2, ...plain });
  const embed = { model: 'test-embed-8', fieldMap: { text: 'chunk_text' } };
  await setup.createIndexForModel({ name: TEXTS, cloud: 'aws', region: 'us-east-1', embed, waitUntilReady: true });
  for (const { name, host } of (await setup.listIndexes()).indexes) hosts[name] = host;
});

await step('Delete vectors', async () => {
  await fill(VECTORS, { 'example-namespace': records('id-1', 'id-2', 'id-3', 'id-4') });
  // page
  const pc = new Pinecone({ apiKey: KEY });

  const index = pc.index(VECTORS, hosts[VECTORS]);

  const ns = index.namespace('example-namespace');
  // Delete one record by ID.
  await ns.deleteOne({ id: 'id-1' });
  // Delete more than one record by ID.
  await ns.deleteMany({ ids: ['id-2', 'id-3'] });
  // checks
  assert.deepEqual((await ns.listPaginated()).vectors, [{ id: 'id-4' }]);
});

await step('Delete a namespace', async () => {
  await fill(VECTORS, { 'example-namespace': records('id-1'), 'example-namespace2': records('id-1') });
  // page
  const pc = new Pinecone({ apiKey: KEY, controllerHostUrl: CONTROLLER });

  const index = pc.index('docs-example');

  const namespace = await index.deleteNamespace('example-namespace');

  console.log(namespace);
  // checks
  assert.deepEqual(printed, [undefined]);
  assert.deepEqual((await index.listNamespaces()).namespaces.map(({ name }) => name), ['example-namespace2']);
});

await step('Get index stats', async () => {
  const four = records('id-1', 'id-2', 'id-3', 'id-4');
  await fill(VECTORS, { 'example-namespace1': four, 'example-namespace2': four });
  // page
  const pc = new Pinecone({ apiKey: KEY });

  const index = pc.index(VECTORS, hosts[VECTORS]);

  const stats = await index.describeIndexStats();
  // checks
  assert.deepEqual(stats.namespaces, {
    'example-namespace1': { recordCount: 4 },
    'example-namespace2': { recordCount: 4 },
  });
  assert.equal(stats.dimension, 8);
  assert.equal(stats.indexFullness, 0);
  assert.equal(stats.totalRecordCount, 8);
});

await step('Describe a namespace', async () => {
  await fill(VECTORS, { 'example-namespace': records('id-1', 'id-2') });
  // page
  const pc = new Pinecone({ apiKey: KEY, controllerHostUrl: CONTROLLER });

  const index = pc.index('docs-example');

  const namespace = await index.describeNamespace('example-namespace');

  console.log(namespace);
  // checks
  assert.equal(printed[0].name, 'example-namespace');
  assert.equal(Number(printed[0].recordCount), 2);
});

await step('Fetch vectors', async () => {
  await fill(VECTORS, { 'example-namespace': records('id-1', 'id-2', 'id-3') });
  // page
  const pc = new Pinecone({ apiKey: KEY });

  const index = pc.index(VECTORS, hosts[VECTORS]);

  const fetchResult = await index.namespace('example-namespace').fetch({ ids: ['id-1', 'id-2'] });
  // checks
  assert.equal(fetchResult.namespace, 'example-namespace');
  assert.deepEqual(Object.keys(fetchResult.records).sort(), ['id-1', 'id-2']);
  assert.equal(fetchResult.records['id-2'].id, 'id-2');
  assert.deepEqual(fetchResult.records['id-2'].values, eight(0.2));
  assert.ok(fetchResult.usage.readUnits >= 1);
});

await step('List vector IDs', async () => {
  const chunks = records('doc1#chunk1', 'doc1#chunk2', 'doc1#chunk3', 'doc1#chunk4', 'doc2#chunk1');
  await fill(VECTORS, { 'example-namespace': chunks });
  // page
  const pc = new Pinecone();

  const index = pc.index(VECTORS, hosts[VECTORS]).namespace('example-namespace');

  const results = await index.listPaginated({ prefix: 'doc1#', limit: 3 });
  console.log(results);

  // Fetch the next page of results
  const next = await index.listPaginated({ prefix: 'doc1#', paginationToken: results.pagination.next });
  // checks
  assert.deepEqual(printed[0].vectors, [{ id: 'doc1#chunk1' }, { id: 'doc1#chunk2' }, { id: 'doc1#chunk3' }]);
  assert.equal(printed[0].namespace, 'example-namespace');
  assert.ok(printed[0].usage.readUnits >= 1);
  assert.deepEqual(next.vectors, [{ id: 'doc1#chunk4' }]);
  assert.equal(next.pagination, undefined);
});

await step('List namespaces', async () => {
  await fill(VECTORS, { 'example-namespace': records('id-1', 'id-2'), 'example-namespace2': records('id-1') });
  // page
  const pc = new Pinecone({ apiKey: KEY });

  const index = pc.index(VECTORS, hosts[VECTORS]);

  const namespaceList = await index.listNamespaces();

  console.log(namespaceList);
  // checks
  const counts = printed[0].namespaces.map(({ name, recordCount }) => [name, Number(recordCount)]);
  assert.deepEqual(counts, [['example-namespace', 2], ['example-namespace2', 1]]);
  assert.equal(printed[0].pagination, undefined);
});

await step('Search with a vector', async () => {
  const genres = ['comedy', 'documentary', 'documentary', 'documentary', 'documentary'];
  const films = records('vec1', 'vec2', 'vec3', 'vec4', 'vec5').map((record, position) => ({
    ...record,
    metadata: { genre: genres[position] },
  }));
  await fill(VECTORS, { 'example-namespace': films });
  // page
  const pc = new Pinecone({ apiKey: KEY });

  const index = pc.index(VECTORS, hosts[VECTORS]);

  const queryResponse = await index.namespace('example-namespace').query({
    vector: [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3],
    filter: {
      genre: { $eq: 'documentary' },
    },
    topK: 3,
    includeValues: true,
  });
  // checks
  const [first, ...others] = queryResponse.matches;
  assert.equal(first.id, 'vec3');
  near(first.score, 0);
  assert.deepEqual(first.values, eight(0.3));
  assert.equal(first.metadata, undefined);
  assert.deepEqual(others.map(({ id }) => id).sort(), ['vec2', 'vec4']);
  for (const match of others) near(match.score, 0.08);
  assert.equal(queryResponse.namespace, 'example-namespace');
  assert.ok(queryResponse.usage.readUnits >= 1);
});

await step('Search with text', async () => {
  await setup.index({ name: TEXTS, namespace: 'example-namespace' }).upsertRecords({ records: APPLES });
  printed = [];
  // page
  const pc = new Pinecone({ apiKey: KEY });

  const namespace = pc.index(TEXTS, hosts[TEXTS]).namespace('example-namespace');

  // Search with a query text and rerank the results
  // Supported only for indexes with integrated embedding
  const searchWithText = await namespace.searchRecords({
    query: {
      topK: 4,
      inputs: { text: 'Disease prevention' },
    },
    fields: ['chunk_text', 'category'],
    rerank: {
      model: 'bge-reranker-v2-m3',
      rankFields: ['chunk_text'],
      topN: 2,
    },
  });

  console.log(searchWithText);

  // Search with a query vector and rerank the results
  const searchWithVector = await namespace.searchRecords({
    query: {
      topK: 4,
      vector: {
        values: [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3],
      },
      inputs: { text: 'Disease prevention' },
    },
    fields: ['chunk_text', 'category'],
    rerank: {
      query: 'Disease prevention',
      model: 'bge-reranker-v2-m3',
      rankFields: ['chunk_text'],
      topN: 2,
    },
  });

  console.log(searchWithVector);

  // Search with a record ID and rerank the results
  const searchWithId = await namespace.searchRecords({
    query: {
      topK: 4,
      id: 'rec1',
    },
    fields: ['chunk_text', 'category'],
    rerank: {
      query: 'Disease prevention',
      model: 'bge-reranker-v2-m3',
      rankFields: ['chunk_text'],
      topN: 2,
    },
  });

  console.log(searchWithId);
  // checks
  assert.equal(printed.length, 3);
  for (const { result, usage } of printed) {
    // The same four records are reranked with the same words, however they were found.
    assert.deepEqual(result.hits.map(({ _id }) => _id), printed[0].result.hits.map(({ _id }) => _id));
    assert.equal(result.hits.length, 2);
    for (const { _id, _score, fields } of result.hits) {
      const { _id: id, ...stored } = APPLES.find((record) => record._id === _id);
      assert.deepEqual(fields, stored);
      assert.ok(_score >= 0 && _score <= 1, `${id} has the score ${_score}`);
    }
    assert.ok(result.hits[0]._score >= result.hits[1]._score);
    assert.ok(usage.readUnits >= 1);
    assert.equal(usage.rerankUnits, 1);
  }
  assert.ok(searchWithText.usage.embedTotalTokens > 0);
});

await step('Update a vector', async () => {
  await fill(PAIRS, {
    'example-namespace': [{ id: 'id-3', values: [1, 2], metadata: { genre: 'drama', year: 2020 } }],
  });
  // page
  const pc = new Pinecone({ apiKey: KEY });

  const index = pc.index(PAIRS, hosts[PAIRS]);

  await index.namespace('example-namespace').update({
    id: 'id-3',
    values: [4.0, 2.0],
    metadata: {
      genre: 'comedy',
    },
  });
  // checks
  const { records: found } = await index.namespace('example-namespace').fetch({ ids: ['id-3'] });
  assert.deepEqual(found['id-3'].values, [4, 2]);
  assert.deepEqual(found['id-3'].metadata, { genre: 'comedy', year: 2020 });
});

await step('Upsert vectors', async () => {
  await fill(VECTORS, {});
  // page
  const pc = new Pinecone({ apiKey: KEY });

  const index = pc.index(VECTORS, hosts[VECTORS]);

  const records = [
    {
      id: 'vec1',
      values: [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
      metadata: { genre: 'comedy', year: 2020 },
    },
    {
      id: 'vec2',
      values: [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2],
      metadata: { genre: 'documentary', year: 2019 },
    },
  ];

  await index.namespace('example-namespace').upsert({ records });
  // checks
  const { records: found } = await index.namespace('example-namespace').fetch({ ids: ['vec1', 'vec2'] });
  for (const record of records) {
    assert.deepEqual(found[record.id].values, record.values);
    assert.deepEqual(found[record.id].metadata, record.metadata);
  }
});

await step('the indexes are deleted', async () => {
  await removeIndexes(VECTORS, PAIRS, TEXTS);
  const left = (await setup.listIndexes()).indexes.map(({ name }) => name);
  for (const name of [VECTORS, PAIRS, TEXTS]) assert.ok(!left.includes(name));
});
