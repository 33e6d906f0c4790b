// The vocabulary in which the tables of cases are written.

import { configurations } from './configurations.mjs';
import { NOW_MS, PORTAL, cookieSuffix, sessionClaims } from './tokens.mjs';

const collected = [];

export const cases = () => collected;

// What the specification expects, in short: `in`, `in:<user>`, `out:<reason>`, `hs:<reason>`, `throws:<part of the text>`; or an object
// with that text as `state` and, where it matters, some fields of `auth`, the parameters of the `location` and the number of `cookies` set.
const STATUS = { in: 'signed-in', out: 'signed-out', hs: 'handshake' };

export function parseWant(want) {
  if (typeof want !== 'string') {
    return { ...parseWant(want.state), ...want };
  }
  const [verb, ...others] = want.split(':');
  const rest = others.join(':');
  if (verb === 'throws') {
    return { throws: rest };
  }
  return verb === 'in' ? { status: STATUS.in, reason: null, user: rest || undefined } : { status: STATUS[verb], reason: rest };
}

// Adds a case about a request. Unless said otherwise it is a page view (`sec-fetch-dest: document`) of the portal in production.
export function ask(row, name, setup, want) {
  const { configuration = 'production', accepts = 'session_token', method = 'GET', url = `${PORTAL}/portal` } = setup;
  if (!configurations[configuration]) {
    throw new Error(`unknown configuration: ${configuration}`);
  }
  collected.push({
    want: parseWant(want),
    case: compact({
      name: `${row} ${name}`,
      row,
      kind: setup.kind,
      note: setup.note,
      loose: setup.loose,
      configuration,
      now_ms: setup.now ?? NOW_MS,
      accepts_token: accepts,
      method,
      url,
      headers: headersOf(setup, configuration),
      bapi: setup.bapi,
    }),
  });
}

// Adds a case about `has` for the claims of a signed-in token.
export function askHas(row, name, claims, params, want, extra = {}) {
  collected.push({
    want: want === true || want === false ? { has: want } : parseWant(want),
    case: compact({ name: `${row} has ${name}`, row, kind: 'has', ...extra, now_ms: NOW_MS, claims: sessionClaims(claims), params }),
  });
}

function headersOf({ cookies, bearer, authorization, dest = 'document', accept, referer, origin, headers = [] }, configuration) {
  return [
    ...cookieHeaders(cookies, configuration),
    ...header('authorization', bearer === undefined ? authorization : `Bearer ${bearer}`),
    ...header('sec-fetch-dest', dest),
    ...header('accept', accept),
    ...header('referer', referer),
    ...header('origin', origin),
    ...headers,
  ];
}

const header = (name, value) => (value === undefined || value === null ? [] : [[name, value]]);

// Cookies are an object, a list of pairs, or the text of the header. A name that ends in `_#` gets the suffix of the configuration.
function cookieHeaders(cookies, configuration) {
  if (cookies === undefined) {
    return [];
  }
  if (typeof cookies === 'string') {
    return [['cookie', cookies]];
  }
  const suffix = cookieSuffix(configurations[configuration].publishable_key ?? '');
  const pairs = Array.isArray(cookies) ? cookies : Object.entries(cookies);
  const text = pairs
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name.replace(/_#$/, `_${suffix}`)}=${value}`)
    .join('; ');
  return text ? [['cookie', text]] : [];
}

function compact(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
