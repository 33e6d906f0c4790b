// The decision table for requests that carry cookies, and what the redirect looks like.

import { ask } from '../lib/build.mjs';
import { NOW, PORTAL, expired, m2mJwt, oauthJwt, session, template } from '../lib/tokens.mjs';

const UAT = NOW - 100;
const DEV = { __clerk_db_jwt: 'dvb_1' };
const EXPIRED = 'session-token-expired-refresh-non-eligible-no-refresh-cookie';

// Every kind of request once: what a page may do, what a call may not.
const requests = [
  ['document', { dest: 'document' }, true],
  ['iframe', { dest: 'iframe' }, true],
  ['old browser', { dest: null, accept: 'text/html' }, true],
  ['fetch', { dest: 'empty', accept: '*/*' }, false],
  ['fetch of markup', { dest: 'empty', accept: 'text/html' }, false],
  ['no headers', { dest: null }, false],
  ['form', { method: 'POST', dest: 'document' }, false],
  ['head', { method: 'HEAD', dest: 'document' }, false],
  ['preflight', { method: 'OPTIONS', dest: 'empty' }, false],
  ['third redirect', { dest: 'document', count: 3 }, false],
];

const handshakes = [
  ['C8', 'production', 'session without client_uat', { __session: session() }, 'session-token-but-no-client-uat'],
  ['C8', 'production', 'session with client_uat 0', { __session: session(), __client_uat: 0 }, 'session-token-but-no-client-uat'],
  ['C8', 'development', 'session without client_uat', { ...DEV, __session: session() }, 'session-token-but-no-client-uat'],
  ['C8', 'production', 'unreadable session without client_uat', { __session: 'x' }, 'session-token-but-no-client-uat'],
  ['C9', 'production', 'client_uat without session', { __client_uat: UAT }, 'client-uat-but-no-session-token'],
  ['C9', 'development', 'client_uat without session', { ...DEV, __client_uat: UAT }, 'client-uat-but-no-session-token'],
  ['C6', 'development', 'no dev browser', {}, 'dev-browser-missing'],
  ['C6', 'development', 'no dev browser, good session', { __session: session(), __client_uat: UAT }, 'dev-browser-missing'],
  ['C12', 'production', 'token one second before client_uat', { __session: session(), __client_uat: NOW - 9 }, 'session-token-iat-before-client-uat'],
  ['C12', 'production', 'expired token before client_uat', { __session: expired(), __client_uat: NOW - 9 }, 'session-token-iat-before-client-uat'],
  ['C12', 'production', 'badly signed token before client_uat', { __session: session({}, {}, { key: 'foreign' }), __client_uat: NOW - 9 }, 'session-token-iat-before-client-uat'],
  ['C14', 'production', 'nbf in the future', { __session: session({ nbf: NOW + 100 }), __client_uat: UAT }, 'session-token-nbf'],
  ['C14', 'production', 'iat in the future', { __session: session({ iat: NOW + 100, nbf: NOW }), __client_uat: UAT }, 'session-token-iat-in-the-future'],
];

const anyRequest = [
  ['C7', 'production', 'nothing', {}, 'out:session-token-and-uat-missing'],
  ['C7', 'production', 'client_uat 0', { __client_uat: 0 }, 'out:session-token-and-uat-missing'],
  ['C7', 'development', 'only a dev browser', DEV, 'out:session-token-and-uat-missing'],
  ['C10', 'production', 'unreadable session', { __session: 'x', __client_uat: UAT }, 'out:token-invalid'],
  ['C10', 'development', 'unreadable session', { ...DEV, __session: 'a.b.c', __client_uat: UAT }, 'out:token-invalid'],
  ['C11', 'production', 'M2M token', { __session: m2mJwt(), __client_uat: UAT }, 'out:token-type-mismatch'],
  ['C11', 'production', 'OAuth token', { __session: oauthJwt(), __client_uat: UAT }, 'out:token-type-mismatch'],
  ['C11', 'production', 'template token', { __session: template(), __client_uat: UAT }, 'out:token-type-mismatch'],
  ['C11', 'production', 'template token, older than client_uat', { __session: template(), __client_uat: NOW }, 'out:token-type-mismatch'],
  ['C11', 'production', 'machine subject', { __session: session({ sub: 'mch_1' }), __client_uat: UAT }, 'out:token-type-mismatch'],
  ['C15', 'production', 'wrong signature', { __session: session({}, {}, { key: 'foreign' }), __client_uat: UAT }, 'out:token-invalid-signature'],
  ['C15', 'production', 'unknown key', { __session: session({}, { kid: 'ins_x' }), __client_uat: UAT }, 'out:jwk-kid-mismatch'],
  ['C15', 'production-azp', 'wrong party', { __session: session({ azp: 'https://evil.example' }), __client_uat: UAT }, 'out:token-invalid-authorized-parties'],
  ['C15', 'production-azp', 'wrong party and expired', { __session: expired(60, { azp: 'https://evil.example' }), __client_uat: NOW - 500 }, 'out:token-invalid-authorized-parties'],
  ['C18', 'production', 'good', { __session: session(), __client_uat: UAT }, 'in:user_1'],
  ['C18', 'production', 'good, issued in the second of client_uat', { __session: session(), __client_uat: NOW - 10 }, 'in:user_1'],
  ['C18', 'production', 'good, suffixed', { '__session_#': session(), '__client_uat_#': UAT }, 'in:user_1'],
  ['C18', 'production-pem', 'good, local key', { __session: session(), __client_uat: UAT }, 'in:user_1'],
  ['C18', 'production-azp', 'good, right party', { __session: session(), __client_uat: UAT }, 'in:user_1'],
  ['C18', 'development', 'good', { ...DEV, __session: session(), __client_uat: UAT }, 'in:user_1'],
];

table();
expiredTokens();
issuedAt();
development();
redirects();
debugHeaders();

function table() {
  for (const [row, configuration, name, cookies, reason] of handshakes) {
    for (const [kind, request, eligible] of requests) {
      const { count, ...rest } = request;
      const setup = { ...rest, configuration, cookies: { ...cookies, __clerk_redirect_count: count } };
      ask(row, `${configuration}: ${name}, ${kind}`, setup, eligible
        ? { state: `hs:${reason}`, cookies: 1, location: { __clerk_hs_reason: reason } }
        : { state: `out:${reason}`, cookies: 0, location: null });
    }
  }
  for (const [row, configuration, name, cookies, want] of anyRequest) {
    for (const [kind, request] of requests.filter(([kind]) => ['document', 'fetch', 'form', 'head', 'third redirect'].includes(kind))) {
      const { count, ...rest } = request;
      const setup = { ...rest, configuration, cookies: { ...cookies, __clerk_redirect_count: count } };
      ask(row, `${configuration}: ${name}, ${kind}`, setup, { state: want, cookies: 0, location: null });
    }
  }
}

function expiredTokens() {
  const cookies = { __session: expired(), __client_uat: NOW - 500 };
  for (const [kind, request, eligible] of requests) {
    const { count, ...rest } = request;
    const reason = rest.method ? 'session-token-expired-refresh-non-eligible-non-get' : EXPIRED;
    ask('C14', `production: expired, ${kind}`, { ...rest, cookies: { ...cookies, __clerk_redirect_count: count } }, `${eligible ? 'hs' : 'out'}:${reason}`);
  }
  ask('C14', 'production: expired, POST with a refresh cookie', { method: 'POST', cookies: { ...cookies, '__refresh_#': 'r1' } }, 'out:session-token-expired-refresh-non-eligible-non-get');
  ask('C14', 'production: nbf in the future, refresh cookie', { cookies: { __session: session({ nbf: NOW + 100 }), __client_uat: UAT, '__refresh_#': 'r1' } }, 'hs:session-token-nbf');
  ask('C14', 'production: iat in the future, POST', { method: 'POST', cookies: { __session: session({ iat: NOW + 100, nbf: NOW }), __client_uat: UAT } }, 'out:session-token-iat-in-the-future');
}

function issuedAt() {
  const before = 'hs:session-token-iat-before-client-uat';
  const rows = [
    ['absent', undefined, 'in:user_1'],
    ['null', null, before],
    ['zero', 0, before],
    ['minus one', -1, before],
    ['half a second before', NOW - 100.5, before],
    ['equal', NOW - 100, 'in:user_1'],
    ['half a second after', NOW - 99.5, 'in:user_1'],
    ['a later number as text', String(NOW - 10), 'out:token-verification-failed'],
    ['an earlier number as text', String(NOW - 200), before],
    ['a word', 'abc', 'out:token-verification-failed'],
    ['empty text', '', before],
    ['true', true, before],
    ['a list of an earlier number', [5], before],
    ['an object', {}, 'out:token-verification-failed'],
  ];
  for (const [name, iat, want] of rows) {
    const note = typeof iat !== 'number' && want === before ? 'The SDK compares before it checks the type; JavaScript makes a small number of it.' : undefined;
    ask('C12', `iat ${name}`, { cookies: { __session: session({ iat, nbf: NOW - 300, exp: NOW + 50 }), __client_uat: UAT }, note }, want);
  }
}

function development() {
  const good = { ...DEV, __session: session(), __client_uat: UAT };
  const sync = (query) => ({ configuration: 'development', url: `${PORTAL}/portal${query}`, cookies: good });
  ask('C5', 'dev browser in the query', sync('?__clerk_db_jwt=dvb_2'), { state: 'hs:dev-browser-sync', location: { __clerk_db_jwt: 'dvb_2', redirect_url: `${PORTAL}/portal` } });
  ask('C5', 'dev browser in the query, among others', sync('?a=1&__clerk_db_jwt=dvb_2&b=2'), { state: 'hs:dev-browser-sync', location: { redirect_url: `${PORTAL}/portal?a=1&b=2` } });
  ask('C5', 'dev browser in the query, empty', sync('?__clerk_db_jwt='), { state: 'hs:dev-browser-sync', location: { __clerk_db_jwt: 'dvb_1' } });
  ask('C5', 'dev browser in the query, no equals sign', sync('?__clerk_db_jwt'), 'hs:dev-browser-sync');
  ask('C5', 'dev browser in the query, encoded name', sync('?__clerk%5Fdb_jwt=dvb_2'), 'hs:dev-browser-sync');
  ask('C5', 'dev browser in the query, fetch', { ...sync('?__clerk_db_jwt=dvb_2'), dest: 'empty' }, 'out:dev-browser-sync');
  ask('C5', 'dev browser in the query, POST', { ...sync('?__clerk_db_jwt=dvb_2'), method: 'POST' }, 'out:dev-browser-sync');
  ask('C5', 'dev browser in the query, third redirect', { ...sync('?__clerk_db_jwt=dvb_2'), cookies: { ...good, __clerk_redirect_count: 3 } }, 'out:dev-browser-sync');
  ask('C5', 'dev browser in the query in other letters', sync('?__CLERK_DB_JWT=dvb_2'), 'in:user_1');
  ask('C5', 'production does not look', { url: `${PORTAL}/portal?__clerk_db_jwt=dvb_2`, cookies: good }, 'in:user_1');
  ask('C5', 'before a signed-out answer', { ...sync('?__clerk_db_jwt=dvb_2'), cookies: {} }, 'hs:dev-browser-sync');
  ask('C6', 'dev browser only in the query of another name', sync('?__dev_session=dvb_2'), 'in:user_1');
  ask('C6', 'production needs none', { cookies: { __session: session(), __client_uat: UAT } }, 'in:user_1');

  const answer = (target, setup = {}) => ({
    configuration: 'development',
    url: `${PORTAL}/portal?__clerk_redirect_url=${encodeURIComponent(target)}`,
    cookies: good,
    ...setup,
  });
  const reason = 'hs:primary-responds-to-syncing';
  const rows = [
    ['to a satellite', answer('https://satellite.example.net/x'), 'https://satellite.example.net/x?__clerk_db_jwt=dvb_1&__clerk_synced=true'],
    ['without a dev browser', answer('https://satellite.example.net/x', { cookies: {} }), 'https://satellite.example.net/x?__clerk_synced=true'],
    ['query kept', answer('https://satellite.example.net/x?a=1'), 'https://satellite.example.net/x?a=1&__clerk_db_jwt=dvb_1&__clerk_synced=true'],
    ['a dev browser already there', answer('https://satellite.example.net/x?__clerk_db_jwt=old'), 'https://satellite.example.net/x?__clerk_db_jwt=old&__clerk_db_jwt=dvb_1&__clerk_synced=true'],
    ['synced replaced', answer('https://satellite.example.net/x?__clerk_synced=false&b=2'), 'https://satellite.example.net/x?__clerk_synced=true&b=2&__clerk_db_jwt=dvb_1'],
    ['fragment kept', answer('https://satellite.example.net/x#top'), 'https://satellite.example.net/x?__clerk_db_jwt=dvb_1&__clerk_synced=true#top'],
    ['any address', answer('https://evil.example'), 'https://evil.example/?__clerk_db_jwt=dvb_1&__clerk_synced=true'],
    ['any scheme', answer('javascript:alert(1)'), 'javascript:alert(1)?__clerk_db_jwt=dvb_1&__clerk_synced=true'],
  ];
  for (const [name, setup, location] of rows) {
    ask('C4', name, setup, { state: reason, location, cookies: 1 });
  }
  ask('C4', 'before the dev browser sync', answer('https://satellite.example.net/x', { url: `${PORTAL}/?__clerk_db_jwt=dvb_2&__clerk_redirect_url=https://satellite.example.net/x` }), { state: reason, location: 'https://satellite.example.net/x?__clerk_db_jwt=dvb_2&__clerk_synced=true' });
  ask('C4', 'fetch', answer('https://satellite.example.net/x', { dest: 'empty' }), 'out:primary-responds-to-syncing');
  ask('C4', 'POST', answer('https://satellite.example.net/x', { method: 'POST' }), 'out:primary-responds-to-syncing');
  ask('C4', 'third redirect', answer('https://satellite.example.net/x', { cookies: { ...good, __clerk_redirect_count: 3 } }), 'out:primary-responds-to-syncing');
  ask('C4', 'empty', answer(''), 'in:user_1');
  ask('C4', 'production does not look', { ...answer('https://satellite.example.net/x'), configuration: 'production' }, 'in:user_1');
  for (const target of ['/x', 'satellite.example.net', '//satellite.example.net', 'https://']) {
    ask('C4', `not an address: ${target}`, { ...answer(target), loose: ['throws'], note: 'The SDK throws.' }, 'throws:Invalid URL');
  }
}

function redirects() {
  const reason = 'client-uat-but-no-session-token';
  const rows = [
    ['/', '/'],
    ['', '/'],
    ['/portal', '/portal'],
    ['/portal/', '/portal/'],
    ['/portal?', '/portal'],
    ['/portal?a', '/portal?a='],
    ['/portal?a=', '/portal?a='],
    ['/portal?=a', '/portal?=a'],
    ['/portal?a=1&a=2', '/portal?a=1&a=2'],
    ['/portal?a=b%20c', '/portal?a=b+c'],
    ['/portal?a=b+c', '/portal?a=b+c'],
    ['/portal?a=%2B', '/portal?a=%2B'],
    ['/portal?a=%2f', '/portal?a=%2F'],
    ['/portal?a=/:@', '/portal?a=%2F%3A%40'],
    ["/portal?a='()*!~", '/portal?a=%27%28%29*%21%7E'],
    ['/portal?a=%zz', '/portal?a=%25zz'],
    ['/portal?a=%ff', '/portal?a=%EF%BF%BD'],
    ['/portal?a=ü', '/portal?a=%C3%BC'],
    ['/portal?&&a=1&&', '/portal?a=1'],
    ['/portal?a=1;b=2', '/portal?a=1%3Bb%3D2'],
    ['/portal?redirect_url=https%3A%2F%2Fx.example%2F%3Fa%3D1%26b%3D2', '/portal?redirect_url=https%3A%2F%2Fx.example%2F%3Fa%3D1%26b%3D2'],
    ['/portal?__dev_session=1', '/portal'],
    ['/portal?__clerk_db_jwt=1', '/portal'],
    ['/portal?a=1&__clerk_db_jwt=1&__clerk_db_jwt=2&__dev_session=3&b=2', '/portal?a=1&b=2'],
    ['/portal?__clerk_help=1', '/portal?__clerk_help=1'],
    ['/portal?__clerk_synced=true', '/portal?__clerk_synced=true'],
    ['/portal?__session=x', '/portal?__session=x'],
    ['/a%20b', '/a%20b'],
    ['/a%2Fb', '/a%2Fb'],
    ['/ü', '/%C3%BC'],
    ['/a/../b', '/b'],
    ['/a/%2e%2e/b', '/b'],
    ['/a/./b', '/a/b'],
    ['//x/y', '//x/y'],
    ['//', '//'],
    ['/a//b', '/a//b'],
    ['/a;b=c', '/a;b=c'],
    ['/a"b<c>', '/a%22b%3Cc%3E'],
    ['/a|b^c`d{e}', '/a|b^c%60d%7Be%7D'],
    ['/a\\b', '/a/b'],
  ];
  for (const [target, back] of rows) {
    // A path with ^ is written differently by different versions of Node.js.
    const loose = target.includes('^') ? ['location'] : undefined;
    ask('3.8', `redirect back to ${target}`, { url: `${PORTAL}${target}`, cookies: { __client_uat: UAT }, loose }, {
      state: `hs:${reason}`,
      cookies: 1,
      ...(!loose && { location: {
        redirect_url: `${PORTAL}${back}`,
        __clerk_api_version: '2026-05-12',
        suffixed_cookies: 'false',
        __clerk_hs_reason: reason,
        format: 'nonce',
      } }),
    });
  }
  for (const origin of ['http://portal.example.com', 'https://portal.example.com:8443', 'http://localhost:3000', 'http://127.0.0.1', 'http://[::1]:8080', 'https://portal.example.com:443', 'http://portal.example.com:80', 'https://PORTAL.example.com', 'https://portal.example.com.', 'https://b\u00fccher.example']) {
    ask('3.8', `redirect back to ${origin}`, { url: `${origin}/portal`, cookies: { __client_uat: UAT } }, { state: `hs:${reason}`, location: { redirect_url: new URL(`${origin}/portal`).href } });
  }
  ask('3.8', 'suffixed cookies are named', { cookies: { '__client_uat_#': UAT } }, { state: `hs:${reason}`, location: { suffixed_cookies: 'true', __session: null } });
  ask('3.8', 'the session goes along', { cookies: { __session: session() } }, { state: 'hs:session-token-but-no-client-uat', location: { __session: session() } });
  ask('3.8', 'the suffixed session goes along', { cookies: { '__session_#': session(), '__client_uat_#': 0, __client_uat: 0 } }, { state: 'hs:session-token-but-no-client-uat', location: { __session: session(), suffixed_cookies: 'true' } });
  ask('3.8', 'the session that does not count stays', { cookies: { '__session_#': session(), __client_uat: UAT } }, { state: `hs:${reason}`, location: { __session: null, suffixed_cookies: 'false' } });
  ask('3.8', 'dev browser token is encoded', { configuration: 'development', cookies: { __clerk_db_jwt: 'a%20b%26c', __client_uat: UAT } }, { state: `hs:${reason}`, location: { __clerk_db_jwt: 'a b&c' } });
  ask('3.8', 'an unreadable session is encoded', { cookies: { __session: 'x%20y%C3%BC&z' } }, { state: 'hs:session-token-but-no-client-uat', location: { __session: 'x y\u00fc&z' } });
}

function debugHeaders() {
  ask('3.10', 'signed in has none', { cookies: { __session: session(), __client_uat: UAT } }, { state: 'in:user_1', headers: [] });
  ask('3.10', 'signed out has status and reason', {}, { state: 'out:session-token-and-uat-missing', headers: ['x-clerk-auth-reason', 'x-clerk-auth-status'] });
  ask('3.10', 'signed out with a message', { bearer: 'x' }, { state: 'out:token-invalid', headers: ['x-clerk-auth-message', 'x-clerk-auth-reason', 'x-clerk-auth-status'] });
  ask('3.10', 'handshake', { cookies: { __client_uat: UAT } }, { state: 'hs:client-uat-but-no-session-token', headers: ['cache-control', 'x-clerk-auth-reason', 'x-clerk-auth-status'] });
  ask('3.10', 'message quotes the party', { configuration: 'production-azp', bearer: session({ azp: 'https://evil.example' }) }, { state: 'out:token-invalid-authorized-parties', headers: ['x-clerk-auth-message', 'x-clerk-auth-reason', 'x-clerk-auth-status'] });
  const texts = [
    ['letters of Latin-1', 'https://b\u00fccher.example', true],
    ['letters outside of Latin-1', 'https://\u4f8b.example', false],
    ['a line break', 'https://evil.example\r\nx-injected: 1', true],
    ['a null character', 'a\u0000b', true],
    ['an emoji', '\ud83d\ude00', false],
  ];
  for (const [name, azp, shown] of texts) {
    const headers = [...(shown ? ['x-clerk-auth-message'] : []), 'x-clerk-auth-reason', 'x-clerk-auth-status'];
    ask('3.10', `message with ${name}`, { configuration: 'production-azp', bearer: session({ azp }) }, { state: 'out:token-invalid-authorized-parties', headers });
  }
  const kid = [['a kid of letters outside of Latin-1', '\u4f8b', false], ['a kid with a line break', 'a\r\nb', false], ['a kid with quotation marks', 'a\'"b', true]];
  for (const [name, value, shown] of kid) {
    const headers = [...(shown ? ['x-clerk-auth-message'] : []), 'x-clerk-auth-reason', 'x-clerk-auth-status'];
    ask('3.10', `message with ${name}`, { bearer: session({}, { kid: value }) }, { state: 'out:jwk-kid-mismatch', headers });
  }
}
