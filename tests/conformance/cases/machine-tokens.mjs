// API keys, OAuth access tokens and machine-to-machine tokens, and which requests may use them.

import { ask } from '../lib/build.mjs';
import { CATEGORY, NOW, PORTAL, expired, m2mJwt, mint, oauthClaims, oauthJwt, session, template } from '../lib/tokens.mjs';

const API_KEY = { object: 'api_key', id: 'ak_id', type: 'api_key', name: 'ci', subject: 'user_1', scopes: ['read', 'write'], claims: { a: 1 }, revoked: false, revocation_reason: null, expired: false, expiration: null, created_by: 'user_1', description: null, last_used_at: null, created_at: 1, updated_at: 1 };
const M2M = { object: 'machine_to_machine_token', id: 'mt_id', subject: 'mch_1', scopes: ['mch_2'], claims: null, revoked: false, revocation_reason: null, expired: false, expiration: null, created_at: 1, updated_at: 1 };
const OAUTH = { object: 'clerk_idp_oauth_access_token', id: 'oat_id', client_id: 'client_1', type: 'oauth:access_token', subject: 'user_1', scopes: ['email'], revoked: false, revocation_reason: null, expired: false, expiration: null, created_at: 1, updated_at: 1 };

const kinds = {
  api_key: { token: 'ak_secret', path: '/api_keys/verify', body: API_KEY, missing: 'API key not found' },
  m2m_token: { token: 'mt_secret', path: '/m2m_tokens/verify', body: M2M, missing: 'Machine token not found' },
  oauth_token: { token: 'oat_secret', path: '/oauth_applications/access_tokens/verify', body: OAUTH, missing: 'OAuth token not found' },
};
const answer = (type, status, body) => [{ method: 'POST', path: kinds[type].path, status, body }];
const every = Object.keys(kinds);
const DOTTED = 'An opaque token of three parts is read as a JWT and is refused as an M2M token, whatever its prefix.';

classification();
opaque();
answers();
m2mJwts();
oauthJwts();
accepting();
matrix();

function classification() {
  const rows = [
    ['mt_', 'm2m_token', 'mt_'],
    ['mt_1', 'm2m_token', 'mt_1'],
    ['oat_1', 'oauth_token', 'oat_1'],
    ['ak_1', 'api_key', 'ak_1'],
    ['MT_1', null, 'MT_1'],
    ['Oat_1', null, 'Oat_1'],
    ['AK_1', null, 'AK_1'],
    ['mt-1', null, 'mt-1'],
    ['mt', null, 'mt'],
    ['xak_1', null, 'xak_1'],
    ['sk_live_1', null, 'sk_live_1'],
    ['ak_ with dots like a JWT', 'api_key', 'ak_a.b.c'],
    ['mt_ with dots like a JWT', 'm2m_token', 'mt_a.b.c'],
    ['M2M JWT', 'm2m_token', m2mJwt()],
    ['M2M JWT, session category', 'm2m_token', session({ sub: 'mch_1' })],
    ['OAuth JWT', 'oauth_token', oauthJwt()],
    ['OAuth JWT, long type', 'oauth_token', oauthJwt({}, { typ: 'application/at+jwt' })],
    ['OAuth JWT with a machine subject is M2M', 'm2m_token', oauthJwt({ sub: 'mch_1' })],
    ['JWT of type AT+JWT', null, oauthJwt({}, { typ: 'AT+JWT' })],
    ['JWT of type at+jwt with padding', null, `${oauthJwt()}==`],
    ['M2M JWT with padding', null, `${m2mJwt()}==`],
    ['JWT with subject a number', null, session({ sub: 5 })],
    ['JWT with subject a list', null, session({ sub: ['mch_1'] })],
    ['JWT with subject null', null, session({ sub: null })],
    ['JWT with subject MCH_1', null, session({ sub: 'MCH_1' })],
    ['session JWT', null, session()],
  ];
  for (const [name, type, bearer] of rows) {
    for (const accepts of every) {
      if (type !== accepts) {
        ask('4.1', `${name}, ${accepts} accepted`, { accepts, bearer, dest: null }, { state: 'out:token-type-mismatch', tokenType: accepts });
      }
    }
    // The type shows in the answer: the Backend API is not reachable, JWT forms need no call.
    const dotted = bearer.includes('_a.b');
    const jwt = bearer.split('.').length === 3 && !dotted;
    if (type && dotted) {
      ask('4.1', `${name}, ${type} accepted`, { accepts: type, bearer, dest: null, note: DOTTED }, { state: 'out:token-invalid', tokenType: 'm2m_token' });
      ask('4.1', `${name}, any accepted`, { accepts: 'any', bearer, dest: null, note: DOTTED }, { state: 'out:token-invalid', tokenType: 'm2m_token' });
    }
    if (type && !jwt && !dotted) {
      ask('4.1', `${name}, any accepted`, { accepts: 'any', bearer, dest: null }, { state: 'out:unexpected-error', tokenType: type });
    }
    if (type && jwt && !name.includes('category') && !name.includes('machine subject')) {
      ask('4.1', `${name}, any accepted`, { accepts: 'any', bearer, dest: null }, { state: 'in', tokenType: type });
    }
  }
}

function opaque() {
  for (const type of every) {
    const { token, body, missing } = kinds[type];
    ask('4.2', `${type}: verified`, { accepts: type, bearer: token, dest: null, bapi: answer(type, 200, body) }, { state: 'in', tokenType: type });
    ask('4.2', `${type}: verified, any accepted`, { accepts: 'any', bearer: token, dest: null, bapi: answer(type, 200, body) }, { state: 'in', tokenType: type });
    ask('4.2', `${type}: verified, without scheme`, { accepts: type, authorization: token, dest: null, bapi: answer(type, 200, body) }, { state: 'in', tokenType: type });
    ask('4.2', `${type}: verified, development`, { configuration: 'development', accepts: type, bearer: token, bapi: answer(type, 200, body) }, { state: 'in', tokenType: type });
    ask('4.2', `${type}: verified, POST`, { method: 'POST', accepts: type, bearer: token, bapi: answer(type, 200, body) }, { state: 'in', tokenType: type });
    ask('4.2', `${type}: a version in the path is not used`, { accepts: type, bearer: token, dest: null, bapi: [{ method: 'POST', path: `/v1${kinds[type].path}`, status: 200, body }] }, 'out:unexpected-error');
    const errors = (code) => ({ errors: [{ code, message: `message of ${code}` }] });
    const rows = [
      ['401', { status: 401, body: errors('clerk_key_invalid') }, 'secret-key-invalid', 'message of clerk_key_invalid (code=secret-key-invalid, status=401)'],
      ['401 without errors', { status: 401, body: { errors: [] } }, 'secret-key-invalid', 'Invalid secret key (code=secret-key-invalid, status=401)'],
      ['401 markup', { status: 401, body: '<html>', content_type: 'text/html' }, 'secret-key-invalid', 'Invalid secret key (code=secret-key-invalid, status=401)'],
      ['404', { status: 404, body: errors('not_found') }, 'token-invalid', `${missing} (code=token-invalid, status=404)`],
      ['404 without a body', { status: 404 }, 'token-invalid', `${missing} (code=token-invalid, status=404)`],
      ['400', { status: 400, body: errors('bad') }, 'unexpected-error', 'Unexpected error (code=unexpected-error, status=400)'],
      ['403', { status: 403, body: errors('forbidden') }, 'unexpected-error', 'Unexpected error (code=unexpected-error, status=403)'],
      ['422', { status: 422, body: errors('x') }, 'unexpected-error', 'Unexpected error (code=unexpected-error, status=422)'],
      ['429', { status: 429, body: errors('too_many_requests') }, 'unexpected-error', 'Unexpected error (code=unexpected-error, status=429)'],
      ['500', { status: 500, body: errors('internal') }, 'unexpected-error', 'Unexpected error (code=unexpected-error, status=500)'],
      ['network error', { error: true }, 'unexpected-error', 'Unexpected error (code=unexpected-error, status=n/a)'],
      ['half of the JSON', { status: 200, body: '{"object":' }, 'unexpected-error', 'Unexpected error (code=unexpected-error, status=n/a)'],
    ];
    for (const [name, reply, reason, message] of rows) {
      const bapi = [{ method: 'POST', path: kinds[type].path, ...reply }];
      ask('4.3', `${type}: ${name}`, { accepts: type, bearer: token, dest: null, bapi }, { state: `out:${reason}`, message, tokenType: type });
    }
    const dead = [
      ['revoked', { revoked: true, revocation_reason: 'lost' }],
      ['expired', { expired: true }],
      ['expiration in the past', { expiration: 1000 }],
      ['not active', { active: false }],
    ];
    for (const [name, change] of dead) {
      const note = 'The SDK does not look at this: it trusts the status 200.';
      ask('4.2', `${type}: ${name}`, { accepts: type, bearer: token, dest: null, note, bapi: answer(type, 200, { ...body, ...change }) }, { state: 'in', tokenType: type });
    }
    for (const secret of [`${token}\u00fc`, `${token}"\\`, `${token}/../x`, `${token}%2f`]) {
      ask('4.2', `${type}: the secret ${JSON.stringify(secret)} goes into the body as it is`, { accepts: type, bearer: secret, dest: null, bapi: answer(type, 200, body) }, 'in');
    }
  }
  const machine = { accepts: 'm2m_token', bearer: 'mt_secret', dest: null, bapi: answer('m2m_token', 200, M2M) };
  for (const configuration of ['production', 'machine-secret-only', 'production-machine-secret']) {
    ask('4.2', `m2m_token: which key is used, ${configuration}`, { ...machine, configuration }, 'in');
  }
  ask('4.2', 'm2m_token: machine secret, any accepted', { ...machine, accepts: 'any', configuration: 'production-machine-secret' }, 'in');
  ask('4.2', 'api_key: machine secret is not used', { configuration: 'production-machine-secret', accepts: 'api_key', bearer: 'ak_secret', dest: null, bapi: answer('api_key', 200, API_KEY) }, 'in');
}

function answers() {
  const rows = [
    ['api_key', 'subject an organization', { subject: 'org_1' }, { user_id: null, org_id: 'org_1' }],
    ['api_key', 'subject a machine', { subject: 'mch_1' }, { user_id: null, org_id: null, subject: 'mch_1' }],
    ['api_key', 'subject in capitals', { subject: 'USER_1' }, { user_id: null, org_id: null }],
    ['api_key', 'no scopes', { scopes: [] }, { scopes: [] }],
    ['api_key', 'scopes absent', { scopes: undefined }, { scopes: null }],
    ['api_key', 'claims null', { claims: null }, { claims: null }],
    ['api_key', 'more fields', { admin: true }, { user_id: 'user_1' }],
    ['m2m_token', 'claims', { claims: { a: [1] } }, { claims: { a: [1] }, machine_id: 'mch_1' }],
    ['m2m_token', 'subject of another kind', { subject: 'user_1' }, { machine_id: 'user_1', user_id: null }],
    ['oauth_token', 'subject of another kind', { subject: 'mch_1' }, { user_id: 'mch_1', client_id: 'client_1' }],
    ['oauth_token', 'no scopes', { scopes: [] }, { scopes: [] }],
  ];
  for (const [type, name, change, auth] of rows) {
    ask('4.6', `${type}: ${name}`, { accepts: type, bearer: kinds[type].token, dest: null, bapi: answer(type, 200, { ...kinds[type].body, ...change }) }, { state: 'in', auth });
  }
  for (const type of every) {
    const note = 'The SDK believes any answer with status 200. In strict one that names neither token nor subject is none.';
    const strange = [
      ['object of another kind', { ...kinds[type].body, object: 'user_like' }],
      ['empty object', {}],
    ];
    for (const [name, body] of strange) {
      ask('4.6', `${type}: answered with ${name}`, { accepts: type, bearer: kinds[type].token, dest: null, note, loose: ['auth_throws'], bapi: answer(type, 200, body) }, 'in');
    }
    ask('4.6', `${type}: answered with null`, { accepts: type, bearer: kinds[type].token, dest: null, note, bapi: answer(type, 200, null) }, 'out:unexpected-error');
    ask('4.6', `${type}: answered with no content`, { accepts: type, bearer: kinds[type].token, dest: null, note, loose: ['auth_throws'], bapi: [{ method: 'POST', path: kinds[type].path, status: 204 }] }, 'in');
  }
}

function m2mJwts() {
  const verify = (row, name, bearer, setup, want) => {
    ask(row, `M2M JWT: ${name}`, { accepts: 'm2m_token', bearer, dest: null, ...setup }, want);
  };
  const categories = [
    ['M2M', CATEGORY.m2m, true],
    ['absent', undefined, true],
    ['session', CATEGORY.session, false],
    ['template', CATEGORY.template, false],
    ['no information', CATEGORY.ignore, false],
    ['unknown', 'cl_X', false],
    ['null', null, false],
    ['empty', '', false],
  ];
  for (const [name, cat, good] of categories) {
    verify('4.4', `category ${name}`, m2mJwt({}, { cat }), {}, good ? { state: 'in', auth: { machine_id: 'mch_1', id: 'mt_1' } } : { state: 'out:token-invalid', message: 'Invalid M2M JWT category. (code=token-invalid, status=n/a)' });
  }
  verify('4.4', 'category before the key', m2mJwt({}, { cat: CATEGORY.session, kid: 'ins_x' }), {}, 'out:token-invalid');

  const failed = 'out:token-verification-failed';
  const rows = [
    ['expired', m2mJwt({ exp: NOW - 100 }), {}, failed],
    ['expired inside the skew', m2mJwt({ exp: NOW - 4 }), {}, 'in'],
    ['expired at the edge of the skew', m2mJwt({ exp: NOW - 5 }), {}, failed],
    ['expired, skew of a minute', m2mJwt({ exp: NOW - 59 }), { configuration: 'production-skew-60000' }, 'in'],
    ['not valid yet', m2mJwt({ nbf: NOW + 100 }), {}, failed],
    ['issued in the future', m2mJwt({ iat: NOW + 100 }), {}, failed],
    ['no exp', m2mJwt({ exp: undefined }), {}, failed],
    ['no iat', m2mJwt({ iat: undefined }), {}, 'in'],
    ['wrong signature', m2mJwt({}, {}, { key: 'foreign' }), {}, failed],
    ['unknown key', m2mJwt({}, { kid: 'ins_x' }), {}, failed],
    ['algorithm none', m2mJwt({}, { alg: 'none' }), {}, failed],
    ['algorithm HS256', m2mJwt({}, { alg: 'HS256' }), {}, failed],
    ['no type', m2mJwt({}, { typ: undefined }), {}, 'in'],
    ['wrong type', m2mJwt({}, { typ: 'M2M' }), {}, failed],
    ['type at+jwt', m2mJwt({}, { typ: 'at+jwt' }), {}, failed],
    ['key set unreachable', m2mJwt(), { bapi: [{ method: 'GET', path: '/v1/jwks', error: true }], loose: ['message', 'headers'] }, failed],
    ['key set fails', m2mJwt(), { bapi: [{ method: 'GET', path: '/v1/jwks', status: 500, body: {} }] }, failed],
    ['secret key refused', m2mJwt(), { bapi: [{ method: 'GET', path: '/v1/jwks', status: 401, body: { errors: [{ code: 'clerk_key_invalid', message: 'm' }] } }] }, failed],
    ['local key', m2mJwt(), { configuration: 'production-pem' }, 'in'],
    ['local key of another instance', m2mJwt(), { configuration: 'production-pem-other' }, failed],
    ['only a machine secret', m2mJwt(), { configuration: 'machine-secret-only' }, failed],
    ['only a machine secret and a local key', m2mJwt(), { configuration: 'machine-secret-pem' }, 'in'],
    ['no secret at all', m2mJwt(), { configuration: 'no-secret' }, 'throws:Machine token authentication requires'],
    ['authorized parties configured', m2mJwt(), { configuration: 'production-azp' }, failed],
    ['authorized parties configured, right party', m2mJwt({ azp: PORTAL }), { configuration: 'production-azp' }, 'in'],
    ['audience configured, list of others', m2mJwt({ aud: ['mch_9'] }), { configuration: 'production-audience' }, failed],
    ['audience configured, none in the token', m2mJwt(), { configuration: 'production-audience' }, 'in'],
    ['signature with padding is no JWT here', `${m2mJwt()}==`, {}, 'out:token-type-mismatch'],
  ];
  for (const [name, bearer, setup, want] of rows) {
    verify('4.4', name, bearer, setup, want);
  }

  const fields = [
    ['scopes of text', { scopes: 'mch_2 mch_3' }, { scopes: ['mch_2', 'mch_3'], claims: { scopes: 'mch_2 mch_3' } }],
    ['scopes empty', { scopes: '' }, { scopes: [''], claims: { scopes: '' } }],
    ['scopes with two spaces', { scopes: 'a  b' }, { scopes: ['a', '', 'b'] }],
    ['scopes before aud', { scopes: 'a', aud: ['b'] }, { scopes: ['a'], claims: { scopes: 'a', aud: ['b'] } }],
    ['aud instead of scopes', { scopes: undefined, aud: ['mch_2'] }, { scopes: ['mch_2'], claims: { aud: ['mch_2'] } }],
    ['aud a text', { scopes: undefined, aud: 'mch_2' }, { scopes: 'mch_2' }],
    ['scopes null, aud a list', { scopes: null, aud: ['mch_2'] }, { scopes: ['mch_2'] }],
    ['neither', { scopes: undefined }, { scopes: [], claims: null }],
    ['custom claims', { scopes: undefined, a: 1, b: { c: null } }, { claims: { a: 1, b: { c: null } } }],
    ['session-like claims are custom', { scopes: undefined, sid: 'sess_1', azp: 'x', v: 2 }, { claims: { azp: 'x', sid: 'sess_1', v: 2 } }],
    ['no jti', { jti: undefined }, { id: '' }],
    ['jti a number', { jti: 5 }, { id: 5 }],
  ];
  for (const [name, claims, auth] of fields) {
    const wanted = name.includes('session-like') ? { scopes: [] } : auth;
    verify('4.4', name, m2mJwt(claims), {}, { state: 'in', auth: wanted });
  }
  for (const [name, scopes] of [['a list', ['mch_2']], ['a number', 5], ['an object', {}]]) {
    ask('4.4', `M2M JWT: scopes ${name}`, { accepts: 'm2m_token', bearer: m2mJwt({ scopes }), dest: null, note: 'The SDK throws. Any refusal is right here.', loose: ['throws'] }, 'throws:');
  }
}

function oauthJwts() {
  const verify = (name, bearer, setup, want) => ask('4.4', `OAuth JWT: ${name}`, { accepts: 'oauth_token', bearer, dest: null, ...setup }, want);
  const failed = 'out:token-verification-failed';
  const rows = [
    ['good', oauthJwt(), {}, { state: 'in', auth: { id: 'oat_1', user_id: 'user_1', client_id: 'client_1', scopes: ['email', 'profile'] } }],
    ['long type', oauthJwt({}, { typ: 'application/at+jwt' }), {}, 'in'],
    ['type JWT', oauthJwt({}, { typ: 'JWT' }), {}, 'out:token-type-mismatch'],
    ['no type', oauthJwt({}, { typ: undefined }), {}, 'out:token-type-mismatch'],
    ['session category', oauthJwt({}, { cat: CATEGORY.session }), {}, 'in'],
    ['template category', oauthJwt({}, { cat: CATEGORY.template }), {}, 'in'],
    ['M2M category', oauthJwt({}, { cat: CATEGORY.m2m }), {}, 'in'],
    ['expired', oauthJwt({ exp: NOW - 100 }), {}, failed],
    ['expired at the edge of the skew', oauthJwt({ exp: NOW - 5 }), {}, failed],
    ['expired inside the skew', oauthJwt({ exp: NOW - 4 }), {}, 'in'],
    ['not valid yet', oauthJwt({ nbf: NOW + 100 }), {}, failed],
    ['wrong signature', oauthJwt({}, {}, { key: 'foreign' }), {}, failed],
    ['unknown key', oauthJwt({}, { kid: 'ins_x' }), {}, failed],
    ['algorithm none', oauthJwt({}, { alg: 'none' }), {}, failed],
    ['subject absent', oauthJwt({ sub: undefined }), {}, failed],
    ['subject a number', oauthJwt({ sub: 5 }), {}, failed],
    ['local key', oauthJwt(), { configuration: 'production-pem' }, 'in'],
    ['authorized parties configured', oauthJwt(), { configuration: 'production-azp' }, failed],
    ['audience configured, other', oauthJwt({ aud: 'x' }), { configuration: 'production-audience' }, failed],
    ['audience configured, right', oauthJwt({ aud: 'portal-api' }), { configuration: 'production-audience' }, 'in'],
    ['scp list', oauthJwt({ scp: ['a', 'b'], scope: 'c' }), {}, { state: 'in', auth: { scopes: ['a', 'b'] } }],
    ['scp null', oauthJwt({ scp: null, scope: 'c d' }), {}, { state: 'in', auth: { scopes: ['c', 'd'] } }],
    ['scp empty', oauthJwt({ scp: [], scope: 'c' }), {}, { state: 'in', auth: { scopes: [] } }],
    ['scp a text', oauthJwt({ scp: 'a b' }), {}, { state: 'in', auth: { scopes: 'a b' } }],
    ['no scope', oauthJwt({ scope: undefined }), {}, { state: 'in', auth: { scopes: [] } }],
    ['scope empty', oauthJwt({ scope: '' }), {}, { state: 'in', auth: { scopes: [''] } }],
    ['no client', oauthJwt({ client_id: undefined }), {}, { state: 'in', auth: { client_id: '' } }],
    ['no jti', oauthJwt({ jti: undefined }), {}, { state: 'in', auth: { id: '' } }],
  ];
  for (const [name, bearer, setup, want] of rows) {
    verify(name, bearer, setup, want);
  }
  verify('scope a list', oauthJwt({ scope: ['a'] }), { note: 'The SDK throws. Any refusal is right here.', loose: ['throws'] }, 'throws:');
  verify('payload with two subjects, the last one a machine', mint({ alg: 'RS256', kid: 'ins_conformance', typ: 'at+jwt' }, JSON.stringify(oauthClaims({ sub: undefined })).replace('{', '{"sub":"user_1","sub":"mch_1",')), {}, { state: 'out:token-type-mismatch' });
}

function accepting() {
  const cookies = { __session: session(), __client_uat: NOW - 100 };
  for (const accepts of every) {
    ask('4.5', `only ${accepts}: nothing`, { accepts }, { state: 'out:No token in header', tokenType: accepts });
    ask('4.5', `only ${accepts}: cookies are ignored`, { accepts, cookies }, { state: 'out:No token in header', tokenType: accepts });
    ask('4.5', `only ${accepts}: its token in a cookie is ignored`, { accepts, cookies: { __session: kinds[accepts].token, __client_uat: 1 } }, 'out:No token in header');
    ask('4.5', `only ${accepts}: other scheme`, { accepts, authorization: `Basic ${kinds[accepts].token}` }, 'out:No token in header');
    ask('4.5', `only ${accepts}: session token`, { accepts, bearer: session() }, { state: 'out:token-type-mismatch', tokenType: accepts });
    ask('4.5', `only ${accepts}: garbage`, { accepts, bearer: 'x' }, { state: 'out:token-type-mismatch', tokenType: accepts });
    ask('4.5', `only ${accepts}: handshake nonce is ignored`, { accepts, cookies: { __clerk_handshake_nonce: 'n1' } }, 'out:No token in header');
    ask('4.5', `only ${accepts}: development, no redirect`, { configuration: 'development', accepts }, { state: 'out:No token in header', location: null });
  }
  for (const accepts of ['any', ['session_token'], ['session_token', 'api_key'], ['session_token', 'api_key', 'm2m_token', 'oauth_token']]) {
    const shown = Array.isArray(accepts) ? `[${accepts.join(', ')}]` : accepts;
    ask('4.5', `${shown}: cookies`, { accepts, cookies }, 'in:user_1');
    ask('4.5', `${shown}: nothing`, { accepts }, { state: 'out:session-token-and-uat-missing', tokenType: 'session_token' });
    ask('4.5', `${shown}: session token`, { accepts, bearer: session() }, 'in:user_1');
    ask('4.5', `${shown}: client_uat without session`, { accepts, cookies: { __client_uat: NOW } }, 'hs:client-uat-but-no-session-token');
    ask('4.5', `${shown}: garbage`, { accepts, bearer: 'x' }, { state: 'out:token-invalid', tokenType: 'session_token' });
    ask('4.5', `${shown}: expired session token, page`, { accepts, bearer: expired() }, 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie');
    ask('4.5', `${shown}: expired session token, call`, { accepts, bearer: expired(), dest: 'empty' }, 'out:session-token-expired-refresh-non-eligible-no-refresh-cookie');
    ask('4.5', `${shown}: template in the cookie`, { accepts, cookies: { ...cookies, __session: template() } }, 'out:token-type-mismatch');
    ask('4.5', `${shown}: template in the header`, { accepts, bearer: template(), note: 'With any or a list the SDK does not look at the category of a header token. In strict it is refused all the same.' }, 'in:user_1');
    ask('4.5', `${shown}: M2M category with a user subject in the header`, { accepts, bearer: m2mJwt({ sub: 'user_1' }) }, 'out:token-invalid');
  }
  for (const accepts of [['api_key'], ['api_key', 'oauth_token'], ['m2m_token'], []]) {
    const shown = `[${accepts.join(', ')}]`;
    ask('4.5', `${shown}: nothing`, { accepts }, { state: 'out:token-type-mismatch', tokenType: null });
    ask('4.5', `${shown}: cookies`, { accepts, cookies }, { state: 'out:token-type-mismatch', tokenType: null });
    ask('4.5', `${shown}: session token`, { accepts, bearer: session() }, { state: 'out:token-type-mismatch', tokenType: null });
    ask('4.5', `${shown}: garbage`, { accepts, bearer: 'x' }, { state: 'out:token-type-mismatch', tokenType: null });
    ask('4.5', `${shown}: handshake nonce`, { accepts, cookies: { __clerk_handshake_nonce: 'n1' } }, { state: 'out:token-type-mismatch', tokenType: null });
  }
  ask('4.5', 'only m2m_token: no secret of either kind', { configuration: 'no-secret', accepts: 'm2m_token', bearer: 'mt_1' }, 'throws:Machine token authentication requires either a Machine secret key or a Clerk secret key');
  ask('4.5', 'only m2m_token: machine secret alone', { configuration: 'machine-secret-only', accepts: 'm2m_token' }, 'out:No token in header');
  ask('4.5', 'session_token: machine secret alone', { configuration: 'machine-secret-only' }, 'throws:Missing Clerk Secret Key');
  ask('4.5', 'api_key: machine secret alone', { configuration: 'machine-secret-only', accepts: 'api_key' }, 'throws:Missing Clerk Secret Key');
}

// Every kind of token against every setting.
function matrix() {
  const tokens = {
    'session token': { token: session(), type: null },
    'template token': { token: template(), type: null, template: true },
    'M2M category, user subject': { token: m2mJwt({ sub: 'user_1' }), type: null, m2mCategory: true },
    'M2M JWT': { token: m2mJwt(), type: 'm2m_token' },
    'OAuth JWT': { token: oauthJwt(), type: 'oauth_token' },
    'opaque M2M token': { token: 'mt_secret', type: 'm2m_token', opaque: true },
    'opaque OAuth token': { token: 'oat_secret', type: 'oauth_token', opaque: true },
    'API key': { token: 'ak_secret', type: 'api_key', opaque: true },
    garbage: { token: 'x', type: null, garbage: true },
  };
  const settings = ['session_token', 'api_key', 'm2m_token', 'oauth_token', 'any', ['session_token', 'm2m_token'], ['api_key', 'oauth_token'], ['session_token']];
  const bapi = every.flatMap((type) => answer(type, 200, kinds[type].body));
  for (const [name, kind] of Object.entries(tokens)) {
    for (const accepts of settings) {
      const shown = Array.isArray(accepts) ? `[${accepts.join(', ')}]` : accepts;
      ask('T-12', `${name} where ${shown} is accepted`, { accepts, bearer: kind.token, dest: 'empty', bapi }, expected(kind, accepts));
    }
  }
}

function expected(kind, accepts) {
  const type = kind.type ?? 'session_token';
  const open = accepts === 'any' || Array.isArray(accepts);
  if (Array.isArray(accepts) && !accepts.includes(type)) {
    return { state: 'out:token-type-mismatch', tokenType: null };
  }
  if (!open && accepts !== 'session_token') {
    return type === accepts ? { state: 'in', tokenType: type } : { state: 'out:token-type-mismatch', tokenType: accepts };
  }
  if (accepts === 'session_token' && (kind.template || kind.m2mCategory || (kind.type && !kind.opaque))) {
    return { state: 'out:token-type-mismatch', tokenType: 'session_token' };
  }
  if (kind.garbage || kind.m2mCategory || (accepts === 'session_token' && kind.opaque)) {
    return { state: 'out:token-invalid', tokenType: 'session_token' };
  }
  return { state: 'in', tokenType: type };
}
