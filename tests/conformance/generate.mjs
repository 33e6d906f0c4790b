// Writes cases.json: builds the cases, asks Clerk's backend SDK about each and records its answer.
// Fails without writing when the SDK's answer is not the one that the case was written for.

import { cases } from './lib/build.mjs';
import { configurations } from './lib/configurations.mjs';
import { writeCorpus } from './lib/corpus.mjs';
import { askSdk, sdkVersion } from './lib/sdk.mjs';
import { JWKS, publicKeys } from './lib/tokens.mjs';

import './cases/keys-and-hosts.mjs';
import './cases/session-token.mjs';
import './cases/organization-claims.mjs';
import './cases/reading-a-request.mjs';
import './cases/cookie-suffix.mjs';
import './cases/header-path.mjs';
import './cases/cookie-path.mjs';
import './cases/handshake.mjs';
import './cases/refresh.mjs';
import './cases/cross-origin.mjs';
import './cases/organization-in-the-url.mjs';
import './cases/satellites.mjs';
import './cases/machine-tokens.mjs';
import './cases/has.mjs';
import './cases/known-bugs.mjs';

const corpus = { version: 1, clerk_backend: sdkVersion, jwks: JWKS, keys: publicKeys(), configurations, cases: [] };
const surprises = [];

for (const { case: testCase, want } of cases()) {
  const answer = await askSdk(testCase, corpus);
  corpus.cases.push({ ...testCase, ...answer });
  const surprise = compare(want, answer.expect);
  if (surprise) {
    surprises.push(`${testCase.name}: ${surprise}`);
  }
}

const unmarked = corpus.cases.filter(({ expect, loose = [] }) => runtimeTexts(expect).some((field) => !loose.includes(field)));
surprises.push(...unmarked.map(({ name, expect }) => `${name}: text of JavaScript in ${runtimeTexts(expect)} is not marked as loose`));

const names = corpus.cases.map(({ name }) => name);
surprises.push(...names.filter((name, index) => names.indexOf(name) !== index).map((name) => `${name}: name used twice`));

if (surprises.length > 0) {
  console.error(surprises.join('\n'));
  console.error(`${surprises.length} of ${corpus.cases.length} cases do not answer as expected; cases.json was not written`);
  process.exitCode = 1;
} else {
  writeCorpus(corpus);
  console.log(`${corpus.cases.length} cases written`);
}

// The fields whose text was written by JavaScript, which nobody should have to repeat.
function runtimeTexts(expect) {
  const runtime = /Cannot read|is not a function|is not iterable|fetch failed|Error verifying|Unexpected (token|end)|Headers\.append|Invalid URL/;
  return ['message', 'throws', 'auth_throws'].filter((field) => runtime.test(expect[field] ?? ''));
}

function compare(want, expect) {
  if (want.throws !== undefined) {
    return expect.throws?.includes(want.throws) ? null : `expected to throw "${want.throws}", got ${brief(expect)}`;
  }
  if (want.has !== undefined) {
    return expect.has === want.has ? null : `expected ${want.has}, got ${brief(expect)}`;
  }
  const state = [want.status, want.reason, want.user ?? null].join(' ');
  const got = [expect.status, expect.reason, want.user ? (expect.auth?.user_id ?? null) : null].join(' ');
  return state === got ? compareDetails(want, expect) : `expected ${state}, got ${brief(expect)}`;
}

function compareDetails({ auth = {}, base, counter, headers, location, cookies, message, tokenType }, expect) {
  const parameters = expect.location ? Object.fromEntries(new URL(expect.location).searchParams) : {};
  const wrong = [
    ...(counter !== undefined && !expect.set_cookie.at(-1)?.startsWith(`__clerk_redirect_count=${counter}; `) ? [`set ${expect.set_cookie.at(-1)}`] : []),
    ...(base !== undefined && base !== expect.location?.split('?')[0] ? [`location is ${expect.location}`] : []),
    ...unlike(auth, expect.auth ?? {}),
    ...(message !== undefined && message !== expect.message ? [`message is ${expect.message}`] : []),
    ...(tokenType !== undefined && tokenType !== expect.token_type ? [`token type is ${expect.token_type}`] : []),
    ...(headers !== undefined ? unlike({ headers }, { headers: expect.headers.map(([name]) => name) }) : []),
    ...(typeof location === 'object' && location ? unlike(location, parameters) : []),
    ...((location === null || typeof location === 'string') && location !== expect.location ? [`location is ${expect.location}`] : []),
    ...(cookies !== undefined && cookies !== expect.set_cookie.length ? [`${expect.set_cookie.length} cookies`] : []),
  ];
  return wrong.length > 0 ? wrong.join('; ') : null;
}

function unlike(wanted, actual) {
  return Object.entries(wanted)
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(actual[name] ?? null))
    .map(([name, value]) => `${name} should be ${JSON.stringify(value)}, is ${JSON.stringify(actual[name])}`);
}

function brief({ throws, has, status, reason, message }) {
  if (throws !== undefined) {
    return `a throw "${throws}"`;
  }
  return has === undefined ? `${status} ${reason} (${message ?? ''})` : String(has);
}
