// What happens when the browser comes back from a handshake.

import { ask } from '../lib/build.mjs';
import { CATEGORY, NOW, PORTAL, handshakeJwt, mint, mintUnsigned, session, sessionHeader } from '../lib/tokens.mjs';

const UAT = NOW - 100;
const token = session();
const DIRECTIVES = [
  `__session=${token}; Path=/; Max-Age=315360000; SameSite=Lax`,
  `__client_uat=${NOW - 10}; Path=/; Domain=example.com; Max-Age=315360000; SameSite=Lax`,
  '__clerk_handshake_nonce=; Path=/; Max-Age=0',
];
const MISSING = 'out:session-token-missing';
const NOTHING = 'out:session-token-and-uat-missing';

const payload = (directives, nonce = 'n1') => [
  { method: 'GET', path: '/v1/clients/handshake_payload', query: `nonce=${nonce}`, status: 200, body: { directives } },
];
const withNonce = (directives, setup = {}) => ({ cookies: { __clerk_handshake_nonce: 'n1' }, bapi: payload(directives), ...setup });
const withToken = (value, setup = {}) => ({ ...setup, cookies: { __clerk_handshake: value, ...setup.cookies } });
const inDevelopment = (query, setup = {}) => ({ configuration: 'development', url: `${PORTAL}/portal?${query}`, ...setup });

nonces();
backendFailures();
directives();
handshakeTokens();
developmentReturns();
clocks();
afterwards();

function nonces() {
  ask('3.9 step 1', 'nonce in a cookie, production', withNonce(DIRECTIVES), { state: 'in:user_1', location: null, cookies: 3, headers: ['access-control-allow-credentials', 'access-control-allow-origin'] });
  ask('3.9 step 1', 'nonce in the query, production', { url: `${PORTAL}/portal?__clerk_handshake_nonce=n1`, bapi: payload(DIRECTIVES) }, { state: 'in:user_1', location: null, cookies: 3 });
  ask('3.9 step 1', 'nonce in the query before the cookie', { url: `${PORTAL}/portal?__clerk_handshake_nonce=n2`, cookies: { __clerk_handshake_nonce: 'n1' }, bapi: payload(DIRECTIVES, 'n2') }, 'in:user_1');
  ask('3.9 step 1', 'nonce empty in the query, then the cookie', withNonce(DIRECTIVES, { url: `${PORTAL}/portal?__clerk_handshake_nonce=` }), 'in:user_1');
  ask('3.9 step 1', 'nonce twice in the query, the first counts', { url: `${PORTAL}/portal?__clerk_handshake_nonce=n1&__clerk_handshake_nonce=n2`, bapi: payload(DIRECTIVES) }, 'in:user_1');
  ask('3.9 step 1', 'nonce empty in the cookie', { cookies: { __clerk_handshake_nonce: '' } }, NOTHING);
  ask('3.9 step 1', 'nonce with a suffix is not read', { cookies: { '__clerk_handshake_nonce_#': 'n1' } }, NOTHING);
  ask('3.9 step 1', 'nonce before token', withNonce(DIRECTIVES, { cookies: { __clerk_handshake_nonce: 'n1', __clerk_handshake: 'x' } }), 'in:user_1');
  ask('3.9 step 1', 'nonce that must be encoded', { cookies: { __clerk_handshake_nonce: 'a%20b%26c%2Fd%3Fe' }, bapi: payload(DIRECTIVES, 'a+b%26c%2Fd%3Fe') }, 'in:user_1');
  ask('3.9 step 1', 'nonce with dots', { cookies: { __clerk_handshake_nonce: '../../users' }, bapi: payload(DIRECTIVES, '..%2F..%2Fusers') }, 'in:user_1');
  for (const method of ['POST', 'HEAD', 'OPTIONS', 'DELETE']) {
    ask('3.9 step 1', `nonce, ${method}`, withNonce(DIRECTIVES, { method }), 'in:user_1');
  }
  ask('3.9 step 1', 'nonce, fetch', withNonce(DIRECTIVES, { dest: 'empty' }), 'in:user_1');
  ask('3.9 step 1', 'nonce, redirect count 3', withNonce(DIRECTIVES, { cookies: { __clerk_handshake_nonce: 'n1', __clerk_redirect_count: 3 } }), 'in:user_1');
  ask('3.9 step 1', 'nonce wins over a good session', withNonce(DIRECTIVES.map((text) => text.replaceAll(token, session({ sub: 'user_2' }))), { cookies: { __clerk_handshake_nonce: 'n1', __session: token, __client_uat: UAT } }), 'in:user_2');
  ask('3.9 step 1', 'nonce answered "signed out" beside a good session', withNonce(['__session=; Path=/; Max-Age=0'], { cookies: { __clerk_handshake_nonce: 'n1', __session: token, __client_uat: UAT } }), { state: MISSING, cookies: 1 });
  ask('3.9 step 1', 'nonce on a satellite', withNonce([`__session=${session({ iss: 'https://clerk.satellite.example.net' })}`], { configuration: 'satellite-production', url: 'https://satellite.example.net/' }), 'in:user_1');
  ask('3.9 step 1', 'nonce, referer of another origin: no second redirect', withNonce(DIRECTIVES, { referer: 'https://elsewhere.example/' }), { state: 'in:user_1', location: null });
  ask('3.9 step 1', 'nonce, another organization in the address: no second redirect', withNonce(DIRECTIVES, { configuration: 'organizations', url: `${PORTAL}/orgs/two` }), { state: 'in:user_1', location: null });
  ask('3.9 step 1', 'nonce with a list of accepted tokens', withNonce(DIRECTIVES, { accepts: ['session_token', 'api_key'] }), 'in:user_1');
  ask('3.9 step 1', 'nonce, any token accepted', withNonce(DIRECTIVES, { accepts: 'any' }), 'in:user_1');
  ask('3.9 step 1', 'nonce, only machine tokens accepted', withNonce(DIRECTIVES, { accepts: 'api_key' }), 'out:No token in header');
}

function backendFailures() {
  const error = (status, code) => ({ status, body: { errors: [{ code, message: 'm' }] } });
  const rows = [
    ['404', error(404, 'resource_not_found')],
    ['401', error(401, 'clerk_key_invalid')],
    ['429', error(429, 'too_many_requests')],
    ['500', error(500, 'internal')],
    ['503 markup', { status: 503, body: '<html>', content_type: 'text/html' }],
    ['network error', { error: true }],
    ['no directives', { status: 200, body: {} }],
    ['directives null', { status: 200, body: { directives: null } }],
    ['directives a number', { status: 200, body: { directives: 5 } }],
    ['directives empty', { status: 200, body: { directives: [] } }],
    ['half of the JSON', { status: 200, body: '{"directives":[' }],
    ['no content', { status: 204 }],
    ['answer of another content type', { status: 200, body: JSON.stringify({ directives: DIRECTIVES }), content_type: 'text/plain' }],
    ['content type with a character set', { status: 200, body: JSON.stringify({ directives: DIRECTIVES }), content_type: 'application/json; charset=utf-8' }],
  ];
  for (const [name, answer] of rows) {
    const note = name.includes('content type') ? 'The SDK reads JSON only when the content type is exactly application/json.' : undefined;
    const bapi = [{ method: 'GET', path: '/v1/clients/handshake_payload', ...answer }];
    ask('3.9 step 1', `nonce, ${name}`, { cookies: { __clerk_handshake_nonce: 'n1' }, bapi, note }, { state: MISSING, location: null, cookies: 0 });
    ask('3.9 step 1', `nonce, ${name}, good session beside`, { cookies: { __clerk_handshake_nonce: 'n1', __session: token, __client_uat: UAT }, bapi, note }, MISSING);
    ask('3.9 step 1', `nonce, ${name}, development`, inDevelopment('__clerk_handshake_nonce=n1', { bapi, note }), { state: MISSING, location: `${PORTAL}/portal` });
  }
  ask('3.9 step 1', 'nonce, directives a text are taken letter by letter', { cookies: { __clerk_handshake_nonce: 'n1' }, bapi: payload('ab') }, { state: MISSING, cookies: 2 });
}

function directives() {
  const two = session({ sub: 'user_2' });
  const rows = [
    ['last session wins', [`__session=${token}`, `__session_x=${two}`], 'in:user_2'],
    ['last session wins, the other way', [`__session_x=${two}`, `__session=${token}`], 'in:user_1'],
    ['deletion at the end', [`__session=${token}`, '__session_x=; Max-Age=0'], MISSING],
    ['deletion in front', ['__session=; Max-Age=0', `__session_x=${token}`], 'in:user_1'],
    ['any name that begins so', [`__sessions=${token}`], 'in:user_1'],
    ['name in capitals', [`__SESSION=${token}`], MISSING],
    ['name with a space in front', [` __session=${token}`], MISSING],
    ['only other cookies', ['__client_uat=0', 'theme=dark'], MISSING],
    ['foreign names are handed on', [`theme=dark; Path=/`, `__session=${token}`], 'in:user_1'],
    ['no attributes', [`__session=${token}`], 'in:user_1'],
    ['padded token', [`__session=${token}==; Path=/`], 'in:user_1'],
    ['text behind an equals sign is cut', [`__session=${token}=abc; Path=/`], 'in:user_1'],
    ['space before the semicolon', [`__session=${token} ; Path=/`], NOTHING],
    ['token in quotation marks', [`__session="${token}"`], NOTHING],
    ['percent signs are not decoded', [`__session=${token.replaceAll('.', '%2E')}`], NOTHING],
    ['no equals sign', ['__session'], NOTHING],
    ['no equals sign after a good one', [`__session=${token}`, '__session'], NOTHING],
    ['only attributes', ['; Path=/'], MISSING],
    ['empty directive', [''], MISSING],
    ['line break in a directive', [`__session=${token}`, 'a=b\r\nSet-Cookie: c=d'], NOTHING],
    ['line break at the end of a directive', [`__session=${token}; Path=/\r\n`], 'in:user_1'],
    ['letters outside of Latin-1', [`__session=${token}`, 'a=\u4f8b'], NOTHING],
    ['letters of Latin-1', [`__session=${token}`, 'a=\u00fc'], 'in:user_1'],
    ['a number among the directives', [`__session=${token}`, 5], NOTHING],
    ['null among the directives', [null, `__session=${token}`], NOTHING],
    ['a list among the directives', [[`__session=${token}`]], NOTHING],
    ['same directive twice', [DIRECTIVES[0], DIRECTIVES[0]], 'in:user_1'],
  ];
  for (const [name, list, want] of rows) {
    ask('3.9 step 3', `${name}, nonce`, withNonce(list), want);
    ask('3.9 step 3', `${name}, token`, withToken(handshakeJwt(list)), want);
  }
  const refused = [
    ['expired', session({ exp: NOW - 100 }), {}],
    ['not yet valid', session({ nbf: NOW + 100 }), {}],
    ['issued in the future', session({ iat: NOW + 100, nbf: NOW }), {}],
    ['wrong signature', session({}, {}, { key: 'foreign' }), {}],
    ['unknown key', session({}, { kid: 'ins_x' }), {}],
    ['not a token', 'x', {}],
    ['M2M category', session({}, { cat: CATEGORY.m2m }), {}],
    ['wrong party', session({ azp: 'https://evil.example' }), { configuration: 'production-azp' }],
    ['no party', session({ azp: undefined }), { configuration: 'production-azp' }],
    ['wrong audience', session({ aud: 'x' }), { configuration: 'production-audience' }],
  ];
  for (const [name, value, setup] of refused) {
    ask('3.9 step 6', `session ${name}`, withNonce([`__session=${value}`], setup), { state: NOTHING, cookies: 0 });
    ask('3.9 step 6', `session ${name}, good cookies beside`, withNonce([`__session=${value}`], { ...setup, cookies: { __clerk_handshake_nonce: 'n1', __session: token, __client_uat: UAT } }), { state: 'in:user_1', cookies: 0 });
    ask('3.9 step 6', `session ${name}, client_uat beside`, withNonce([`__session=${value}`], { ...setup, cookies: { __clerk_handshake_nonce: 'n1', __client_uat: UAT } }), 'hs:client-uat-but-no-session-token');
  }
  const accepted = [
    ['template category', session({}, { cat: CATEGORY.template })],
    ['unknown category', session({}, { cat: 'cl_X' })],
    ['machine subject', session({ sub: 'mch_1' })],
    ['no sid', session({ sid: undefined })],
    ['issuer of another instance', session({ iss: 'https://clerk.other.example' })],
    ['older than client_uat', session({ iat: NOW - 30 })],
    ['pending', session({ sts: 'pending' })],
  ];
  for (const [name, value] of accepted) {
    const note = name.includes('category') || name.includes('machine') ? 'The class of the token is not looked at here.' : undefined;
    ask('3.9 step 6', `session ${name}`, withNonce([`__session=${value}`, `__client_uat=${NOW}`], { note }), { state: 'in', cookies: 2 });
  }
  ask('3.9 step 6', 'session of type at+jwt', withNonce([`__session=${session({}, { typ: 'at+jwt' })}`]), NOTHING);
}

function handshakeTokens() {
  const good = handshakeJwt(DIRECTIVES);
  ask('3.9 step 1', 'token in a cookie, production', withToken(good), { state: 'in:user_1', location: null, cookies: 3 });
  ask('3.9 step 1', 'token in the query, production', { url: `${PORTAL}/portal?__clerk_handshake=${good}` }, { state: 'in:user_1', location: null, cookies: 3 });
  ask('3.9 step 1', 'token in the query before the cookie', { url: `${PORTAL}/portal?__clerk_handshake=${good}`, cookies: { __clerk_handshake: 'x' } }, 'in:user_1');
  ask('3.9 step 1', 'token with a suffix is not read', { cookies: { '__clerk_handshake_#': good } }, NOTHING);
  ask('3.9 step 1', 'token, local key', withToken(good, { configuration: 'production-pem' }), 'in:user_1');

  const rows = [
    ['expired long ago', handshakeJwt(DIRECTIVES, {}, { exp: NOW - 100000 }), 'in:user_1'],
    ['not yet valid', handshakeJwt(DIRECTIVES, {}, { nbf: NOW + 100000, iat: NOW + 100000 }), 'in:user_1'],
    ['wrong types of exp, nbf, iat', handshakeJwt(DIRECTIVES, {}, { exp: 'x', nbf: 'x', iat: 'x' }), 'in:user_1'],
    ['no category', handshakeJwt(DIRECTIVES, { cat: undefined }), 'in:user_1'],
    ['category without information', handshakeJwt(DIRECTIVES, { cat: CATEGORY.ignore }), 'in:user_1'],
    ['no type', handshakeJwt(DIRECTIVES, { typ: undefined }), 'in:user_1'],
    ['second key of the set', handshakeJwt(DIRECTIVES, { kid: 'ins_other' }, {}, { key: 'ins_other' }), 'in:user_1'],
    ['no handshake claim', handshakeJwt(undefined), MISSING],
    ['handshake null', handshakeJwt(null), MISSING],
    ['handshake a text', handshakeJwt(DIRECTIVES[0]), MISSING],
    ['handshake an object', handshakeJwt({ 0: DIRECTIVES[0] }), MISSING],
    ['handshake empty', handshakeJwt([]), MISSING],
    ['a session token', token, MISSING],
  ];
  for (const [name, value, want] of rows) {
    ask('3.9 step 1', `token, ${name}, production`, withToken(value), want);
    ask('3.9 step 1', `token, ${name}, development`, inDevelopment(`__clerk_handshake=${value}`), { state: want, location: `${PORTAL}/portal` });
  }

  const bad = [
    ['category of a template', handshakeJwt(DIRECTIVES, { cat: CATEGORY.template }), 'Handshake token verification failed: Invalid handshake token category.'],
    ['category M2M', handshakeJwt(DIRECTIVES, { cat: CATEGORY.m2m }), 'Handshake token verification failed: Invalid handshake token category.'],
    ['unknown category', handshakeJwt(DIRECTIVES, { cat: 'cl_X' }), 'Handshake token verification failed: Invalid handshake token category.'],
    ['category null', handshakeJwt(DIRECTIVES, { cat: null }), 'Handshake token verification failed: Invalid handshake token category.'],
    ['wrong type', handshakeJwt(DIRECTIVES, { typ: 'at+jwt' }), 'Handshake token verification failed: Invalid JWT type'],
    ['wrong algorithm', handshakeJwt(DIRECTIVES, { alg: 'HS256' }), 'Handshake token verification failed: Invalid JWT algorithm'],
    ['no signature', mintUnsigned(sessionHeader({ alg: 'none' }), { handshake: DIRECTIVES }), 'Handshake token verification failed: Invalid JWT algorithm'],
    ['RS384', handshakeJwt(DIRECTIVES, { alg: 'RS384' }, {}, { hash: 'RS384' }), 'Handshake token verification failed: Error verifying handshake token.'],
    ['wrong signature', handshakeJwt(DIRECTIVES, {}, {}, { key: 'foreign' }), 'Handshake token verification failed due to an invalid signature.'],
    ['unknown key', handshakeJwt(DIRECTIVES, { kid: 'ins_x' }), 'Handshake token verification failed: Unable to find a signing key'],
    ['not a token', 'x', 'Handshake token verification failed: Invalid JWT form.'],
    ['two parts', 'a.b', 'Handshake token verification failed: Invalid JWT form.'],
  ];
  for (const [name, value, text] of bad) {
    const loose = name === 'RS384' ? ['throws'] : undefined;
    ask('3.9 step 8', `token, ${name}, production goes on`, withToken(value), NOTHING);
    ask('3.9 step 8', `token, ${name}, production goes on to a good session`, withToken(value, { cookies: { __session: token, __client_uat: UAT } }), { state: 'in:user_1', cookies: 0 });
    ask('3.9 step 8', `token, ${name}, development stops`, inDevelopment(`__clerk_handshake=${value}`, { loose }), `throws:${text}`);
  }
  ask('3.9 step 8', 'token, ten rounds are not endless: redirect count 3', withToken('x', { cookies: { __client_uat: UAT, __clerk_redirect_count: 3 } }), 'out:client-uat-but-no-session-token');
  ask('3.9 step 8', 'token in a cookie, development stops, too', { configuration: 'development', cookies: { __clerk_handshake: 'x' } }, 'throws:Handshake token verification failed');
  ask('3.9 step 8', 'token payload null, production', withToken(mint(sessionHeader(), 'null')), MISSING);
  ask('3.9 step 8', 'token header null, production', withToken(`${Buffer.from('null').toString('base64url')}.e30.AAAA`), NOTHING);
  ask('3.9 step 8', 'token header null, development goes on', inDevelopment(`__clerk_handshake=${Buffer.from('null').toString('base64url')}.e30.AAAA`), 'hs:dev-browser-missing');
  const down = [{ method: 'GET', path: '/v1/jwks', error: true }];
  ask('3.9 step 8', 'key set unreachable, production', withToken(good, { bapi: down }), NOTHING);
  ask('3.9 step 8', 'key set unreachable, development goes on', inDevelopment(`__clerk_handshake=${good}`, { bapi: down }), 'hs:dev-browser-missing');
  const broken = [{ method: 'GET', path: '/v1/jwks', status: 500, body: {} }];
  ask('3.9 step 8', 'key set fails, production', withToken(good, { bapi: broken }), NOTHING);
  ask('3.9 step 8', 'key set fails, development stops', inDevelopment(`__clerk_handshake=${good}`, { bapi: broken }), 'throws:Handshake token verification failed: Error loading Clerk JWKS');
  ask('3.9 step 8', 'local key of another instance, development stops', inDevelopment(`__clerk_handshake=${good}`, { configuration: 'development-pem-other' }), 'throws:Handshake token verification failed due to an invalid signature.');
}

function developmentReturns() {
  const rows = [
    ['', ''],
    ['a=1&', '?a=1'],
    ['__clerk_help=1&', ''],
    ['__clerk_db_jwt=dvb_1&', ''],
    ['__clerk_handshake=x&', ''],
    ['__clerk_handshake_nonce=n1&a=b%20c&', '?a=b+c'],
    ['__clerk_synced=true&', '?__clerk_synced=true'],
    ['__clerk_redirect_url=https%3A%2F%2Fx.example&', '?__clerk_redirect_url=https%3A%2F%2Fx.example'],
    ['__dev_session=1&', '?__dev_session=1'],
    ['__clerk_hs_reason=x&', '?__clerk_hs_reason=x'],
  ];
  for (const [query, left] of rows) {
    ask('3.9 step 4', `development, query [${query}]`, inDevelopment(`${query}__clerk_handshake_nonce=n1`, { bapi: payload(DIRECTIVES) }), {
      state: 'in:user_1',
      location: `${PORTAL}/portal${left}`,
      cookies: 3,
      headers: ['access-control-allow-credentials', 'access-control-allow-origin', 'cache-control'],
    });
  }
  ask('3.9 step 4', 'development, nonce in a cookie redirects, too', { configuration: 'development', cookies: { __clerk_handshake_nonce: 'n1' }, bapi: payload(DIRECTIVES) }, { state: 'in:user_1', location: `${PORTAL}/portal` });
  ask('3.9 step 4', 'development, POST redirects, too', inDevelopment('__clerk_handshake_nonce=n1', { method: 'POST', bapi: payload(DIRECTIVES) }), { state: 'in:user_1', location: `${PORTAL}/portal` });
  ask('3.9 step 4', 'development, signed out redirects, too', inDevelopment('__clerk_handshake_nonce=n1', { bapi: payload(['__session=; Max-Age=0']) }), { state: MISSING, location: `${PORTAL}/portal`, cookies: 1 });
  ask('3.9 step 5', 'production, signed out keeps the headers', withNonce(['__session=; Max-Age=0', '__client_uat=0']), {
    state: MISSING,
    location: null,
    cookies: 2,
    headers: ['access-control-allow-credentials', 'access-control-allow-origin', 'x-clerk-auth-reason', 'x-clerk-auth-status'],
  });
}

function clocks() {
  const day = 86400;
  const rows = [
    ['expired an hour ago', { iat: NOW - 3660 }, 'in:user_1'],
    ['expired a day ago less a second', { exp: NOW - day + 1 }, 'in:user_1'],
    ['expired a day ago', { exp: NOW - day }, 'hs:dev-browser-missing'],
    ['not valid for another day', { nbf: NOW + day }, 'in:user_1'],
    ['not valid for more than a day', { nbf: NOW + day + 1 }, 'hs:dev-browser-missing'],
    ['issued a day from now', { iat: NOW + day, nbf: NOW }, 'in:user_1'],
    ['issued more than a day from now', { iat: NOW + day + 1, nbf: NOW }, 'hs:dev-browser-missing'],
    ['wrong signature', null, 'hs:dev-browser-missing'],
  ];
  for (const [name, claims, want] of rows) {
    const value = claims ? session(claims) : session({}, {}, { key: 'foreign' });
    ask('3.9 step 7', `development: ${name}`, inDevelopment('__clerk_handshake_nonce=n1', { bapi: payload([`__session=${value}`]) }), want);
    ask('3.9 step 7', `production does not try again: ${name}`, withNonce([`__session=${value}`]), NOTHING);
  }
  ask('3.9 step 7', 'development: not valid yet and expired at once', inDevelopment('__clerk_handshake_nonce=n1', { bapi: payload([`__session=${session({ exp: NOW - 100, nbf: NOW + 100 })}`]) }), 'in:user_1');
  ask('3.9 step 7', 'development: wrong party is not about the clock', inDevelopment('__clerk_handshake_nonce=n1', { configuration: 'development-azp', bapi: payload([`__session=${session({ azp: 'https://evil.example', exp: NOW - 100 })}`]) }), 'hs:dev-browser-missing');
}

function afterwards() {
  const bad = payload([`__session=${session({}, {}, { key: 'foreign' })}`]);
  ask('C0', 'development: refused session goes on, the nonce stays in the address', inDevelopment('__clerk_handshake_nonce=n1&a=1', { bapi: bad, cookies: { __clerk_db_jwt: 'dvb_1', __client_uat: UAT } }), {
    state: 'hs:client-uat-but-no-session-token',
    location: { redirect_url: `${PORTAL}/portal?__clerk_handshake_nonce=n1&a=1` },
  });
  ask('C0', 'production: refused session, then C7', withNonce([`__session=${session({}, {}, { key: 'foreign' })}`]), NOTHING);
  ask('C0', 'production: signed in', withNonce(DIRECTIVES), 'in:user_1');
  ask('C0', 'production: signed out', withNonce([]), MISSING);
  ask('C0', 'production: no nonce, no token', { cookies: { __session: token, __client_uat: UAT } }, { state: 'in:user_1', cookies: 0 });
}
