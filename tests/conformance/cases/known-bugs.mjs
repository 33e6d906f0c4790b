// Requests made after published vulnerabilities and after measured differences between the SDKs of several languages.

import { ask } from '../lib/build.mjs';
import { CATEGORY, NOW, PORTAL, expired, m2mJwt, mint, mintUnsigned, mintWithPublicKeyAsSecret, oauthJwt, session, sessionClaims, sessionHeader, template } from '../lib/tokens.mjs';

const UAT = NOW - 100;
const MISSING = 'out:session-token-and-uat-missing';

measured();
paths();
spoofedHeaders();
malformed();
referrers();
changedTokens();
caching();
contradictions();
keysFromTheToken();
refreshing();

// Both carriers, authorized parties configured, as in the measurement.
function measured() {
  const gone = 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie';
  const good = sessionClaims();
  const twice = JSON.stringify(good).replace('{', '{"sub":"user_9",');
  const organization = { id: 'org_1', slg: 'one', rol: 'admin', per: 'read', fpm: '1' };
  const rows = [
    ['1b-01', 'expired 3 s ago', expired(3), 'in:user_1'],
    ['1b-01', 'expired 50 s ago', expired(50), gone],
    ['1b-02', 'nbf 50 s ahead', session({ nbf: NOW + 50 }), 'hs:session-token-nbf'],
    ['1b-02', 'iat 300 s ahead', session({ iat: NOW + 300, nbf: NOW, exp: NOW + 360 }), 'hs:session-token-iat-in-the-future'],
    ['1b-03', 'issuer of another instance, same key', session({ iss: 'https://clerk.other.example' }), 'in:user_1', { suffixed: true }],
    ['1b-04', 'issuer missing', session({ iss: undefined }), 'in:user_1'],
    ['1b-05', 'azp wrong', session({ azp: 'https://evil.example' }), 'out:token-invalid-authorized-parties'],
    ['1b-05', 'azp missing', session({ azp: undefined }), 'out:token-invalid-authorized-parties'],
    ['1b-06', 'exp missing', session({ exp: undefined }), 'out:token-verification-failed'],
    ['1b-07', 'sub missing', session({ sub: undefined }), 'out:token-verification-failed'],
    ['1b-08', 'sid missing', session({ sid: undefined }), 'in:user_1'],
    ['1b-09', 'template category', template({ sid: 'sess_1' }), 'out:token-type-mismatch'],
    ['1b-10', 'M2M category, machine subject', m2mJwt({ azp: PORTAL }), 'out:token-type-mismatch'],
    ['1b-11', 'type at+jwt', session({}, { typ: 'at+jwt' }), 'out:token-type-mismatch'],
    ['1b-12', 'pending', session({ sts: 'pending' }), { state: 'in', auth: { user_id: null, session_status: 'pending' } }],
    ['1b-13', 'aud present', session({ aud: 'anything' }), 'in:user_1'],
    ['1b-14', 'unknown crit', session({}, { crit: ['x'], x: 1 }), 'in:user_1'],
    ['1b-14', 'crit not a list', session({}, { crit: 'x' }), 'in:user_1'],
    ['1b-14', 'b64 false', session({}, { crit: ['b64'], b64: false }), 'in:user_1'],
    ['1b-15', 'sub twice', mint(sessionHeader(), twice), 'in:user_1'],
    ['1b-16', 'exp a fraction', session({ exp: NOW + 50.5 }), 'in:user_1'],
    ['1b-16', 'exp after 2038', session({ exp: 4102444800 }), 'in:user_1'],
    ['1b-17', 'signature with padding', `${session()}==`, 'in:user_1'],
    ['1b-18', 'organization of version 2', session({ o: organization, fea: 'o:a' }), { state: 'in:user_1', auth: { org_id: 'org_1', org_role: 'org:admin', org_permissions: ['org:a:read'] } }],
    ['1b-18', 'organization of version 2, version 3 said', session({ v: 3, o: organization, fea: 'o:a' }), { state: 'in:user_1', auth: { org_id: null } }],
    ['1b-19', 'organization of version 1 without permissions', session({ v: undefined, org_id: 'org_1', org_role: 'org:admin' }), { state: 'in:user_1', auth: { org_id: 'org_1', org_role: 'org:admin', org_permissions: null } }],
    ['1b-20', 'act present', session({ act: { sub: 'user_9' } }), { state: 'in:user_1', auth: { actor: { sub: 'user_9' } } }],
    ['1b-agreed', 'algorithm none', mintUnsigned(sessionHeader({ alg: 'none' }), good), 'out:token-invalid-algorithm'],
    ['1b-agreed', 'HS256 with the public key', mintWithPublicKeyAsSecret(sessionHeader({ alg: 'HS256' }), good), 'out:token-invalid-algorithm'],
    ['1b-agreed', 'wrong key', session({}, {}, { key: 'foreign' }), 'out:token-invalid-signature'],
    ['1b-agreed', 'four segments', `${session()}.x`, 'out:token-invalid', { cookie: 'out:token-invalid' }],
    ['1b-agreed', 'expired 120 s ago', expired(120), gone],
    ['1b-agreed', 'good', session(), 'in:user_1'],
  ];
  for (const [row, name, token, want, { suffixed = false } = {}] of rows) {
    const cookies = suffixed ? { '__session_#': token, '__client_uat_#': NOW - 1000 } : { __session: token, __client_uat: NOW - 1000 };
    ask(row, `${name}, header`, { configuration: 'production-azp', bearer: token }, want);
    ask(row, `${name}, cookie`, { configuration: 'production-azp', cookies }, want);
  }
}

function paths() {
  const variants = ['/admin', '/ADMIN', '/admin/', '//admin', '/admin//', '/%61dmin', '/admin%2f', '/admin%00', '/admin;x=1', '/admin;', '/x/../admin', '/x/%2e%2e/admin', '/admin.', '/admin%20', '/%2561dmin', '/admin/..;/admin', '/admin%5c', '/admin?a=../..', '/./admin', '/admin/.', '/_next/../admin', '/favicon.ico', '/admin.json', '/__clerk/admin', '/api/../admin'];
  for (const path of variants) {
    const url = `${PORTAL}${path}`;
    ask('T-02', `${path}: nobody`, { url }, MISSING);
    ask('T-02', `${path}: good session`, { url, cookies: { __session: session(), __client_uat: UAT } }, 'in:user_1');
    ask('T-02', `${path}: badly signed session`, { url, cookies: { __session: session({}, {}, { key: 'foreign' }), __client_uat: UAT } }, 'out:token-invalid-signature');
  }
}

function spoofedHeaders() {
  const names = ['x-clerk-auth-status', 'x-clerk-auth-token', 'x-clerk-auth-reason', 'x-clerk-auth-message', 'x-clerk-auth-signature', 'x-clerk-clerk-url', 'x-clerk-request-data', 'x-clerk-redirect-to', 'x-clerk-debug', 'clerk-secret-key', 'clerk-proxy-url', 'x-middleware-subrequest', 'x-middleware-request-x-clerk-auth-status', 'x-forwarded-user', 'x-forwarded-email', 'x-forwarded-uri', 'x-forwarded-method', 'x-forwarded-prefix', 'x-forwarded-for', 'x-http-method-override', 'x-real-ip', 'x-auth-request-user', 'x-user-id', 'x-original-url', 'x-rewrite-url', 'x-envoy-original-path', 'x-amzn-oidc-data', 'cf-access-jwt-assertion', 'proxy-authorization', 'x-authorization', 'x_forwarded_host', 'forwarded'];
  const value = (name) => (name === 'x-clerk-auth-status' ? 'signed-in' : name === 'x-http-method-override' ? 'GET' : session());
  for (const name of names) {
    ask('T-04', `${name} does not sign in`, { headers: [[name, value(name)]] }, MISSING);
    ask('T-04', `${name} does not sign out`, { headers: [[name, 'signed-out']], cookies: { __session: session(), __client_uat: UAT } }, 'in:user_1');
  }
  ask('T-04', 'method override does not make a GET of a POST', { method: 'POST', headers: [['x-http-method-override', 'GET']], cookies: { __client_uat: UAT } }, 'out:client-uat-but-no-session-token');
  for (const [name, headers] of [['X-Forwarded-Host', [['x-forwarded-host', 'evil.example']]], ['X-Forwarded-Proto', [['x-forwarded-proto', 'http']]]]) {
    ask('T-05', `${name} does not sign in`, { kind: 'public-url', headers }, MISSING);
    ask('T-05', `${name} does not sign out`, { kind: 'public-url', headers, cookies: { __session: session(), __client_uat: UAT } }, 'in:user_1');
  }
}

function malformed() {
  const values = ['{}', '[]', 'null', 'undefined', '[object Object]', 'true', '0', '-1', '""', '../../etc/passwd', "' or 1=1 --", '%00', '%0d%0ax: y', '\u00ff\u00fe', 'a'.repeat(2000), '.', '..', '...', 'e30.e30.', 'e30.e30.e30', 'bnVsbA.bnVsbA.'];
  for (const value of values) {
    const shown = value.length > 40 ? `${value.length} letters` : JSON.stringify(value);
    // A token whose header decodes to something asks for a key that nobody has.
    const wants = { 'e30.e30.': 'out:jwk-kid-mismatch', 'e30.e30.e30': 'out:jwk-kid-mismatch', 'bnVsbA.bnVsbA.': 'out:unexpected-error' };
    const stopped = value === 'bnVsbA.bnVsbA.';
    // A space makes the first word a scheme, and only Bearer counts.
    ask('T-06', `Authorization ${shown}`, { authorization: value }, value.includes(' ') ? MISSING : (wants[value] ?? 'out:token-invalid'));
    ask('T-06', `Bearer ${shown}`, { bearer: value }, wants[value] ?? 'out:token-invalid');
    ask('T-06', `session cookie ${shown}`, { cookies: `__session=${value}; __client_uat=${UAT}`, loose: stopped ? ['throws'] : undefined, note: stopped ? 'The SDK throws. Any refusal is right here.' : undefined },
      stopped ? 'throws:' : (wants[value] ?? 'out:token-invalid'));
  }
  for (const value of values.slice(0, 14)) {
    ask('T-06', `handshake token ${JSON.stringify(value)}`, { cookies: `__clerk_handshake=${value}` }, MISSING);
    ask('T-06', `suffixed session ${JSON.stringify(value)} beside a good one`, { cookies: `__session_naoXFJnI=${value}; __session=${session()}; __client_uat=${UAT}` }, 'in:user_1');
  }
}

function referrers() {
  const cookies = { __session: session(), __client_uat: UAT };
  for (const referer of ['https://accounts.evil.example/', 'https://accounts.example.com.evil.example/', 'https://clerk.example.com.evil.example/', 'https://evil.example/accounts.example.com', 'https://accounts.example.com@evil.example/', 'https://evil.example#accounts.example.com', 'https://accountsXexample.com/']) {
    ask('T-08', `referer ${referer}`, { cookies, referer }, 'hs:primary-domain-cross-origin-sync');
  }
  for (const referer of ['https://accounts.example.com/', 'https://clerk.example.com/', `${PORTAL}/`]) {
    ask('T-08', `referer ${referer}`, { cookies, referer }, 'in:user_1');
  }
}

// Every part of a good token counts: cut, lengthened, or changed in one letter it is refused.
function changedTokens() {
  const token = session();
  const [header, payload, signature] = token.split('.');
  const change = (text, at) => `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
  const rows = [
    ['first letter of the signature', `${header}.${payload}.${change(signature, 0)}`, 'token-invalid-signature'],
    ['middle letter of the signature', `${header}.${payload}.${change(signature, 170)}`, 'token-invalid-signature'],
    ['letter of the signature in the other case', `${header}.${payload}.${otherCase(signature)}`, 'token-invalid-signature'],
    ['signature in small letters', `${header}.${payload}.${signature.slice(0, -1).toLowerCase()}${signature.at(-1)}`, 'token-invalid-signature'],
    ['signature turned round', `${header}.${payload}.${[...signature.slice(0, -2)].reverse().join('')}${signature.slice(-2)}`, 'token-invalid-signature'],
    ['four letters cut off the signature', token.slice(0, -4), 'token-invalid'],
    ['six letters cut off the signature', token.slice(0, -6), 'token-invalid-signature'],
    ['half of the signature', `${header}.${payload}.${signature.slice(0, 172)}`, 'token-invalid-signature'],
    ['signature twice', `${header}.${payload}.${signature.slice(0, -2)}${signature.slice(0, -2)}`, 'token-invalid-signature'],
    ['first letter missing', token.slice(1), 'token-invalid'],
    ['parts in another order', `${payload}.${header}.${signature}`, 'jwk-kid-mismatch'],
    ['signature of another good token', `${header}.${payload}.${session({ sub: 'user_2' }).split('.')[2]}`, 'token-invalid-signature'],
  ];
  for (const [name, bearer, reason] of rows) {
    ask('T-14', `${name}, header`, { bearer }, `out:${reason}`);
    ask('T-14', `${name}, cookie`, { cookies: { __session: bearer, __client_uat: UAT } }, `out:${reason}`);
  }
  ask('T-14', 'the token unchanged', { bearer: token }, 'in:user_1');
}

function otherCase(text) {
  const at = text.search(/[a-z]/);
  return `${text.slice(0, at)}${text[at].toUpperCase()}${text.slice(at + 1)}`;
}

function caching() {
  const noStore = ['cache-control', 'x-clerk-auth-reason', 'x-clerk-auth-status'];
  ask('T-09', 'redirect of the cookie path is not stored', { cookies: { __client_uat: UAT } }, { state: 'hs:client-uat-but-no-session-token', headers: noStore });
  ask('T-09', 'redirect to the sign-in page of the primary is not stored', { configuration: 'satellite-development', url: 'https://satellite.example.net/?__clerk_synced=false' }, { state: 'hs:satellite-needs-syncing', headers: noStore });
  ask('T-09', 'redirect back to the satellite is not stored', { configuration: 'development', url: `${PORTAL}/?__clerk_redirect_url=https://satellite.example.net/` }, { state: 'hs:primary-responds-to-syncing', headers: noStore });
  ask('T-09', 'redirect for an expired header token is not stored', { bearer: expired() }, { state: 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie', headers: ['cache-control', 'x-clerk-auth-message', 'x-clerk-auth-reason', 'x-clerk-auth-status'] });
  ask('T-09', 'an answer with new cookies says nothing about storing in production', {
    cookies: { __clerk_handshake_nonce: 'n1' },
    bapi: [{ method: 'GET', path: '/v1/clients/handshake_payload', status: 200, body: { directives: [`__session=${session()}`] } }],
    note: 'The SDK sets no cache-control here; the answer that carries these cookies must not be stored.',
  }, { state: 'in:user_1', headers: ['access-control-allow-credentials', 'access-control-allow-origin'] });
}

function contradictions() {
  const cookies = { __session: session(), __client_uat: UAT };
  const rows = [
    ['no-secret', 'Missing Clerk Secret Key'],
    ['no-publishable-key', 'Publishable key is missing'],
    ['invalid-key-no-dot', 'Publishable key not valid'],
    ['satellite-production-no-domain', 'Missing domain and proxyUrl'],
  ];
  for (const [configuration, text] of rows) {
    ask('T-10', `${configuration}: cookie`, { configuration, cookies }, `throws:${text}`);
    ask('T-10', `${configuration}: header`, { configuration, bearer: session() }, `throws:${text}`);
    ask('T-10', `${configuration}: nobody`, { configuration }, `throws:${text}`);
  }
}

function keysFromTheToken() {
  const foreign = { key: 'foreign' };
  const rows = [
    ['jku', session({}, { jku: 'https://evil.example/jwks' }, foreign)],
    ['x5u', session({}, { x5u: 'https://evil.example/cert' }, foreign)],
    ['jwk', session({}, { jwk: { kty: 'RSA', n: 'AQAB', e: 'AQAB' } }, foreign)],
    ['x5c', session({}, { x5c: ['AAAA'] }, foreign)],
    ['iss', session({ iss: 'https://evil.example' }, {}, foreign)],
  ];
  for (const [name, token] of rows) {
    ask('T-16', `${name} does not name the key, header`, { bearer: token }, 'out:token-invalid-signature');
    ask('T-16', `${name} does not name the key, suffixed cookie`, { cookies: { '__session_#': token, '__client_uat_#': UAT } }, 'out:token-invalid-signature');
  }
  ask('T-16', 'jku in a good token is not followed', { bearer: session({}, { jku: 'https://evil.example/jwks' }) }, 'in:user_1');
  ask('T-16', 'kid with a path', { bearer: session({}, { kid: '../../evil' }) }, 'out:jwk-kid-mismatch');
  ask('T-16', 'kid an address', { bearer: session({}, { kid: 'https://evil.example/jwks' }) }, 'out:jwk-kid-mismatch');
  ask('T-13', 'no audience where one is configured', { configuration: 'production-audience', bearer: session(), note: 'The SDK accepts a token without audience even where one is configured.' }, 'in:user_1');
  ask('T-13', 'wrong audience where one is configured', { configuration: 'production-audience', bearer: session({ aud: 'x' }) }, 'out:token-verification-failed');
  for (const claim of ['exp', 'nbf', 'iat']) {
    for (const value of ['1767225650', null, [], {}, true, '']) {
      const want = claim === 'iat' && value !== '1767225650' && !isPlainObject(value)
        ? 'hs:session-token-iat-before-client-uat'
        : 'out:token-verification-failed';
      ask('T-11', `${claim} ${JSON.stringify(value)} in the cookie`, { cookies: { __session: session({ [claim]: value, ...(claim !== 'exp' && { exp: NOW + 50 }) }), __client_uat: UAT } }, want);
    }
  }
  for (const [name, token] of [['template', template()], ['M2M', m2mJwt()], ['OAuth', oauthJwt()], ['unknown category', session({}, { cat: 'cl_X' })]]) {
    ask('T-12', `${name} token in the cookie`, { cookies: { __session: token, __client_uat: UAT } }, 'out:token-type-mismatch');
    ask('T-12', `${name} token in the suffixed cookie`, { cookies: { '__session_#': token, '__client_uat_#': UAT } }, 'out:token-type-mismatch');
  }
  ask('T-12', 'template token as handshake token', { cookies: { __clerk_handshake: session({ handshake: [`__session=${session()}`] }, { cat: CATEGORY.template }) } }, MISSING);
  ask('T-12', 'session token that carries a handshake claim', { cookies: { __clerk_handshake: session({ handshake: [`__session=${session()}`] }) }, note: 'Session tokens and handshake tokens share a category.' }, 'in:user_1');
}

function isPlainObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refreshing() {
  const setup = { cookies: { __session: expired(), __client_uat: NOW - 500, '__refresh_#': 'r1' } };
  const refused = [{ method: 'POST', path: '/v1/sessions/sess_1/refresh', status: 401, body: { errors: [{ code: 'refresh_token_reused', message: 'm' }] } }];
  ask('T-20', 'a refresh token that was used before', { ...setup, bapi: refused }, 'hs:session-token-expired-refresh-refresh_token_reused');
  ask('T-20', 'a refresh token that was used before, call', { ...setup, bapi: refused, dest: 'empty' }, 'out:session-token-expired-refresh-refresh_token_reused');
  ask('T-20', 'a refresh token that is good', { ...setup, bapi: [{ method: 'POST', path: '/v1/sessions/sess_1/refresh', status: 200, body: { object: 'cookies', cookies: [`__session=${session()}`, '__refresh_naoXFJnI=r2'] } }] }, { state: 'in:user_1', cookies: 2 });
}
