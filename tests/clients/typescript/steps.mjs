// What both scripts share: they run step by step, say what passed, and stop at the first failure.

import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { Errors, Pinecone } from '@pinecone-database/pinecone';

export const KEY = process.env.PINECONE_API_KEY;
export const CONTROLLER = process.env.PINECONE_CONTROLLER_HOST;
for (const name of ['PINECONE_API_KEY', 'PINECONE_CONTROLLER_HOST']) {
  if (!process.env[name]) {
    process.stderr.write(`${name} is not set\n`);
    process.exit(2);
  }
}

/** Run one step; a failure ends the script with exit status 1. */
export async function step(title, run) {
  try {
    await run();
  } catch (error) {
    process.stderr.write(`FAILED: ${title}\n${inspect(error)}\n`);
    process.exit(1);
  }
  process.stdout.write(`passed: ${title}\n`);
}

/** Delete these indexes, where they exist: what a script that failed has left, and what this one made. */
export async function removeIndexes(...names) {
  const pc = new Pinecone();
  for (const name of names) {
    try {
      await pc.deleteIndex(name);
    } catch (error) {
      if (!(error instanceof Errors.PineconeNotFoundError)) throw error;
    }
  }
}

/** Equal but for the rounding of 32-bit numbers. */
export function near(actual, expected) {
  assert.ok(Math.abs(actual - expected) < 1e-5, `${actual} is not ${expected}`);
}

export const APPLES = [
  {
    _id: 'rec1',
    chunk_text:
      'Apples are a great source of dietary fiber, which supports digestion and helps maintain a healthy gut.',
    category: 'digestive system',
  },
  {
    _id: 'rec2',
    chunk_text:
      'Apples originated in Central Asia and have been cultivated for thousands of years, ' +
      'with over 7,500 varieties available today.',
    category: 'cultivation',
  },
  {
    _id: 'rec3',
    chunk_text:
      'Rich in vitamin C and other antioxidants, apples contribute to immune health ' +
      'and may reduce the risk of chronic diseases.',
    category: 'immune system',
  },
  {
    _id: 'rec4',
    chunk_text:
      'The high fiber content in apples can also help regulate blood sugar levels, ' +
      'making them a favorable snack for people with diabetes.',
    category: 'endocrine system',
  },
];
