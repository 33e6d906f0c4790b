// Reading, writing and comparing the corpus.

import { readFileSync, writeFileSync } from 'node:fs';

const CASES = new URL('../cases.json', import.meta.url);

export function readCorpus() {
  return JSON.parse(readFileSync(CASES, 'utf8'));
}

// One line per key, configuration and case: a change of one case is a change of one line.
export function writeCorpus({ version, clerk_backend, jwks, keys, configurations, cases }) {
  const text = [
    '{',
    `"version": ${version},`,
    `"clerk_backend": ${JSON.stringify(clerk_backend)},`,
    `"jwks": ${JSON.stringify(jwks)},`,
    `"keys": {\n${members(keys)}\n},`,
    `"configurations": {\n${members(configurations)}\n},`,
    `"cases": [\n${cases.map((testCase) => JSON.stringify(testCase)).join(',\n')}\n]`,
    '}',
    '',
  ].join('\n');
  writeFileSync(CASES, text);
}

function members(object) {
  return Object.entries(object)
    .map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`)
    .join(',\n');
}

// The paths at which two JSON values differ, for example `expect.location`.
export function differences(left, right, path = '') {
  if (JSON.stringify(left) === JSON.stringify(right)) {
    return [];
  }
  if (!isObject(left) || !isObject(right)) {
    return [path];
  }
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  return [...names].flatMap((name) => differences(left[name], right[name], path ? `${path}.${name}` : name));
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
