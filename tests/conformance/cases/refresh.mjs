// An expired session cookie is exchanged with the refresh cookie, server to server.

import { ask } from '../lib/build.mjs';
import { CATEGORY, NOW, PORTAL, expired, session } from '../lib/tokens.mjs';

const UAT = NOW - 500;
const old = expired();
const fresh = session({ sub: 'user_fresh' });
const PATH = '/v1/sessions/sess_1/refresh';
const SET = `__session=${fresh}; Path=/; Max-Age=315360000; SameSite=Lax`;
const cookies = { __session: old, __client_uat: UAT, '__refresh_#': 'r1' };
const answered = (body, status = 200) => [{ method: 'POST', path: PATH, status, body }];
const good = answered({ object: 'cookies', cookies: [SET] });

successes();
failures();
sessionIds();
notAttempted();
headerPath();

function successes() {
  const rows = [
    ['document', {}],
    ['fetch', { dest: 'empty' }],
    ['no Sec-Fetch-Dest', { dest: null }],
    ['redirect count 3', { cookies: { ...cookies, __clerk_redirect_count: 3 } }],
    ['development', { configuration: 'development', cookies: { ...cookies, __clerk_db_jwt: 'dvb_1' } }],
    ['local key', { configuration: 'production-pem' }],
    ['other headers go along', { headers: [['user-agent', 'Browser/1'], ['accept-language', 'de'], ['x-custom', 'a, b']] }],
    ['query of the address does not go along', { url: `${PORTAL}/portal?a=1` }],
    ['referer of another origin: no redirect', { referer: 'https://elsewhere.example/' }],
    ['any token accepted', { accepts: 'any' }],
  ];
  for (const [name, setup] of rows) {
    ask('C13', `refresh: ${name}`, { cookies, bapi: good, ...setup }, { state: 'in:user_fresh', cookies: 1, location: null, headers: [] });
  }
  ask('C13', 'refresh: expired beyond every limit', { cookies: { ...cookies, __session: expired(90 * 86400), __client_uat: 5 }, bapi: good }, 'in:user_fresh');
  ask('C13', 'refresh: suffixed cookies are said', {
    cookies: { '__session_#': old, '__client_uat_#': UAT, '__refresh_#': 'r1' },
    bapi: [{ method: 'POST', path: PATH, query: 'suffixed_cookies=true', status: 200, body: { object: 'cookies', cookies: [SET] } }],
  }, { state: 'in:user_fresh', cookies: 1 });
  ask('C13', 'refresh: plain cookies are not said', {
    cookies,
    bapi: [{ method: 'POST', path: PATH, query: '', status: 200, body: { object: 'cookies', cookies: [SET] } }],
  }, 'in:user_fresh');
  ask('C13', 'refresh: several cookies', { cookies, bapi: answered({ object: 'cookies', cookies: [SET, `__session_naoXFJnI=${fresh}`, '__refresh_naoXFJnI=r2; HttpOnly', '__client_uat=5'] }) }, { state: 'in:user_fresh', cookies: 4 });
  ask('C13', 'refresh: the last session counts', { cookies, bapi: answered({ object: 'cookies', cookies: [SET, `__session_x=${session({ sub: 'user_2' })}`] }) }, 'in:user_2');
  ask('C13', 'refresh: pending session', { cookies, bapi: answered({ object: 'cookies', cookies: [`__session=${session({ sts: 'pending' })}`] }) }, 'in');
  ask('C13', 'refresh: new token older than client_uat', { cookies: { ...cookies, __client_uat: NOW - 120 }, bapi: answered({ object: 'cookies', cookies: [`__session=${session({ iat: NOW - 130, exp: NOW + 50 })}`] }) }, 'in:user_1');
  ask('C13', 'refresh: another organization in the address, no redirect', { configuration: 'organizations', url: `${PORTAL}/orgs/two`, cookies, bapi: good }, { state: 'in:user_fresh', location: null });
  ask('C13', 'refresh: answer without an object name', { cookies, bapi: answered({ cookies: [SET] }) }, 'in:user_fresh');
  ask('C13', 'refresh: template token as the new one', { cookies, bapi: answered({ object: 'cookies', cookies: [`__session=${session({}, { cat: CATEGORY.template })}`] }), note: 'The class of the token is not looked at here.' }, 'in:user_1');
}

function failures() {
  const error = (code, status) => answered({ errors: [{ code, message: 'm', long_message: 'l' }] }, status);
  const many = answered({ errors: [{ code: 'first', message: 'm' }, { code: 'second', message: 'm' }] }, 422);
  const rows = [
    ['404 session_not_found', error('session_not_found', 404), 'session_not_found'],
    ['401 clerk_key_invalid', error('clerk_key_invalid', 401), 'clerk_key_invalid'],
    ['400 refresh_token_invalid', error('refresh_token_invalid', 400), 'refresh_token_invalid'],
    ['422 with two errors', many, 'first'],
    ['429 too_many_requests', error('too_many_requests', 429), 'too_many_requests'],
    ['500 internal_clerk_error', error('internal_clerk_error', 500), 'internal_clerk_error'],
    ['code unexpected_error', error('unexpected_error', 500), 'fetch-error'],
    ['errors empty', answered({ errors: [] }, 500), 'unexpected-bapi-error'],
    ['no errors', answered({}, 500), 'unexpected-bapi-error'],
    ['markup', [{ method: 'POST', path: PATH, status: 502, body: '<html>', content_type: 'text/html' }], 'unexpected-bapi-error'],
    ['error of another content type', [{ method: 'POST', path: PATH, status: 404, body: '{"errors":[{"code":"session_not_found"}]}', content_type: 'application/json; charset=utf-8' }], 'unexpected-bapi-error'],
    ['code empty', error('', 400), 'unexpected-sdk-error'],
    ['no code', answered({ errors: [{ message: 'm' }] }, 400), 'unexpected-sdk-error'],
    ['network error', [{ method: 'POST', path: PATH, error: true }], 'fetch-error'],
    ['nothing listens', [], 'fetch-error'],
    ['half of the JSON', answered('{"object":'), 'fetch-error'],
    ['no cookies', answered({ object: 'cookies' }), 'unexpected-sdk-error'],
    ['cookies null', answered({ object: 'cookies', cookies: null }), 'unexpected-sdk-error'],
    ['cookies empty', answered({ object: 'cookies', cookies: [] }), 'unexpected-sdk-error'],
    ['an answer with a token', answered({ object: 'token', jwt: fresh }), 'unexpected-sdk-error'],
    ['no content', [{ method: 'POST', path: PATH, status: 204 }], 'unexpected-bapi-error'],
    ['no session among the cookies', answered({ object: 'cookies', cookies: ['__client_uat=5'] }), 'invalid-session-token'],
    ['session deleted', answered({ object: 'cookies', cookies: ['__session=; Max-Age=0'] }), 'invalid-session-token'],
    ['session deleted at the end', answered({ object: 'cookies', cookies: [SET, '__session_x=; Max-Age=0'] }), 'invalid-session-token'],
    ['new token expired, too', answered({ object: 'cookies', cookies: [`__session=${old}`] }), 'invalid-session-token'],
    ['new token badly signed', answered({ object: 'cookies', cookies: [`__session=${session({}, {}, { key: 'foreign' })}`] }), 'invalid-session-token'],
    ['new token of a machine', answered({ object: 'cookies', cookies: [`__session=${session({}, { cat: CATEGORY.m2m })}`] }), 'invalid-session-token'],
    ['new token not valid yet', answered({ object: 'cookies', cookies: [`__session=${session({ nbf: NOW + 100 })}`] }), 'invalid-session-token'],
    ['code that must be encoded', error('a b&c=\u00fc', 400), 'a b&c=\u00fc'],
    ['code outside of Latin-1', error('\u4f8b', 400), '\u4f8b'],
    ['code with a line break', error('a\r\nb', 400), 'a\r\nb'],
  ];
  for (const [name, bapi, reason] of rows) {
    const full = `session-token-expired-refresh-${reason}`;
    ask('C13', `refresh fails: ${name}, page`, { cookies, bapi }, { state: `hs:${full}`, cookies: 1, location: { __clerk_hs_reason: full, __session: old } });
    ask('C13', `refresh fails: ${name}, fetch`, { cookies, bapi, dest: 'empty' }, { state: `out:${full}`, cookies: 0, location: null });
  }
  ask('C13', 'refresh fails: third redirect', { cookies: { ...cookies, __clerk_redirect_count: 3 }, bapi: error('session_not_found', 404) }, 'out:session-token-expired-refresh-session_not_found');
  ask('C13', 'refresh fails: wrong party in the new token', {
    configuration: 'production-azp',
    cookies,
    bapi: answered({ object: 'cookies', cookies: [`__session=${session({ azp: undefined })}`] }),
  }, 'hs:session-token-expired-refresh-invalid-session-token');
  const throwing = [
    ['directive with a line break', [SET, 'a=b\r\nc=d']],
    ['directive a number', [5]],
    ['directives a text', 'ab'],
  ];
  for (const [name, list] of throwing) {
    ask('C13', `refresh fails: ${name}`, { cookies, bapi: answered({ object: 'cookies', cookies: list }), note: 'Outside of every catch: the SDK throws. Any refusal is right here.', loose: ['throws'] }, 'throws:');
  }
}

function sessionIds() {
  const at = (path) => [{ method: 'POST', path, status: 200, body: { object: 'cookies', cookies: [SET] } }];
  const rows = [
    ['absent', undefined, good, 'hs:session-token-expired-refresh-expired-session-token-missing-sid-claim'],
    ['empty', '', good, 'hs:session-token-expired-refresh-expired-session-token-missing-sid-claim'],
    ['null', null, good, 'hs:session-token-expired-refresh-expired-session-token-missing-sid-claim'],
    ['zero', 0, good, 'hs:session-token-expired-refresh-expired-session-token-missing-sid-claim'],
    ['a number', 5, at('/v1/sessions/5/refresh'), 'in:user_fresh'],
    ['dot segments', '../users', good, 'hs:session-token-expired-refresh-unexpected-bapi-error'],
    ['encoded dot segments', '%2e%2e', good, 'hs:session-token-expired-refresh-unexpected-bapi-error'],
    ['dot segments encoded twice', '%252e%252e', good, 'hs:session-token-expired-refresh-unexpected-bapi-error'],
    ['encoded slash and dots', '..%2fusers', good, 'hs:session-token-expired-refresh-unexpected-bapi-error'],
    ['one dot', '.', good, 'hs:session-token-expired-refresh-unexpected-bapi-error'],
    ['a slash', 'a/b', at('/v1/sessions/a/b/refresh'), 'in:user_fresh'],
    ['a question mark', 'sess_1?x=1', at('/v1/sessions/sess_1'), 'in:user_fresh'],
    ['a fragment', 'sess_1#', at('/v1/sessions/sess_1'), 'in:user_fresh'],
    ['a space', 'a b', at('/v1/sessions/a%20b/refresh'), 'in:user_fresh'],
    ['of another kind', 'user_1', at('/v1/sessions/user_1/refresh'), 'in:user_fresh'],
  ];
  for (const [name, sid, bapi, want] of rows) {
    const note = ['a slash', 'a question mark', 'a fragment', 'a space', 'a number'].includes(name)
      ? 'The SDK puts the session id into the path as it is. The token is signed. In strict such an id is none.'
      : undefined;
    ask('3.11', `session id ${name}`, { cookies: { ...cookies, __session: expired(60, { sid }) }, bapi, note }, want);
  }
  ask('3.11', 'session id a list', { cookies: { ...cookies, __session: expired(60, { sid: ['sess_1'] }) }, bapi: good }, 'in:user_fresh');
}

function notAttempted() {
  const none = 'session-token-expired-refresh-non-eligible-no-refresh-cookie';
  const notGet = 'session-token-expired-refresh-non-eligible-non-get';
  const rows = [
    ['no refresh cookie', { cookies: { ...cookies, '__refresh_#': undefined } }, `hs:${none}`],
    ['refresh cookie empty', { cookies: { ...cookies, '__refresh_#': '' } }, `hs:${none}`],
    ['refresh cookie without suffix', { cookies: { ...cookies, '__refresh_#': undefined, __refresh: 'r1' } }, `hs:${none}`],
    ['refresh cookie of another key', { cookies: { ...cookies, '__refresh_#': undefined, __refresh_l2OS3d9k: 'r1' } }, `hs:${none}`],
    ['POST', { method: 'POST' }, `out:${notGet}`],
    ['HEAD', { method: 'HEAD' }, `out:${notGet}`],
    ['PUT, no refresh cookie either', { method: 'PUT', cookies: { ...cookies, '__refresh_#': undefined } }, `out:${notGet}`],
    ['not valid yet', { cookies: { ...cookies, __session: session({ nbf: NOW + 100 }) } }, 'hs:session-token-nbf'],
    ['issued in the future', { cookies: { ...cookies, __session: session({ iat: NOW + 100, nbf: NOW }) } }, 'hs:session-token-iat-in-the-future'],
    ['expired and badly signed', { cookies: { ...cookies, __session: session({ exp: NOW - 100 }, {}, { key: 'foreign' }) } }, 'out:token-invalid-signature'],
    ['expired before client_uat', { cookies: { ...cookies, __client_uat: NOW } }, 'hs:session-token-iat-before-client-uat'],
    ['no session', { cookies: { ...cookies, __session: undefined } }, 'hs:client-uat-but-no-session-token'],
    ['client_uat 0', { cookies: { ...cookies, __client_uat: 0 } }, 'hs:session-token-but-no-client-uat'],
    ['only a refresh cookie', { cookies: { '__refresh_#': 'r1' } }, 'out:session-token-and-uat-missing'],
    ['good session', { cookies: { ...cookies, __session: session() } }, 'in:user_1'],
    ['unreadable session', { cookies: { ...cookies, __session: 'x' } }, 'out:token-invalid'],
  ];
  for (const [name, setup, want] of rows) {
    ask('3.11', `no refresh: ${name}`, { cookies, bapi: good, ...setup }, want);
  }
}

function headerPath() {
  const note = 'The SDK refreshes in the header path, too, and prefers the session of the cookie as the expired one.';
  ask('3.11', 'header path: expired token, refresh cookie', { bearer: old, cookies: { '__refresh_#': 'r1' }, bapi: good, note }, { state: 'in:user_fresh', cookies: 1 });
  ask('3.11', 'header path: expired token of another session, session in the cookie', {
    bearer: expired(60, { sid: 'sess_2' }),
    cookies: { __session: session({ sid: 'sess_1' }), '__refresh_#': 'r1' },
    bapi: good,
    note,
  }, 'in:user_fresh');
  ask('3.11', 'header path: refresh fails, page', { bearer: old, cookies: { '__refresh_#': 'r1' }, note }, 'hs:session-token-expired-refresh-fetch-error');
  ask('3.11', 'header path: refresh fails, fetch', { bearer: old, cookies: { '__refresh_#': 'r1' }, dest: 'empty', note }, 'out:session-token-expired-refresh-fetch-error');
  ask('3.11', 'header path: unreadable session in the cookie', { bearer: old, cookies: { __session: 'x', '__refresh_#': 'r1' }, bapi: good, note }, 'hs:session-token-expired-refresh-expired-session-token-decode-failed');
  ask('3.11', 'header path: any token accepted', { accepts: 'any', bearer: old, cookies: { '__refresh_#': 'r1' }, bapi: good, note }, 'in:user_fresh');
  ask('3.11', 'header path: POST', { method: 'POST', bearer: old, cookies: { '__refresh_#': 'r1' }, bapi: good }, 'out:session-token-expired-refresh-non-eligible-non-get');
}
