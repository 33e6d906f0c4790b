// A token in the Authorization header where a session is expected, and which requests may be sent to a handshake.

import { ask } from '../lib/build.mjs';
import { CATEGORY, NOW, expired, m2mJwt, oauthJwt, session, template } from '../lib/tokens.mjs';

const EXPIRED = 'session-token-expired-refresh-non-eligible-no-refresh-cookie';
const EXPIRED_NOT_GET = 'session-token-expired-refresh-non-eligible-non-get';

eligibility();
headerPath();

function eligibility() {
  const destinations = ['document', 'iframe', 'empty', 'embed', 'frame', 'object', 'script', 'image', 'Document', 'document, document', ' document ', '', undefined];
  const accepts = ['text/html', 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8', 'text/html;q=0', 'text/htmlx', 'application/json', '*/*', 'application/xhtml+xml,text/html', 'TEXT/HTML', ' text/html', '', undefined];
  const reason = 'client-uat-but-no-session-token';
  const cookies = { __client_uat: NOW };
  for (const dest of destinations) {
    for (const accept of accepts) {
      if (dest && dest.trim() !== 'document' && dest !== 'iframe' && dest !== 'empty' && accept !== 'text/html' && accept !== undefined) {
        continue;
      }
      const page = ['document', 'iframe'].includes(dest?.trim()) || (!dest && accept?.trim().startsWith('text/html'));
      ask('3.5', `GET, dest [${dest ?? 'absent'}], accept [${accept ?? 'absent'}]`, { cookies, dest: dest ?? null, accept }, page ? `hs:${reason}` : { state: `out:${reason}`, location: null, cookies: 0 });
    }
  }
  for (const method of ['HEAD', 'POST', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'PROPFIND']) {
    for (const [dest, accept] of [['document', 'text/html'], ['iframe', undefined], [null, 'text/html'], ['empty', '*/*']]) {
      ask('3.5', `${method}, dest [${dest ?? 'absent'}], accept [${accept ?? 'absent'}]`, { cookies, method, dest, accept }, { state: `out:${reason}`, location: null, cookies: 0 });
    }
  }
  ask('3.5', 'two Accept headers, the first one decides', { cookies, dest: null, headers: [['accept', 'text/html'], ['accept', 'application/json']] }, `hs:${reason}`);
  ask('3.5', 'two Accept headers, the second is for a page', { cookies, dest: null, headers: [['accept', 'application/json'], ['accept', 'text/html']] }, `out:${reason}`);
  ask('3.5', 'two Sec-Fetch-Dest headers', { cookies, dest: null, headers: [['sec-fetch-dest', 'document'], ['sec-fetch-dest', 'document']], accept: 'text/html' }, `out:${reason}`);
  ask('3.5', 'Sec-Fetch-Mode does not matter', { cookies, dest: null, headers: [['sec-fetch-mode', 'navigate']] }, `out:${reason}`);
}

function headerPath() {
  const wrongClass = [
    ['M2M', m2mJwt()],
    ['M2M without category', m2mJwt({}, { cat: undefined })],
    ['session category, machine subject', session({ sub: 'mch_1' })],
    ['M2M category, user subject', m2mJwt({ sub: 'user_1' })],
    ['OAuth', oauthJwt()],
    ['OAuth, long type', oauthJwt({}, { typ: 'application/at+jwt' })],
    ['template', template()],
    ['template with a sid', template({ sid: 'sess_1' })],
    ['unknown category', session({}, { cat: 'cl_X' })],
    ['template, expired', template({ exp: NOW - 100 })],
    ['template, wrong signature', session({}, { cat: CATEGORY.template }, { key: 'foreign' })],
    ['OAuth, wrong signature', oauthJwt({}, {}, { key: 'foreign' })],
    ['M2M, expired', m2mJwt({ exp: NOW - 100 })],
  ];
  for (const [name, token] of wrongClass) {
    ask('H1', `${name}, page`, { bearer: token }, { state: 'out:token-type-mismatch', location: null });
    ask('H1', `${name}, call`, { bearer: token, dest: 'empty' }, 'out:token-type-mismatch');
  }
  ask('H1', 'subject that only contains mch_', { bearer: session({ sub: 'user_mch_1' }) }, 'in:user_mch_1');
  ask('H1', 'subject MCH_1', { bearer: session({ sub: 'MCH_1' }) }, 'in:MCH_1');
  ask('H1', 'session token', { bearer: session() }, 'in:user_1');
  for (const opaque of ['mt_1', 'oat_1', 'ak_1', 'mt_', 'ak_a.b.c']) {
    ask('H5', `opaque machine token ${opaque}`, { bearer: opaque }, 'out:token-invalid');
  }

  for (const method of ['GET', 'POST', 'HEAD', 'OPTIONS', 'DELETE']) {
    ask('H2', `${method}`, { bearer: session(), method, dest: 'empty' }, { state: 'in:user_1', location: null, cookies: 0 });
  }
  ask('H2', 'development, no dev browser', { configuration: 'development', bearer: session() }, 'in:user_1');
  ask('H2', 'development, dev browser in the query', { configuration: 'development', bearer: session(), url: 'https://portal.example.com/portal?__clerk_db_jwt=dvb_1' }, { state: 'in:user_1', location: null });
  ask('H2', 'satellite', { configuration: 'satellite-production', bearer: session(), url: 'https://satellite.example.net/?__clerk_synced=false' }, { state: 'in:user_1', location: null });
  ask('H2', 'referer of another origin', { bearer: session(), referer: 'https://elsewhere.example/' }, { state: 'in:user_1', location: null });
  ask('H2', 'another organization in the address', { configuration: 'organizations', bearer: session(), url: 'https://portal.example.com/orgs/two' }, { state: 'in:user_1', location: null });
  ask('H2', 'client_uat later than the token', { bearer: session(), cookies: { __client_uat: NOW } }, 'in:user_1');

  const timely = [
    ['H3', 'expired', expired(), EXPIRED, EXPIRED_NOT_GET],
    ['H4', 'nbf in the future', session({ nbf: NOW + 100 }), 'session-token-nbf', 'session-token-nbf'],
    ['H4', 'iat in the future', session({ iat: NOW + 100, nbf: NOW, exp: NOW + 200 }), 'session-token-iat-in-the-future', 'session-token-iat-in-the-future'],
  ];
  for (const [row, name, bearer, reason, notGet] of timely) {
    ask(row, `${name}, page`, { bearer }, { state: `hs:${reason}`, cookies: 1, location: { __session: bearer, __clerk_hs_reason: reason } });
    ask(row, `${name}, call`, { bearer, dest: 'empty' }, { state: `out:${reason}`, cookies: 0, location: null });
    ask(row, `${name}, no Sec-Fetch-Dest, JSON`, { bearer, dest: null, accept: 'application/json' }, `out:${reason}`);
    ask(row, `${name}, no Sec-Fetch-Dest, page`, { bearer, dest: null, accept: 'text/html' }, `hs:${reason}`);
    for (const method of ['POST', 'HEAD', 'OPTIONS']) {
      ask(row, `${name}, ${method}`, { bearer, method }, { state: `out:${notGet}`, location: null });
    }
    for (const count of [2, 3, 4]) {
      ask(row, `${name}, redirect count ${count}`, { bearer, cookies: { __clerk_redirect_count: count } }, `${count === 3 ? 'out' : 'hs'}:${reason}`);
    }
    ask(row, `${name}, development`, { configuration: 'development', bearer, cookies: { __clerk_db_jwt: 'dvb_1' } }, { state: `hs:${reason}`, location: { __clerk_db_jwt: 'dvb_1' } });
    ask(row, `${name}, a session in the cookie goes into the redirect`, { bearer, cookies: { __session: session({ sub: 'user_2' }) } }, { state: `hs:${reason}`, location: { __session: session({ sub: 'user_2' }) } });
  }
  ask('H3', 'expired four seconds ago is inside the skew', { bearer: expired(4) }, 'in:user_1');
  ask('H3', 'expired five seconds ago is not', { bearer: expired(5) }, `hs:${EXPIRED}`);
  ask('H4', 'nbf five seconds ahead is inside the skew', { bearer: session({ nbf: NOW + 5 }) }, 'in:user_1');
  ask('H4', 'iat six seconds ahead is not', { bearer: session({ iat: NOW + 6, nbf: NOW }) }, 'hs:session-token-iat-in-the-future');

  const others = [
    ['not a token', 'x', {}, 'token-invalid'],
    ['wrong signature', session({}, {}, { key: 'foreign' }), {}, 'token-invalid-signature'],
    ['wrong signature and expired', session({ exp: NOW - 100 }, {}, { key: 'foreign' }), {}, 'token-invalid-signature'],
    ['unknown key', session({}, { kid: 'ins_unknown' }), {}, 'jwk-kid-mismatch'],
    ['wrong algorithm', session({}, { alg: 'ES256' }), {}, 'token-invalid-algorithm'],
    ['wrong party', session({ azp: 'https://evil.example' }), { configuration: 'production-azp' }, 'token-invalid-authorized-parties'],
    ['wrong party and expired', expired(60, { azp: 'https://evil.example' }), { configuration: 'production-azp' }, 'token-invalid-authorized-parties'],
    ['no subject', session({ sub: undefined }), {}, 'token-verification-failed'],
  ];
  for (const [name, bearer, setup, reason] of others) {
    ask('H5', `${name}, page`, { ...setup, bearer }, { state: `out:${reason}`, location: null });
    ask('H5', `${name}, POST`, { ...setup, bearer, method: 'POST', dest: 'empty' }, `out:${reason}`);
    ask('H5', `${name}, with a refresh cookie`, { ...setup, bearer, cookies: { '__refresh_#': 'r1' } }, `out:${reason}`);
  }
}
