// A tour of the TypeScript client: the control plane, vectors, namespaces, records with text, inference, errors, imports, backups.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Errors, Pinecone } from '@pinecone-database/pinecone';
import { APPLES, CONTROLLER, KEY, near, removeIndexes, step } from './steps.mjs';

const DENSE = 'ts-tour-dense';
const SPARSE = 'ts-tour-sparse';
const HYBRID = 'ts-tour-hybrid';
const TEXTS = 'ts-tour-texts';
const COPY = 'ts-tour-copy';

const SERVERLESS = { serverless: { cloud: 'aws', region: 'us-east-1' } };

const pc = new Pinecone();
const ids = (list) => list.map(({ id }) => id);

await step('what an earlier run left is gone', () => removeIndexes(DENSE, SPARSE, HYBRID, TEXTS, COPY));

// The control plane.

await step('createIndex, dense', async () => {
  const tags = { project: 'tour', stage: 'test' };
  const options = { name: DENSE, dimension: 4, metric: 'cosine', spec: SERVERLESS, tags };
  const made = await pc.createIndex({ ...options, waitUntilReady: true });
  assert.equal(made.name, DENSE);
  assert.deepEqual(made.status, { ready: true, state: 'Ready' });
});

await step('createIndex, sparse', async () => {
  await pc.createIndex({ name: SPARSE, vectorType: 'sparse', spec: SERVERLESS, waitUntilReady: true });
  const found = await pc.describeIndex(SPARSE);
  assert.equal(found.vectorType, 'sparse');
  assert.equal(found.metric, 'dotproduct');
  assert.equal(found.dimension, undefined);
});

await step('createIndex with a schema, in the words of API version 2026-07', async () => {
  const made = await pc.indexes.create({
    name: HYBRID,
    schema: { fields: { _values: { type: 'dense_vector', dimension: 2, metric: 'dotproduct' } } },
    deployment: { deploymentType: 'managed', cloud: 'aws', region: 'us-east-1' },
    waitUntilReady: true,
  });
  assert.equal(made.dimension, 2);
  assert.equal(made.metric, 'dotproduct');
});

await step('createIndexForModel', async () => {
  const made = await pc.createIndexForModel({
    name: TEXTS,
    cloud: 'aws',
    region: 'us-east-1',
    embed: { model: 'multilingual-e5-large', fieldMap: { text: 'chunk_text' } },
    waitUntilReady: true,
  });
  assert.equal(made.embed.model, 'multilingual-e5-large');
  assert.deepEqual(made.embed.fieldMap, { text: 'chunk_text' });
  assert.equal(made.dimension, 1024);
});

await step('describeIndex', async () => {
  const found = await pc.describeIndex(DENSE);
  assert.equal(found.dimension, 4);
  assert.equal(found.metric, 'cosine');
  assert.equal(found.vectorType, 'dense');
  assert.equal(found.spec.serverless.cloud, 'aws');
  assert.equal(found.spec.serverless.region, 'us-east-1');
  assert.equal(found.spec.serverless.readCapacity.mode, 'OnDemand');
  assert.equal(found.deletionProtection, 'disabled');
  assert.deepEqual(found.tags, { project: 'tour', stage: 'test' });
});

await step('listIndexes', async () => {
  const { indexes } = await pc.listIndexes();
  const names = indexes.map(({ name }) => name);
  for (const name of [DENSE, SPARSE, HYBRID, TEXTS]) assert.ok(names.includes(name), `${name} is not in ${names}`);
  assert.equal(new Set(indexes.map(({ host }) => host)).size, indexes.length);
});

await step('configureIndex: tags are merged, and "" removes one', async () => {
  await pc.configureIndex({ name: DENSE, tags: { stage: '', owner: 'me' } });
  assert.deepEqual((await pc.describeIndex(DENSE)).tags, { project: 'tour', owner: 'me' });
});

await step('deletion protection', async () => {
  await pc.configureIndex({ name: DENSE, deletionProtection: 'enabled' });
  await assert.rejects(pc.deleteIndex(DENSE), {
    name: 'PineconeBadRequestError',
    message: /Deletion protection is enabled for this index/,
  });
  await pc.configureIndex({ name: DENSE, deletionProtection: 'disabled' });
  const { deletionProtection, tags } = await pc.describeIndex(DENSE);
  assert.equal(deletionProtection, 'disabled');
  assert.deepEqual(tags, { project: 'tour', owner: 'me' });
});

// Vectors.

const index = pc.index({ name: DENSE, namespace: 'films' });

await step('upsert', async () => {
  await index.upsert({
    records: [
      { id: 'film#1', values: [1, 0, 0, 0], metadata: { genre: 'drama', year: 2020 } },
      { id: 'film#2', values: [0.5, 0.4, 0, 0], metadata: { genre: 'comedy', year: 2021, tags: ['short', 'new'] } },
      { id: 'film#3', values: [0, 1, 0, 0], metadata: { genre: 'comedy', year: 2022, seen: true } },
      { id: 'film#4', values: [0, 0, 1, 0], metadata: { genre: 'documentary', year: 2023 } },
      { id: 'book#1', values: [0, 0, 0, 1], metadata: { genre: 'novel', year: 1999 } },
    ],
  });
});

await step('query by vector', async () => {
  const { matches, namespace, usage } = await index.query({ vector: [1, 0, 0, 0], topK: 2, includeMetadata: true });
  assert.deepEqual(ids(matches), ['film#1', 'film#2']);
  near(matches[0].score, 1);
  near(matches[1].score, 0.5 / Math.hypot(0.5, 0.4));
  assert.deepEqual(matches[0].metadata, { genre: 'drama', year: 2020 });
  assert.equal(namespace, 'films');
  assert.ok(usage.readUnits >= 1);
});

await step('query by id', async () => {
  const { matches } = await index.query({ id: 'film#2', topK: 3, includeValues: true });
  assert.deepEqual(ids(matches), ['film#2', 'film#1', 'film#3']);
  assert.deepEqual(matches[0].values, [0.5, 0.4, 0, 0]);
});

await step('query with a filter', async () => {
  const filter = { $or: [{ genre: 'comedy', year: { $gte: 2022 } }, { tags: { $in: ['short'] } }] };
  const { matches } = await index.query({ vector: [1, 1, 1, 1], topK: 5, filter });
  assert.deepEqual(ids(matches).sort(), ['film#2', 'film#3']);
});

await step('fetch', async () => {
  const { records, namespace } = await index.fetch({ ids: ['film#2', 'film#3', 'nobody'] });
  assert.equal(namespace, 'films');
  assert.deepEqual(Object.keys(records).sort(), ['film#2', 'film#3']);
  assert.deepEqual(records['film#2'].values, [0.5, 0.4, 0, 0]);
  assert.deepEqual(records['film#2'].metadata, { genre: 'comedy', year: 2021, tags: ['short', 'new'] });
  assert.deepEqual(records['film#3'].metadata, { genre: 'comedy', year: 2022, seen: true });
});

await step('listPaginated', async () => {
  const pages = [];
  let paginationToken;
  do {
    const { vectors, pagination } = await index.listPaginated({ prefix: 'film#', limit: 3, paginationToken });
    pages.push(ids(vectors));
    paginationToken = pagination?.next;
  } while (paginationToken);
  assert.deepEqual(pages, [['film#1', 'film#2', 'film#3'], ['film#4']]);
});

await step('update by id', async () => {
  await index.update({ id: 'film#4', values: [0, 0, 0.5, 0.5], metadata: { rating: 4.5 } });
  const { records } = await index.fetch({ ids: ['film#4'] });
  assert.deepEqual(records['film#4'].values, [0, 0, 0.5, 0.5]);
  assert.deepEqual(records['film#4'].metadata, { genre: 'documentary', year: 2023, rating: 4.5 });
});

await step('update by filter, fetchByMetadata', async () => {
  await index.update({ filter: { genre: { $eq: 'comedy' } }, metadata: { shelf: 'top' } });
  const { records, namespace } = await index.fetchByMetadata({ filter: { shelf: 'top' }, limit: 10 });
  assert.equal(namespace, 'films');
  assert.deepEqual(Object.keys(records).sort(), ['film#2', 'film#3']);
  assert.equal(records['film#3'].metadata.genre, 'comedy');
});

await step('fetchByMetadata, page by page', async () => {
  const found = [];
  let paginationToken;
  do {
    const page = await index.fetchByMetadata({ filter: { year: { $gt: 2000 } }, limit: 3, paginationToken });
    found.push(...Object.keys(page.records));
    paginationToken = page.pagination?.next;
  } while (paginationToken);
  assert.deepEqual(found.sort(), ['film#1', 'film#2', 'film#3', 'film#4']);
});

await step('describeIndexStats', async () => {
  await index.upsert({ namespace: 'others', records: [{ id: 'one', values: [1, 1, 1, 1] }] });
  await index.upsert({ namespace: '__default__', records: [{ id: 'one', values: [1, 1, 1, 1] }] });
  const stats = await index.describeIndexStats();
  assert.equal(stats.dimension, 4);
  assert.equal(stats.totalRecordCount, 7);
  assert.deepEqual(stats.namespaces.films, { recordCount: 5 });
  assert.deepEqual(stats.namespaces.others, { recordCount: 1 });
});

await step('deleteOne, deleteMany by id and by filter, deleteAll', async () => {
  const left = async () => ids((await index.listPaginated()).vectors);
  await index.deleteOne({ id: 'film#1' });
  assert.deepEqual(await left(), ['book#1', 'film#2', 'film#3', 'film#4']);
  await index.deleteMany({ ids: ['film#2', 'nobody'] });
  assert.deepEqual(await left(), ['book#1', 'film#3', 'film#4']);
  await index.deleteMany({ filter: { year: { $lt: 2000 } } });
  assert.deepEqual(await left(), ['film#3', 'film#4']);
  await index.deleteAll();
  assert.deepEqual(await left(), []);
});

await step('sparse vectors', async () => {
  const sparse = pc.index({ name: SPARSE });
  await sparse.upsert({
    records: [
      { id: 'a', sparseValues: { indices: [1, 7], values: [0.5, 2] }, metadata: { kind: 'x' } },
      { id: 'b', sparseValues: { indices: [7], values: [1] } },
      { id: 'c', sparseValues: { indices: [4294967295], values: [1] } },
    ],
  });
  const { matches } = await sparse.query({ sparseVector: { indices: [1, 7], values: [1, 1] }, topK: 5 });
  assert.deepEqual(ids(matches), ['a', 'b']);
  near(matches[0].score, 2.5);
  const { records } = await sparse.fetch({ ids: ['a'] });
  assert.deepEqual(records.a.sparseValues, { indices: [1, 7], values: [0.5, 2] });
  const stats = await sparse.describeIndexStats();
  assert.equal(stats.totalRecordCount, 3);
  assert.ok(!stats.dimension);
});

await step('dense and sparse vectors together', async () => {
  const hybrid = pc.index({ name: HYBRID });
  await hybrid.upsert({
    records: [
      { id: 'a', values: [1, 0], sparseValues: { indices: [5], values: [2] } },
      { id: 'b', values: [1, 1] },
    ],
  });
  const query = { vector: [1, 1], sparseVector: { indices: [5], values: [1] }, topK: 2, includeValues: true };
  const { matches } = await hybrid.query(query);
  assert.deepEqual(ids(matches), ['a', 'b']);
  near(matches[0].score, 3);
  near(matches[1].score, 2);
  assert.deepEqual(matches[0].sparseValues, { indices: [5], values: [2] });
});

// Namespaces.

await step('createNamespace, describeNamespace, listNamespaces, deleteNamespace', async () => {
  const made = await index.createNamespace({ name: 'empty', schema: { fields: { genre: { filterable: true } } } });
  assert.equal(made.name, 'empty');
  assert.deepEqual(made.schema, { fields: { genre: { filterable: true } } });
  await assert.rejects(index.createNamespace({ name: 'empty' }), Errors.PineconeConflictError);
  const described = await index.describeNamespace('empty');
  assert.equal(described.name, 'empty');
  assert.equal(Number(described.recordCount), 0);
  const first = await index.listNamespaces({ limit: 1 });
  assert.equal(first.namespaces.length, 1);
  assert.ok(first.pagination.next);
  const found = await index.listNamespaces({ prefix: 'e' });
  assert.deepEqual(found.namespaces.map(({ name }) => name), ['empty']);
  await index.deleteNamespace('empty');
  await assert.rejects(index.describeNamespace('empty'), Errors.PineconeNotFoundError);
});

// Records with text.

const texts = pc.index({ name: TEXTS, namespace: 'fruits & more' });

await step('upsertRecords', async () => {
  const [first, ...others] = APPLES;
  const { _id, ...rest } = first;
  await texts.upsertRecords({ records: [{ id: _id, ...rest }, ...others] });
  assert.equal(Number((await texts.describeNamespace('fruits & more')).recordCount), 4);
});

await step('searchRecords', async () => {
  const { result, usage } = await texts.searchRecords({
    query: { topK: 2, inputs: { text: 'Where do apples come from?' } },
  });
  assert.equal(result.hits.length, 2);
  assert.equal(result.hits[0]._id, 'rec2');
  assert.deepEqual(Object.keys(result.hits[0].fields).sort(), ['category', 'chunk_text']);
  assert.ok(usage.embedTotalTokens > 0);
  assert.ok(usage.readUnits >= 1);
});

await step('searchRecords with a filter and a rerank', async () => {
  const { result, usage } = await texts.searchRecords({
    query: {
      topK: 4,
      inputs: { text: 'Disease prevention' },
      filter: { category: { $ne: 'cultivation' } },
    },
    fields: ['category', 'chunk_text'],
    rerank: { model: 'bge-reranker-v2-m3', rankFields: ['chunk_text'], topN: 2 },
  });
  assert.deepEqual(result.hits.map(({ _id }) => _id), ['rec3', 'rec4']);
  assert.equal(result.hits[0].fields.category, 'immune system');
  assert.ok(result.hits[0]._score > result.hits[1]._score);
  assert.equal(usage.rerankUnits, 1);
});

await step('searchRecords by id', async () => {
  const { result } = await texts.searchRecords({ query: { topK: 2, id: 'rec1' }, fields: ['category'] });
  assert.equal(result.hits[0]._id, 'rec1');
  assert.deepEqual(result.hits[0].fields, { category: 'digestive system' });
});

// Inference.

await step('inference.embed', async () => {
  const passages = await pc.inference.embed({
    model: 'multilingual-e5-large',
    inputs: ['Apples are a fruit.', 'The sea is deep.'],
    parameters: { inputType: 'passage', truncate: 'END' },
  });
  assert.equal(passages.model, 'multilingual-e5-large');
  assert.equal(passages.vectorType, 'dense');
  assert.equal(passages.data.length, 2);
  for (const { values, vectorType } of passages.data) {
    assert.equal(vectorType, 'dense');
    assert.equal(values.length, 1024);
    assert.ok(values.some((number) => number !== 0));
  }
  assert.notDeepEqual(passages.data[0].values, passages.data[1].values);
  assert.ok(passages.usage.totalTokens > 0);
});

await step('inference.embed, sparse', async () => {
  const found = await pc.inference.embed({
    model: 'pinecone-sparse-english-v0',
    inputs: ['Apples are a fruit.'],
    parameters: { input_type: 'passage', return_tokens: true },
  });
  const [{ vectorType, sparseIndices, sparseValues, sparseTokens }] = found.data;
  assert.equal(vectorType, 'sparse');
  assert.ok(sparseIndices.length > 0);
  assert.equal(sparseValues.length, sparseIndices.length);
  assert.equal(sparseTokens.length, sparseIndices.length);
});

await step('inference.rerank', async () => {
  const documents = APPLES.map(({ _id, chunk_text: body }) => ({ id: _id, body }));
  const query = 'Where do apples come from?';
  const options = { model: 'bge-reranker-v2-m3', query, documents, rankFields: ['body'] };
  const { model, data, usage } = await pc.inference.rerank({ ...options, topN: 2 });
  assert.equal(model, 'bge-reranker-v2-m3');
  assert.equal(data.length, 2);
  assert.equal(data[0].index, 1);
  assert.deepEqual(data[0].document, documents[1]);
  assert.ok(data[0].score >= data[1].score);
  assert.equal(usage.rerankUnits, 1);
  const bare = await pc.inference.rerank({ ...options, returnDocuments: false });
  assert.equal(bare.data.length, 4);
  assert.equal(bare.data[0].document, undefined);
  await assert.rejects(pc.inference.rerank({ ...options, rankFields: ['nothing'] }), {
    name: 'PineconeBadRequestError',
    message: /field 'nothing' not found in document at index 0/,
  });
});

await step('inference.listModels, inference.getModel', async () => {
  const { models } = await pc.inference.listModels();
  const named = Object.fromEntries(models.map((model) => [model.model, model]));
  assert.equal(named['multilingual-e5-large'].type, 'embed');
  assert.equal(named['bge-reranker-v2-m3'].type, 'rerank');
  const sparse = (await pc.inference.listModels({ type: 'embed', vectorType: 'sparse' })).models;
  assert.ok(sparse.length > 0 && sparse.every(({ vectorType }) => vectorType === 'sparse'));
  const model = await pc.inference.getModel('multilingual-e5-large');
  assert.deepEqual(model, named['multilingual-e5-large']);
  assert.equal(model.defaultDimension, 1024);
  assert.ok(model.supportedMetrics.includes('cosine'));
  const parameter = model.supportedParameters.find(({ parameter }) => parameter === 'input_type');
  assert.deepEqual(parameter.allowedValues, ['query', 'passage']);
  await assert.rejects(pc.inference.getModel('no-such-model'), Errors.PineconeNotFoundError);
});

// Errors.

await step('a wrong key is a PineconeAuthorizationError', async () => {
  const stranger = new Pinecone({ apiKey: `not-${KEY}`, controllerHostUrl: CONTROLLER });
  await assert.rejects(stranger.listIndexes(), Errors.PineconeAuthorizationError);
  await assert.rejects(stranger.describeIndex(DENSE), Errors.PineconeAuthorizationError);
  await assert.rejects(stranger.index({ name: DENSE }).describeIndexStats(), Errors.PineconeAuthorizationError);
  const { host } = await pc.describeIndex(DENSE);
  await assert.rejects(stranger.index({ host }).describeIndexStats(), Errors.PineconeAuthorizationError);
  await assert.rejects(
    stranger.index({ host, namespace: 'x' }).upsertRecords({ records: [{ id: 'x', chunk_text: 'x' }] }),
    Errors.PineconeAuthorizationError,
  );
  await assert.rejects(stranger.inference.listModels(), Errors.PineconeAuthorizationError);
});

await step('an unknown index is a PineconeNotFoundError', async () => {
  await assert.rejects(pc.describeIndex('ts-tour-nobody'), Errors.PineconeNotFoundError);
  await assert.rejects(pc.deleteIndex('ts-tour-nobody'), Errors.PineconeNotFoundError);
  const nobody = pc.index({ name: 'ts-tour-nobody' });
  await assert.rejects(nobody.query({ vector: [1], topK: 1 }), Errors.PineconeNotFoundError);
});

await step('a second index of the same name is a PineconeConflictError', async () => {
  const again = { name: DENSE, dimension: 4, metric: 'cosine', spec: SERVERLESS };
  await assert.rejects(pc.createIndex(again), Errors.PineconeConflictError);
  assert.equal(await pc.createIndex({ ...again, suppressConflicts: true }), undefined);
});

await step('a bad name or a wrong vector is a PineconeBadRequestError', async () => {
  await assert.rejects(pc.createIndex({ name: 'Bad_Name-', dimension: 4, metric: 'cosine', spec: SERVERLESS }), {
    name: 'PineconeBadRequestError',
    message: /alphanumeric character/,
  });
  await assert.rejects(index.upsert({ records: [{ id: 'x', values: [1, 2] }] }), {
    name: 'PineconeBadRequestError',
    message: /dimension/,
  });
  await assert.rejects(index.upsertRecords({ records: [{ id: 'x', chunk_text: 'x' }] }), {
    name: 'PineconeBadRequestError',
    message: /Integrated inference is not configured for this index/,
  });
  await assert.rejects(index.query({ vector: [1, 0, 0, 0], topK: 1, filter: { year: { $near: 1 } } }), {
    name: 'PineconeBadRequestError',
    message: /\$near/,
  });
});

// Bulk imports.

await step('files are imported, and imports are listed and cancelled', async () => {
  const folder = mkdtempSync(join(process.env.IMPORT_FOLDER, 'ts-'));
  mkdirSync(join(folder, 'imported'));
  const row = { id: 'a', values: [1, 2, 3, 4], metadata: { n: 1 } };
  writeFileSync(join(folder, 'imported', 'rows.jsonl'), JSON.stringify(row) + '\n');
  const { id } = await index.startImport({ uri: `file://${folder}` });
  let found = await index.describeImport(id);
  while (['Pending', 'InProgress'].includes(found.status)) found = await index.describeImport(id);
  assert.deepEqual([found.status, found.recordsImported, found.percentComplete], ['Completed', 1, 100]);
  assert.equal((await index.describeIndexStats()).namespaces.imported.recordCount, 1);
  const waiting = await index.startImport({ uri: 's3://bucket-of-nobody/folder', errorMode: 'continue' });
  assert.ok((await index.listImports()).data.some((each) => each.id === waiting.id));
  await index.cancelImport(waiting.id);
  assert.equal((await index.describeImport(waiting.id)).status, 'Cancelled');
  await assert.rejects(index.describeImport('none'), Errors.PineconeNotFoundError);
  await assert.rejects(index.startImport({ uri: 'file:///etc' }), /\[import\]/);
});

// Backups.

await step('a backup is taken, listed, restored and deleted', async () => {
  const before = await index.describeIndexStats();
  const made = await pc.backups.create(DENSE, { name: 'before' });
  assert.ok(['Initializing', 'Ready'].includes(made.status), made.status);
  const found = await pc.backups.describe(made.backupId);
  assert.deepEqual([found.status, found.name, found.sourceIndexName], ['Ready', 'before', DENSE]);
  assert.equal(found.recordCount, before.totalRecordCount);
  assert.deepEqual((await pc.backups.listByIndex(DENSE)).data.map(({ backupId }) => backupId), [made.backupId]);
  const { restoreJobId } = await pc.backups.createIndex(made.backupId, { name: COPY });
  const { status, targetIndexName } = await pc.describeRestoreJob(restoreJobId);
  assert.deepEqual([status, targetIndexName], ['Completed', COPY]);
  const copy = await pc.index({ name: COPY }).describeIndexStats();
  assert.equal(copy.totalRecordCount, before.totalRecordCount);
  await pc.deleteIndex(COPY);
  const old = await pc.backups.listByIndex(DENSE, { includeDeleted: true });
  assert.equal(old.data.length, 1);
  await pc.backups.delete(made.backupId);
  await assert.rejects(pc.backups.describe(made.backupId), Errors.PineconeNotFoundError);
});

await step('backups are scheduled', async () => {
  const made = await pc.backupSchedules.create(DENSE, { name: 'nightly', frequency: 'daily', retentionDays: 30 });
  assert.deepEqual([made.name, made.frequency, made.retentionExpireAfterDays, made.enabled], ['nightly', 'daily', 30, true]);
  assert.equal(made.nextScheduledRun - made.createdAt, 24 * 60 * 60 * 1000);
  const [planned] = (await pc.backupSchedules.history(made.scheduleId)).data;
  assert.deepEqual([planned.status, planned.sourceIndexName], ['Initializing', DENSE]);
  const paused = await pc.backupSchedules.update(made.scheduleId, { enabled: false });
  assert.deepEqual([paused.enabled, paused.nextScheduledRun], [false, null]);
  assert.deepEqual((await pc.backupSchedules.list(DENSE)).data, [paused]);
  await pc.backupSchedules.delete(made.scheduleId);
  await assert.rejects(pc.backupSchedules.describe(made.scheduleId), Errors.PineconeNotFoundError);
});

await step('there are no collections', async () => {
  assert.deepEqual((await pc.listCollections()).collections, []);
  await assert.rejects(pc.createCollection({ name: 'c', source: DENSE }), {
    name: 'PineconeBadRequestError',
    message: /Cannot create collections from serverless indexes/,
  });
});

await step('deleteIndex', async () => {
  for (const name of [DENSE, SPARSE, HYBRID, TEXTS]) {
    await pc.deleteIndex(name);
    await assert.rejects(pc.describeIndex(name), Errors.PineconeNotFoundError);
  }
});
