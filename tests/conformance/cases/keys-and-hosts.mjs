// Publishable keys, hosts derived from them, secrets, key sets and the local PEM key.

import { ask } from '../lib/build.mjs';
import { INVALID_PUBLISHABLE_KEYS, PADDED_HOST, configurations } from '../lib/configurations.mjs';
import { NOW, PORTAL, cookieSuffix, jwkOf, mint, session, sessionClaims, sessionHeader } from '../lib/tokens.mjs';

const signedIn = { __session: session(), __client_uat: NOW - 100 };

publishableKeys();
hosts();
secrets();
keySets();
pem();

function publishableKeys() {
  for (const [name, key] of Object.entries(INVALID_PUBLISHABLE_KEYS)) {
    const text = key === '' ? 'Publishable key is missing' : 'Publishable key not valid';
    ask('1.1', `publishable key: ${name}`, { configuration: `invalid-key-${name}`, cookies: signedIn }, `throws:${text}`);
  }
  ask('1.1', 'publishable key: absent', { configuration: 'no-publishable-key', cookies: signedIn }, 'throws:Publishable key is missing');
  ask('1.1', 'publishable key: absent, only API keys accepted', { configuration: 'no-publishable-key', accepts: 'api_key' }, 'out:No token in header');
  ask('1.1', 'publishable key: absent, only M2M tokens accepted', { configuration: 'no-publishable-key', accepts: 'm2m_token' }, 'out:No token in header');
  ask('1.1', 'publishable key: absent, only OAuth tokens accepted', { configuration: 'no-publishable-key', accepts: 'oauth_token' }, 'throws:Publishable key is missing');

  const token = session({ iss: `https://${PADDED_HOST}` });
  const padded = cookieSuffix(configurations['production-padded'].publishable_key);
  for (const configuration of ['production-padded', 'production-unpadded']) {
    ask('1.1', `${configuration}: the host is read`, { configuration, cookies: { __client_uat: NOW } }, 'hs:client-uat-but-no-session-token');
    ask('1.1', `${configuration}: signed in by suffixed cookies`, { configuration, cookies: { '__session_#': token, '__client_uat_#': NOW - 100 } }, 'in:user_1');
  }
  ask('3.2', 'the suffix is of the key as it is written: padded cookies, key without padding', {
    configuration: 'production-unpadded',
    cookies: { [`__session_${padded}`]: token, [`__client_uat_${padded}`]: NOW - 100 },
  }, 'out:session-token-and-uat-missing');
}

function hosts() {
  const rows = [
    ['production', PORTAL, 'https://clerk.example.com/v1/client/handshake'],
    ['development', PORTAL, 'https://clerk.example.com/v1/client/handshake'],
    ['development-accounts-dev', PORTAL, 'https://foo-bar-13.clerk.accounts.dev/v1/client/handshake'],
    ['production-proxy', PORTAL, 'https://portal.example.com/__clerk/v1/client/handshake'],
    ['production-proxy-slash', PORTAL, 'https://portal.example.com/__clerk/v1/client/handshake'],
    ['production-proxy-slashes', PORTAL, 'https://portal.example.com/__clerk/v1/client/handshake'],
    ['production-proxy-relative', PORTAL, 'https://portal.example.com/__clerk/v1/client/handshake'],
    ['production-proxy-relative', 'http://localhost:3000', 'http://localhost:3000/__clerk/v1/client/handshake'],
    ['production-proxy-root', PORTAL, 'https://proxy.example.com/v1/client/handshake'],
    ['production-proxy-port', PORTAL, 'https://proxy.example.com:8443/a/b/v1/client/handshake'],
    ['production-proxy-http', PORTAL, 'http://proxy.internal/clerk/v1/client/handshake'],
    ['production-proxy-and-domain', 'https://satellite.example.net', 'https://satellite.example.net/__clerk/v1/client/handshake'],
    ['development-proxy', PORTAL, 'https://portal.example.com/__clerk/v1/client/handshake'],
    ['production-domain', PORTAL, 'https://clerk.example.com/v1/client/handshake'],
    ['development-domain', PORTAL, 'https://clerk.example.com/v1/client/handshake'],
    ['satellite-production', 'https://satellite.example.net', 'https://clerk.satellite.example.net/v1/client/handshake'],
    ['satellite-development', 'https://satellite.example.net', 'https://clerk.example.com/v1/client/handshake'],
  ];
  for (const [configuration, origin, base] of rows) {
    const url = `${origin}/portal`;
    const cookies = { __client_uat: NOW, __clerk_db_jwt: configuration.includes('development') ? 'dvb_1' : undefined };
    ask('1.2', `${configuration} at ${origin}: base of the redirect`, { configuration, url, cookies }, {
      state: 'hs:client-uat-but-no-session-token',
      base,
    });
  }
  const issuers = [
    ['production', 'https://clerk.example.com', true],
    ['production', 'http://clerk.example.com', true],
    ['production', 'clerk.example.com', true],
    ['production', 'HTTPS://clerk.example.com', true],
    ['production', 'https://https://clerk.example.com', true],
    ['production', 'https://clerk.example.com/', false],
    ['production', 'https://CLERK.example.com', false],
    ['production', 'https://clerk.example.com.evil.example', false],
    ['production', 'https://clerk.example.net', false],
    ['production', 'ftp://clerk.example.com', false],
    ['production-proxy', 'https://clerk.example.com', true],
    ['production-proxy', 'https://portal.example.com/__clerk', false],
    ['production-domain', 'https://clerk.portal.example.com', false],
    ['satellite-production', 'https://clerk.satellite.example.net', true],
    ['satellite-production', 'https://clerk.example.com', false],
    ['satellite-development', 'https://clerk.example.com', true],
    ['satellite-development', 'https://clerk.satellite.example.net', false],
  ];
  for (const [configuration, iss, own] of issuers) {
    // A foreign issuer in the plain cookie makes the suffixed cookies count, and there are none.
    const development = configuration.includes('development');
    const cookies = { __session: session({ iss }), __client_uat: NOW - 100, __clerk_db_jwt: 'dvb_1', '__clerk_db_jwt_#': 'dvb_1' };
    ask('1.2', `${configuration}: is ${iss} the own issuer`, { configuration, cookies, ...(development && { dest: 'empty' }) },
      own ? 'in:user_1' : 'out:session-token-and-uat-missing');
  }
}

function secrets() {
  ask('1.3', 'no secret key', { configuration: 'no-secret', cookies: signedIn }, 'throws:Missing Clerk Secret Key');
  ask('1.3', 'no secret key, but a PEM', { configuration: 'no-secret-pem', cookies: signedIn }, 'throws:Missing Clerk Secret Key');
  ask('1.3', 'no secret key, any token accepted', { configuration: 'no-secret', accepts: 'any' }, 'throws:Missing Clerk Secret Key');
  ask('1.3', 'no secret key, a list accepted that has only M2M', { configuration: 'machine-secret-only', accepts: ['m2m_token'], bearer: 'mt_1' }, 'throws:Missing Clerk Secret Key');
  ask('1.3', 'keys of different instance types are not noticed', { configuration: 'mixed-keys', cookies: signedIn }, 'in:user_1');
}

function keySets() {
  const failing = (answer) => [{ method: 'GET', path: '/v1/jwks', ...answer }];
  const errors = (code) => ({ errors: [{ code, message: `message of ${code}`, long_message: 'long' }] });
  const good = jwkOf('ins_conformance');
  const rows = [
    ['empty list', { status: 200, body: { keys: [] } }, 'jwk-remote-failed-to-load'],
    ['no list', { status: 200, body: {} }, 'jwk-remote-failed-to-load'],
    ['null list', { status: 200, body: { keys: null } }, 'jwk-remote-failed-to-load'],
    ['401 with clerk_key_invalid', { status: 401, body: errors('clerk_key_invalid') }, 'secret-key-invalid'],
    ['404 with clerk_key_invalid', { status: 404, body: errors('clerk_key_invalid') }, 'secret-key-invalid'],
    ['200 with clerk_key_invalid', { status: 200, body: errors('clerk_key_invalid') }, 'jwk-remote-failed-to-load'],
    ['401 with another code', { status: 401, body: errors('authentication_invalid') }, 'jwk-remote-failed-to-load'],
    ['clerk_key_invalid as second error', { status: 401, body: { errors: [...errors('other').errors, ...errors('clerk_key_invalid').errors] } }, 'secret-key-invalid'],
    ['429', { status: 429, body: errors('too_many_requests') }, 'jwk-remote-failed-to-load'],
    ['500 with JSON', { status: 500, body: { errors: [] } }, 'jwk-remote-failed-to-load'],
    ['500 without errors', { status: 500, body: {} }, 'jwk-remote-failed-to-load'],
    ['503 with markup', { status: 503, body: '<html></html>', content_type: 'text/html' }, 'unexpected-error'],
    ['200 with markup', { status: 200, body: '<html></html>', content_type: 'text/html' }, 'unexpected-error'],
    ['200 with half of the JSON', { status: 200, body: '{"keys":[', content_type: 'application/json' }, 'unexpected-error'],
    ['200 with JSON of another content type', { status: 200, body: JSON.stringify({ keys: [good] }), content_type: 'text/plain' }, null],
    ['network error', { error: true }, 'unexpected-error'],
    ['other kid', { status: 200, body: { keys: [jwkOf('ins_other')] } }, 'jwk-kid-mismatch'],
    ['key twice with the same kid, the last wins: good', { status: 200, body: { keys: [{ ...jwkOf('ins_other'), kid: 'ins_conformance' }, good] } }, null],
    ['key twice with the same kid, the last wins: wrong', { status: 200, body: { keys: [good, { ...jwkOf('ins_other'), kid: 'ins_conformance' }] } }, 'token-invalid-signature'],
    ['key without alg and use', { status: 200, body: { keys: [{ kty: 'RSA', kid: 'ins_conformance', n: good.n, e: good.e }] } }, null],
    ['key with alg RS512', { status: 200, body: { keys: [{ ...good, alg: 'RS512' }] } }, 'token-verification-failed'],
    ['key with use enc', { status: 200, body: { keys: [{ ...good, use: 'enc' }] } }, 'token-verification-failed'],
    ['key without a modulus', { status: 200, body: { keys: [{ ...good, n: undefined }] } }, 'token-verification-failed'],
    ['key of type EC', { status: 200, body: { keys: [{ ...good, kty: 'EC' }] } }, 'token-verification-failed'],
    ['extra members are ignored', { status: 200, body: { keys: [{ ...good, x5u: 'https://evil.example' }], more: 1 } }, null],
  ];
  for (const [name, answer, reason] of rows) {
    const loose = reason === 'token-verification-failed' ? ['message', 'headers'] : undefined;
    const note = name === 'network error' || name.includes('markup') || name.includes('half')
      ? 'The SDK does not call this a failure to load the key set: the error is not one of its own, so it becomes unexpected-error.'
      : undefined;
    const want = reason ? `out:${reason}` : 'in:user_1';
    ask('1.5', `${name}, header`, { bearer: session(), bapi: failing(answer), dest: null, loose, note }, want);
    ask('1.5', `${name}, cookie`, { cookies: signedIn, bapi: failing(answer), loose, note }, want);
  }
  const kids = [
    ['of the other key', 'ins_other', 'token-invalid-signature'],
    ['unknown', 'ins_unknown', 'jwk-kid-mismatch'],
    ['absent', undefined, 'jwk-kid-mismatch'],
    ['null', null, 'jwk-kid-mismatch'],
    ['empty', '', 'jwk-kid-mismatch'],
    ['a number', 5, 'jwk-kid-mismatch'],
    ['in other letters', 'INS_CONFORMANCE', 'jwk-kid-mismatch'],
    ['a name that every JavaScript object has', 'constructor', 'token-verification-failed'],
    ['another name that every JavaScript object has', '__proto__', 'token-verification-failed'],
  ];
  for (const [name, kid, reason] of kids) {
    const inherited = name.includes('JavaScript');
    ask('1.5', `kid ${name}`, {
      bearer: session({}, { kid }),
      loose: inherited ? ['message', 'headers'] : undefined,
      note: inherited ? 'An accident of the SDK: its cache is a plain object. In strict such an id is unknown.' : undefined,
    }, `out:${reason}`);
  }
  ask('1.5', 'second key of the set', { bearer: mint(sessionHeader({ kid: 'ins_other' }), sessionClaims(), { key: 'ins_other' }) }, 'in:user_1');
  ask('1.5', 'key that is in no set', { bearer: session({}, {}, { key: 'foreign' }) }, 'out:token-invalid-signature');
}

function pem() {
  const down = [{ method: 'GET', path: '/v1/jwks', error: true }];
  ask('1.6', 'PEM before the secret key, no network', { configuration: 'production-pem', bearer: session(), bapi: down }, 'in:user_1');
  ask('1.6', 'PEM, cookie, no network', { configuration: 'production-pem', cookies: signedIn, bapi: down }, 'in:user_1');
  ask('1.6', 'PEM, the kid is not compared', { configuration: 'production-pem', bearer: session({}, { kid: 'anything' }), bapi: down }, 'in:user_1');
  ask('1.6', 'PEM, no kid', { configuration: 'production-pem', bearer: session({}, { kid: undefined }), bapi: down }, 'in:user_1');
  ask('1.6', 'PEM of another key', { configuration: 'production-pem-other', bearer: session() }, 'out:token-invalid-signature');
  ask('1.6', 'PEM of another key, token signed by it', { configuration: 'production-pem-other', bearer: session({}, {}, { key: 'ins_other' }) }, 'in:user_1');
  for (const hash of ['RS384', 'RS512']) {
    ask('1.6', `PEM, ${hash}`, { configuration: 'production-pem', bearer: session({}, { alg: hash }, { hash }), loose: ['message', 'headers'] }, 'out:token-verification-failed');
  }
  ask('1.6', 'PEM with M2M tokens only and no secret', { configuration: 'no-secret-pem', accepts: 'm2m_token', bearer: session() },
    'throws:Machine token authentication requires either a Machine secret key or a Clerk secret key');
}
