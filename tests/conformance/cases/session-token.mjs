// The session token: header, category, shape, order of the checks, claims and clock.

import { ask } from '../lib/build.mjs';
import {
  CATEGORY,
  NOW,
  NOW_MS,
  expired,
  m2mJwt,
  mint,
  mintUnsigned,
  mintWithPublicKeyAsSecret,
  session,
  sessionClaims,
  sessionHeader,
} from '../lib/tokens.mjs';

algorithms();
types();
categories();
shape();
order();
subjects();
audiences();
parties();
clock();
claimTypes();
authObject();

function algorithms() {
  const claims = sessionClaims();
  const rows = [
    ['RS256', session(), 'in:user_1'],
    ['none, no signature', mintUnsigned(sessionHeader({ alg: 'none' }), claims), 'out:token-invalid-algorithm'],
    ['none, signed', session({}, { alg: 'none' }), 'out:token-invalid-algorithm'],
    ['None', session({}, { alg: 'None' }), 'out:token-invalid-algorithm'],
    ['HS256 with the public key as secret', mintWithPublicKeyAsSecret(sessionHeader({ alg: 'HS256' }), claims), 'out:token-invalid-algorithm'],
    ['HS256 signed with RSA', session({}, { alg: 'HS256' }), 'out:token-invalid-algorithm'],
    ['ES256', session({}, { alg: 'ES256' }), 'out:token-invalid-algorithm'],
    ['PS256', session({}, { alg: 'PS256' }), 'out:token-invalid-algorithm'],
    ['rs256', session({}, { alg: 'rs256' }), 'out:token-invalid-algorithm'],
    ['absent', session({}, { alg: undefined }), 'out:token-invalid-algorithm'],
    ['null', session({}, { alg: null }), 'out:token-invalid-algorithm'],
    ['empty', session({}, { alg: '' }), 'out:token-invalid-algorithm'],
    ['a list', session({}, { alg: ['RS256'] }), 'out:token-invalid-algorithm'],
    ['toString', session({}, { alg: 'toString' }), 'out:token-invalid-algorithm'],
    ['RS384 with a key for RS256', session({}, { alg: 'RS384' }, { hash: 'RS384' }), 'out:token-verification-failed'],
    ['RS512 with a key for RS256', session({}, { alg: 'RS512' }, { hash: 'RS512' }), 'out:token-verification-failed'],
    ['RS384 said, RS256 done', session({}, { alg: 'RS384' }), 'out:token-verification-failed'],
    ['RS256 said, RS512 done', session({}, {}, { hash: 'RS512' }), 'out:token-invalid-signature'],
  ];
  for (const [name, token, want] of rows) {
    const loose = want.endsWith('token-verification-failed') ? ['message', 'headers'] : undefined;
    ask('2.1', `alg ${name}, header`, { bearer: token, loose }, want);
    ask('2.1', `alg ${name}, cookie`, { cookies: { __session: token, __client_uat: NOW - 100 }, loose }, want);
  }
}

function types() {
  const rows = [
    ['absent', undefined, 'in:user_1'],
    ['JWT', 'JWT', 'in:user_1'],
    ['jwt', 'jwt', 'out:token-invalid'],
    ['empty', '', 'out:token-invalid'],
    ['null', null, 'out:token-invalid'],
    ['a number', 1, 'out:token-invalid'],
    ['a list', ['JWT'], 'out:token-invalid'],
    ['JWT with a space', 'JWT ', 'out:token-invalid'],
    ['application/jwt', 'application/jwt', 'out:token-invalid'],
    ['at+jwt', 'at+jwt', 'out:token-type-mismatch'],
    ['application/at+jwt', 'application/at+jwt', 'out:token-type-mismatch'],
    ['AT+JWT', 'AT+JWT', 'out:token-invalid'],
  ];
  for (const [name, typ, want] of rows) {
    ask('2.1', `typ ${name}, header`, { bearer: session({}, { typ }) }, want);
    ask('2.1', `typ ${name}, cookie`, { cookies: { __session: session({}, { typ }), __client_uat: NOW - 100 } }, want);
  }
}

function categories() {
  const rows = [
    ['session', CATEGORY.session, true],
    ['template', CATEGORY.template, false],
    ['M2M', CATEGORY.m2m, false],
    ['no information', CATEGORY.ignore, true],
    ['absent', undefined, true],
    ['unknown', 'cl_B7d4PD444AAA', false],
    ['empty', '', false],
    ['null', null, false],
    ['a number', 1, false],
    ['a list', [CATEGORY.session], false],
    ['session in other letters', CATEGORY.session.toLowerCase(), false],
    ['session with a space', `${CATEGORY.session} `, false],
  ];
  for (const [name, cat, good] of rows) {
    const want = good ? 'in:user_1' : 'out:token-type-mismatch';
    ask('2.1', `cat ${name}, header`, { bearer: session({}, { cat }) }, want);
    ask('2.1', `cat ${name}, cookie`, { cookies: { __session: session({}, { cat }), __client_uat: NOW - 100 } }, want);
  }
  for (const [name, cat] of [['no information', CATEGORY.ignore], ['absent', undefined]]) {
    ask('2.1', `template without sid on an instance where cat is ${name}`, { bearer: session({ sid: undefined }, { cat }) }, 'in:user_1');
  }
}

function shape() {
  const good = session();
  const [header, payload, signature] = good.split('.');
  const text = (value) => Buffer.from(value).toString('base64url');
  const flip = (part) => `${part.slice(0, -1)}${part.endsWith('A') ? 'Q' : 'A'}`;
  const rows = [
    ['one part', 'abc', 'out:token-invalid'],
    ['two parts', `${header}.${payload}`, 'out:token-invalid'],
    ['four parts', `${good}.${signature}`, 'out:token-invalid'],
    ['a dot at the end', `${good}.`, 'out:token-invalid'],
    ['a dot in front', `.${good}`, 'out:token-invalid'],
    ['only dots', '..', 'out:token-invalid'],
    ['empty header', `.${payload}.${signature}`, 'out:token-invalid'],
    ['empty payload', `${header}..${signature}`, 'out:token-invalid'],
    ['empty signature', `${header}.${payload}.`, 'out:token-invalid-signature'],
    ['short signature', `${header}.${payload}.AAAA`, 'out:token-invalid-signature'],
    ['signature with padding', `${good}==`, 'in:user_1'],
    ['signature with too much padding', `${good}====`, 'in:user_1'],
    ['header with padding', `${header}=.${payload}.${signature}`, 'out:token-invalid-signature'],
    ['payload with padding', `${header}.${payload}==.${signature}`, 'out:token-invalid-signature'],
    ['signature with unused bits set', `${good.slice(0, -1)}${good.endsWith('A') ? 'B' : nextLetter(good.at(-1))}`, 'out:token-invalid'],
    ['signature of a wrong letter', `${good.slice(0, -1)}!`, 'out:token-invalid'],
    ['signature one letter longer', `${good}A`, 'out:token-invalid-signature'],
    ['signature one letter shorter', good.slice(0, -1), 'out:token-invalid'],
    ['signature changed inside', `${header}.${payload}.${flip(signature.slice(0, 20))}${signature.slice(20)}`, 'out:token-invalid-signature'],
    ['standard base64 letters', `${header}.${payload}.${Buffer.from(signature, 'base64url').toString('base64')}`, 'out:token-invalid'],
    ['payload of another token', `${header}.${session({ sub: 'user_2' }).split('.')[1]}.${signature}`, 'out:token-invalid-signature'],
    ['header not JSON', `${text('abc')}.${payload}.${signature}`, 'out:token-invalid'],
    ['payload not JSON', `${header}.${text('abc')}.${signature}`, 'out:token-invalid'],
    ['payload with text behind', `${header}.${text('{}x')}.${signature}`, 'out:token-invalid'],
    ['payload of half an object', `${header}.${text('{"sub":')}.${signature}`, 'out:token-invalid'],
    ['header null', `${text('null')}.${payload}.${signature}`, 'out:unexpected-error'],
    ['header a list', `${text('[]')}.${payload}.${signature}`, 'out:jwk-kid-mismatch'],
    ['header a text', `${text('"x"')}.${payload}.${signature}`, 'out:jwk-kid-mismatch'],
    ['header a number', `${text('1')}.${payload}.${signature}`, 'out:jwk-kid-mismatch'],
    ['payload a list, signed', mint(sessionHeader(), '[]'), 'out:token-verification-failed'],
    ['payload a text, signed', mint(sessionHeader(), '"x"'), 'out:token-verification-failed'],
    ['payload a number, signed', mint(sessionHeader(), '1'), 'out:token-verification-failed'],
    ['payload null, signed', mint(sessionHeader(), 'null'), 'out:unexpected-error', 'stops'],
    ['payload null, signature of another token', `${header}.${text('null')}.${signature}`, 'out:token-invalid-signature', 'stops'],
    ['byte order mark before the payload', mint(sessionHeader(), `\ufeff${JSON.stringify(sessionClaims())}`), 'in:user_1'],
    ['white space around the payload', mint(sessionHeader(), ` \n${JSON.stringify(sessionClaims())}\t`), 'in:user_1'],
    ['bytes that are not UTF-8 in a claim', mint(sessionHeader(), withBrokenBytes()), 'in:user_\ufffd1'],
    ['same claim twice, the last wins', mint(sessionHeader(), JSON.stringify(sessionClaims()).replace('{', '{"sub":"user_0",')), 'in:user_1'],
    ['same header field twice, the last wins', mint('{"alg":"none","alg":"RS256","kid":"ins_conformance","typ":"JWT"}', sessionClaims()), 'in:user_1'],
  ];
  const notObject = 'Not an object: the SDK meets an error that is not its own.';
  const stopped = 'The SDK throws on a session cookie with the payload null, signed or not. Any refusal is right here.';
  for (const [name, token, want, inCookie] of rows) {
    const note = /null/.test(name) ? notObject : undefined;
    ask('2.3', `step 1, ${name}, header`, { bearer: token, note }, want);
    const cookies = { __session: token, __client_uat: NOW - 100 };
    const setup = inCookie === 'stops' ? { cookies, note: stopped, loose: ['throws'] } : { cookies, note };
    ask('2.3', `step 1, ${name}, cookie`, setup, inCookie === 'stops' ? 'throws:Cannot read properties of null' : want);
  }
}

function nextLetter(letter) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return letters[letters.indexOf(letter) + 1];
}

function withBrokenBytes() {
  const [before, after] = JSON.stringify(sessionClaims({ sub: 'user_|1' })).split('|');
  return Buffer.concat([Buffer.from(before), Buffer.from([0xff]), Buffer.from(after)]);
}

function order() {
  const foreign = { key: 'foreign' };
  const rows = [
    ['M2M category before the key', m2mJwt({ sub: 'user_1' }, { kid: 'ins_unknown' }), { accepts: 'any' }, 'out:token-invalid'],
    ['M2M category before the algorithm', m2mJwt({ sub: 'user_1' }, { alg: 'none' }), { accepts: 'any' }, 'out:token-invalid'],
    ['key before type', session({}, { kid: 'ins_unknown', typ: 'jwt' }), {}, 'out:jwk-kid-mismatch'],
    ['key before algorithm', session({}, { kid: 'ins_unknown', alg: 'none' }), {}, 'out:jwk-kid-mismatch'],
    ['type before algorithm', session({}, { typ: 'jwt', alg: 'none' }), {}, 'out:token-invalid'],
    ['algorithm before signature', session({}, { alg: 'none' }, foreign), {}, 'out:token-invalid-algorithm'],
    ['signature before sub', session({ sub: undefined }, {}, foreign), {}, 'out:token-invalid-signature'],
    ['signature before exp', session({ exp: NOW - 100 }, {}, foreign), {}, 'out:token-invalid-signature'],
    ['signature before azp', session({ azp: 'https://evil.example' }, {}, foreign), { configuration: 'production-azp' }, 'out:token-invalid-signature'],
    ['signature before aud', session({ aud: 'x' }, {}, foreign), { configuration: 'production-audience' }, 'out:token-invalid-signature'],
    ['sub before aud', session({ sub: 5, aud: 'x' }), { configuration: 'production-audience' }, 'out:token-verification-failed'],
    ['sub before exp', session({ sub: undefined, exp: NOW - 100 }), {}, 'out:token-verification-failed'],
    ['aud before exp', session({ aud: 'x', exp: NOW - 100 }), { configuration: 'production-audience' }, 'out:token-verification-failed'],
    ['azp before exp', session({ azp: 'https://evil.example', exp: NOW - 100 }), { configuration: 'production-azp' }, 'out:token-invalid-authorized-parties'],
    ['azp before nbf', session({ azp: undefined, nbf: NOW + 100 }), { configuration: 'production-azp' }, 'out:token-invalid-authorized-parties'],
    ['exp before nbf', session({ exp: NOW - 100, nbf: NOW + 100 }), {}, 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie'],
    ['exp before iat', session({ exp: NOW - 100, iat: NOW + 100, nbf: NOW }), {}, 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie'],
    ['nbf before iat', session({ exp: NOW + 500, nbf: NOW + 100, iat: NOW + 100 }), {}, 'hs:session-token-nbf'],
    ['bad exp before nbf', session({ exp: 'x', nbf: NOW + 100 }), {}, 'out:token-verification-failed'],
    ['bad nbf before iat', session({ nbf: 'x', iat: NOW + 100 }), {}, 'out:token-verification-failed'],
  ];
  for (const [name, token, setup, want] of rows) {
    ask('2.3', `order, ${name}`, { ...setup, bearer: token }, want);
  }
}

function subjects() {
  const rows = [
    ['text', 'user_1', 'in:user_1'],
    ['empty text', '', 'in'],
    ['absent', undefined, 'out:token-verification-failed'],
    ['null', null, 'out:token-verification-failed'],
    ['number', 5, 'out:token-verification-failed'],
    ['list', ['user_1'], 'out:token-verification-failed'],
    ['object', {}, 'out:token-verification-failed'],
    ['true', true, 'out:token-verification-failed'],
    ['other kind of id', 'org_1', 'in:org_1'],
  ];
  for (const [name, sub, want] of rows) {
    ask('2.3', `sub ${name}, header`, { bearer: session({ sub }) }, want);
    ask('2.3', `sub ${name}, cookie`, { cookies: { __session: session({ sub }), __client_uat: NOW - 100 } }, want);
  }
}

function audiences() {
  const one = [
    ['absent', undefined, true],
    ['equal', 'portal-api', true],
    ['other', 'billing-api', false],
    ['a part of it', 'portal', false],
    ['more than it', 'portal-api-2', false],
    ['in other letters', 'Portal-API', false],
    ['empty', '', true],
    ['null', null, true],
    ['list with it', ['billing-api', 'portal-api'], true],
    ['list without it', ['billing-api'], false],
    ['list with a part of it', ['portal'], false],
    ['empty list', [], true],
    ['list of empty text', [''], true],
    ['list with it and a number', ['portal-api', 5], true],
    ['list without it but with a number', ['billing-api', 5], true],
    ['list with null and another', ['billing-api', null], true],
    ['number', 5, true],
    ['zero', 0, true],
    ['object', { a: 1 }, true],
    ['true', true, true],
  ];
  const slips = new Set(['list without it but with a number', 'list with null and another', 'number', 'object', 'true']);
  const note = 'The SDK lets an audience of the wrong type pass.';
  for (const [name, aud, good] of one) {
    ask('2.3', `aud ${name}, one configured`, { configuration: 'production-audience', bearer: session({ aud }), note: slips.has(name) ? note : undefined },
      good ? 'in:user_1' : 'out:token-verification-failed');
  }
  const others = [
    ['production-audience-list', 'portal-admin', true],
    ['production-audience-list', 'billing-api', false],
    ['production-audience-list', ['x', 'portal-admin'], true],
    ['production-audience-list', ['x', 'y'], false],
    ['production-audience-list', undefined, true],
    ['production-audience-none', 'billing-api', true],
    ['production', 'billing-api', true],
    ['production', ['billing-api'], true],
  ];
  for (const [configuration, aud, good] of others) {
    ask('2.3', `aud ${JSON.stringify(aud)} in ${configuration}`, { configuration, bearer: session({ aud }) }, good ? 'in:user_1' : 'out:token-verification-failed');
  }
  ask('2.3', 'aud wrong, cookie', { configuration: 'production-audience', cookies: { __session: session({ aud: 'x' }), __client_uat: NOW - 100 } }, 'out:token-verification-failed');
  ask('2.3', 'aud right, cookie', { configuration: 'production-audience', cookies: { __session: session({ aud: 'portal-api' }), __client_uat: NOW - 100 } }, 'in:user_1');
}

function parties() {
  const rows = [
    ['equal', 'https://portal.example.com', true],
    ['absent', undefined, false],
    ['null', null, false],
    ['empty', '', false],
    ['other', 'https://evil.example', false],
    ['with a slash', 'https://portal.example.com/', false],
    ['with the port', 'https://portal.example.com:443', false],
    ['without the scheme', 'portal.example.com', false],
    ['http', 'http://portal.example.com', false],
    ['in other letters', 'https://Portal.example.com', false],
    ['longer', 'https://portal.example.com.evil.example', false],
    ['a list with it', ['https://portal.example.com'], false],
    ['a number', 5, false],
    ['a joined list', 'https://other.example.com,https://portal.example.com', false],
  ];
  for (const [name, azp, good] of rows) {
    const want = good ? 'in:user_1' : 'out:token-invalid-authorized-parties';
    for (const configuration of ['production-azp', 'production-azp-two']) {
      ask('2.6', `azp ${name}, ${configuration}, header`, { configuration, bearer: session({ azp }) }, want);
    }
    ask('2.6', `azp ${name}, cookie`, { configuration: 'production-azp', cookies: { __session: session({ azp }), __client_uat: NOW - 100 } }, want);
  }
  for (const configuration of ['production', 'production-azp-none']) {
    for (const azp of [undefined, 'https://evil.example', 5]) {
      ask('2.6', `azp ${azp ?? 'absent'}, nothing configured (${configuration})`, { configuration, bearer: session({ azp }) }, 'in:user_1');
    }
  }
}

function clock() {
  const expiredWant = 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie';
  const configurations = [
    ['production', 5000],
    ['production-skew-0', 0],
    ['production-skew-1500', 1500],
    ['production-skew-60000', 60000],
    ['production-skew-negative', -2000],
  ];
  for (const [configuration, skew] of configurations) {
    for (const offset of [-1, 0, 1]) {
      // The clock moves by milliseconds, the claims stay at whole seconds.
      const exp = NOW - 100;
      const expiresAt = exp * 1000 + skew;
      const token = session({ iat: NOW - 160, nbf: NOW - 170, exp });
      ask('2.3', `exp with skew ${skew} ms, ${offset} ms from the edge`, { configuration, bearer: token, now: expiresAt + offset },
        offset >= 0 ? expiredWant : 'in:user_1');
      const later = NOW + 100;
      const startsAt = later * 1000 - skew;
      ask('2.3', `nbf with skew ${skew} ms, ${offset} ms from the edge`, { configuration, bearer: session({ iat: NOW - 200, nbf: later, exp: NOW + 500 }), now: startsAt + offset },
        offset >= 0 ? 'in:user_1' : 'hs:session-token-nbf');
      ask('2.3', `iat with skew ${skew} ms, ${offset} ms from the edge`, { configuration, bearer: session({ iat: later, nbf: NOW - 200, exp: NOW + 500 }), now: startsAt + offset },
        offset >= 0 ? 'in:user_1' : 'hs:session-token-iat-in-the-future');
    }
  }
  for (const offset of [-1, 0, 1]) {
    const exp = NOW - 100;
    ask('2.3', `exp in the cookie, ${offset} ms from the edge`, { cookies: { __session: session({ iat: NOW - 160, exp }), __client_uat: NOW - 500 }, now: exp * 1000 + 5000 + offset },
      offset >= 0 ? expiredWant : 'in:user_1');
  }
  ask('2.3', 'iat and nbf absent', { bearer: session({ iat: undefined, nbf: undefined, exp: NOW + 50 }) }, 'in:user_1');
  ask('2.3', 'expired a day ago', { bearer: expired(86400) }, expiredWant);
  ask('2.3', 'iat after exp', { bearer: session({ iat: NOW, nbf: NOW - 10, exp: NOW - 4 }) }, 'in:user_1');
}

function claimTypes() {
  const out = 'out:token-verification-failed';
  const gone = 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie';
  const raw = (claim, text) => mint(sessionHeader(), JSON.stringify(sessionClaims({ [claim]: '@' })).replace('"@"', text));
  const rows = [
    ['absent', undefined, [out, 'in:user_1', 'in:user_1']],
    ['null', 'null', [out, out, out]],
    ['text', '"1767225650"', [out, out, out]],
    ['empty text', '""', [out, out, out]],
    ['list', '[1767225650]', [out, out, out]],
    ['object', '{}', [out, out, out]],
    ['true', 'true', [out, out, out]],
    ['zero', '0', [gone, 'in:user_1', 'in:user_1']],
    ['minus one', '-1', [gone, 'in:user_1', 'in:user_1']],
    ['after 2038', '4102444800', ['in:user_1', 'hs:session-token-nbf', 'hs:session-token-iat-in-the-future']],
    ['a fraction above the edge of exp', '1767225595.999', [gone, 'in:user_1', 'in:user_1']],
    ['a second above the edge of exp', '1767225596.0', ['in:user_1', 'in:user_1', 'in:user_1']],
    ['a fraction above the edge of nbf and iat', '1767225605.999', ['in:user_1', 'in:user_1', 'in:user_1']],
    ['a second above the edge of nbf and iat', '1767225606.0', ['in:user_1', 'hs:session-token-nbf', 'hs:session-token-iat-in-the-future']],
    ['written with an exponent', '1.76722565e9', ['in:user_1', 'hs:session-token-nbf', 'hs:session-token-iat-in-the-future']],
    ['last second of the calendar', '8640000000000', ['in:user_1', 'hs:session-token-nbf', 'hs:session-token-iat-in-the-future']],
    ['one second after the calendar', '8640000000001', ['in:user_1', 'in:user_1', 'in:user_1']],
    ['first second of the calendar', '-8640000000000', [gone, 'in:user_1', 'in:user_1']],
    ['one second before the calendar', '-8640000000001', ['in:user_1', 'in:user_1', 'in:user_1']],
    ['above 2^53', '9007199254740993', ['in:user_1', 'in:user_1', 'in:user_1']],
    ['milliseconds instead of seconds', '1767225650000', ['in:user_1', 'hs:session-token-nbf', 'hs:session-token-iat-in-the-future']],
    ['beyond every number', '1e400', ['in:user_1', 'in:user_1', 'in:user_1']],
    ['below every number', '-1e400', ['in:user_1', 'in:user_1', 'in:user_1']],
  ];
  const notes = [
    [/fraction/, 'A fraction of a second is cut off before the comparison.'],
    [/one second (after|before) the calendar|every number|above 2\^53/, 'Outside the range of JavaScript dates no comparison is true, so the SDK lets the token pass.'],
  ];
  for (const [name, text, wants] of rows) {
    const note = notes.find(([pattern]) => pattern.test(name))?.[1];
    ['exp', 'nbf', 'iat'].forEach((claim, index) => {
      const token = text === undefined ? session({ [claim]: undefined, ...(claim === 'iat' && { exp: NOW + 50 }) }) : raw(claim, text);
      ask('2.3', `${claim} ${name}`, { bearer: token, note }, wants[index]);
    });
  }
}

function authObject() {
  const rows = [
    ['sid and sub', {}, { user_id: 'user_1', session_id: 'sess_1', session_status: null, actor: null, factor_verification_age: null }],
    ['no sid', { sid: undefined }, { user_id: 'user_1', session_id: null }],
    ['sid a number', { sid: 5 }, { session_id: 5 }],
    ['sts active', { sts: 'active' }, { user_id: 'user_1', session_status: 'active' }],
    ['sts pending', { sts: 'pending' }, { user_id: null, session_id: null, session_status: 'pending', org_id: null }],
    ['sts pending with an organization', { sts: 'pending', o: { id: 'org_1', rol: 'admin', slg: 'one' } }, { user_id: null, session_status: 'pending', org_id: null, org_role: null }],
    ['sts unknown', { sts: 'paused' }, { user_id: 'user_1', session_status: 'paused' }],
    ['sts Pending', { sts: 'Pending' }, { user_id: 'user_1', session_status: 'Pending' }],
    ['sts null', { sts: null }, { user_id: 'user_1', session_status: null }],
    ['sts empty', { sts: '' }, { user_id: 'user_1', session_status: '' }],
    ['act of a person', { act: { sub: 'user_9', iss: 'https://dashboard.clerk.com', sid: 'sess_9' } }, { user_id: 'user_1', actor: { sub: 'user_9', iss: 'https://dashboard.clerk.com', sid: 'sess_9' } }],
    ['act with only sub', { act: { sub: 'user_9' } }, { actor: { sub: 'user_9' } }],
    ['act of an agent', { act: { sub: 'agent_1', type: 'agent' } }, { actor: { sub: 'agent_1', type: 'agent' } }],
    ['act null', { act: null }, { actor: null }],
    ['act a text', { act: 'user_9' }, { actor: 'user_9' }],
    ['act empty', { act: {} }, { actor: {} }],
    ['fva', { fva: [3, -1] }, { factor_verification_age: [3, -1] }],
    ['fva zero', { fva: [0, 0] }, { factor_verification_age: [0, 0] }],
    ['fva null', { fva: null }, { factor_verification_age: null }],
    ['fva a text', { fva: 'x' }, { factor_verification_age: 'x' }],
    ['fva of three', { fva: [1, 2, 3] }, { factor_verification_age: [1, 2, 3] }],
  ];
  for (const [name, claims, auth] of rows) {
    ask('2.8', `${name}, header`, { bearer: session(claims) }, { state: 'in', auth });
    ask('2.8', `${name}, cookie`, { cookies: { __session: session(claims), __client_uat: NOW - 100 } }, { state: 'in', auth });
  }
  ask('2.8', 'custom claims do not disturb', { bearer: session({ role: 'admin', user_id: 'user_2', metadata: { a: [1, null] }, email: 'a@example.com' }) }, 'in:user_1');
  ask('2.8', 'iss absent', { bearer: session({ iss: undefined }) }, 'in:user_1');
  ask('2.7', 'iss of another instance, header', { bearer: session({ iss: 'https://clerk.other.example' }) }, 'in:user_1');
  ask('2.7', 'iss a number, header', { bearer: session({ iss: 5 }) }, 'in:user_1');
  ask('2.7', 'iss absent, cookie', { cookies: { __session: session({ iss: undefined }), __client_uat: NOW - 100 } }, 'in:user_1');
  ask('2.7', 'iss of another instance, suffixed cookie', { cookies: { '__session_#': session({ iss: 'https://clerk.other.example' }), '__client_uat_#': NOW - 100 } }, 'in:user_1');
  ask('2.2', 'a token near the size of a cookie', { bearer: session({ blob: 'x'.repeat(2500) }) }, 'in:user_1');
  ask('2.2', 'clock in 2040', { bearer: session({ iat: 2208988800, exp: 2208988860 }), now: 2208988805000 }, 'in:user_1');
  ask('2.2', 'clock of the cases', { bearer: session(), now: NOW_MS }, 'in:user_1');
}
