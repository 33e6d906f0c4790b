// Which cookies count: the plain ones or the ones with a suffix. The rules are written down once more
// here and asked about every combination of the four cookies.

import { ask } from '../lib/build.mjs';
import { ISSUER, NOW, PORTAL, expired, mint, session, sessionHeader } from '../lib/tokens.mjs';

const OLD = NOW - 30;
const YOUNG = NOW - 20;
const UAT = NOW - 100;

// iat 0 stands for "missing or cannot be read".
const plainSessions = {
  absent: {},
  'not a token': { token: 'x', unreadable: true },
  'no issuer': { token: session({ iss: undefined, sub: 'user_plain', iat: OLD }), noIssuer: true, iat: OLD },
  foreign: { token: session({ iss: 'https://clerk.other.example', sub: 'user_plain', iat: OLD }), foreign: true, iat: OLD },
  older: { token: session({ sub: 'user_plain', iat: OLD }), iat: OLD },
  younger: { token: session({ sub: 'user_plain', iat: NOW - 10 }), iat: NOW - 10 },
};
const suffixedSessions = {
  absent: {},
  good: { token: session({ sub: 'user_suffixed', iat: YOUNG }), iat: YOUNG },
  expired: { token: session({ sub: 'user_suffixed', iat: NOW - 90 }), iat: NOW - 90, expired: true },
};
const uats = [undefined, 0, UAT];

combinations();
details();
devBrowser();

function combinations() {
  for (const production of [true, false]) {
    for (const [plainName, plain] of Object.entries(plainSessions)) {
      if (!production && !['absent', 'older', 'younger'].includes(plainName)) {
        continue;
      }
      for (const [suffixedName, suffixed] of Object.entries(suffixedSessions)) {
        for (const plainUat of uats) {
          for (const suffixedUat of uats) {
            combination({ production, plainName, plain, suffixedName, suffixed, plainUat, suffixedUat });
          }
        }
      }
    }
  }
}

function combination({ production, plainName, plain, suffixedName, suffixed, plainUat, suffixedUat }) {
  const { rule, useSuffixed } = firstRule({ production, plain, suffixed, plainUat, suffixedUat });
  const cookies = {
    __session: plain.token,
    '__session_#': suffixed.token,
    __client_uat: plainUat,
    '__client_uat_#': suffixedUat,
    ...(!production && { __clerk_db_jwt: 'dvb_1', '__clerk_db_jwt_#': 'dvb_1' }),
  };
  const [used, uat] = useSuffixed ? [suffixed, suffixedUat] : [plain, plainUat];
  const shown = `S ${plainName}, SS ${suffixedName}, U ${shownUat(plainUat)}, SU ${shownUat(suffixedUat)}`;
  const configuration = production ? 'production' : 'development';
  ask(`3.3 rule ${rule}`, `${configuration}: ${shown}`, { configuration, cookies }, verdict(used, uat, useSuffixed));
}

function shownUat(uat) {
  return { undefined: 'absent', 0: '0' }[uat] ?? 'set';
}

function firstRule({ production, plain, suffixed, plainUat, suffixedUat }) {
  const rules = [
    [1, plain.token && (plain.unreadable || plain.noIssuer), false],
    [2, plain.token && plain.foreign, true],
    [3, suffixedUat === undefined && !suffixed.token, false],
    [4, suffixedUat !== 0 && plainUat !== 0 && (plain.iat ?? 0) > (suffixed.iat ?? 0), false],
    [5, suffixedUat === 0 && plainUat !== 0, false],
    [6, !production && suffixedUat !== 0 && plainUat === 0 && suffixed.expired, false],
    [7, suffixedUat === undefined && suffixed.token, false],
    [8, true, true],
  ];
  const [rule, , useSuffixed] = rules.find(([, holds]) => holds);
  return { rule, useSuffixed };
}

// The decision table of the cookie path, for the cookies that count.
function verdict({ token, unreadable, expired: isExpired, foreign }, uat, useSuffixed) {
  const handshake = (reason) => ({ state: `hs:${reason}`, location: { suffixed_cookies: String(useSuffixed) } });
  if (!uat) {
    return token ? handshake('session-token-but-no-client-uat') : 'out:session-token-and-uat-missing';
  }
  if (!token) {
    return handshake('client-uat-but-no-session-token');
  }
  if (unreadable) {
    return 'out:token-invalid';
  }
  if (isExpired) {
    return handshake('session-token-expired-refresh-non-eligible-no-refresh-cookie');
  }
  return `in:${useSuffixed && !foreign ? 'user_suffixed' : 'user_plain'}`;
}

function details() {
  const plain = (claims) => session({ sub: 'user_plain', ...claims });
  const suffixed = (claims) => session({ sub: 'user_suffixed', ...claims });
  const both = { __client_uat: UAT, '__client_uat_#': UAT };
  const rows = [
    [1, 'issuer empty', { __session: plain({ iss: '' }), '__session_#': suffixed() }, 'in:user_plain'],
    [1, 'issuer null', { __session: plain({ iss: null }), '__session_#': suffixed() }, 'in:user_plain'],
    [1, 'issuer zero', { __session: plain({ iss: 0 }), '__session_#': suffixed() }, 'in:user_plain'],
    [1, 'payload an empty list', { __session: mint(sessionHeader(), '[]'), '__session_#': suffixed() }, 'out:token-verification-failed'],
    [2, 'issuer a number', { __session: plain({ iss: 5 }), '__session_#': suffixed() }, 'in:user_suffixed'],
    [2, 'issuer a list', { __session: plain({ iss: [ISSUER] }), '__session_#': suffixed() }, 'in:user_suffixed'],
    [2, 'issuer true', { __session: plain({ iss: true }), '__session_#': suffixed() }, 'in:user_suffixed'],
    [2, 'foreign and younger, signature wrong', { __session: session({ iss: 'https://x.example', iat: NOW }, {}, { key: 'foreign' }), '__session_#': suffixed() }, 'in:user_suffixed'],
    [2, 'foreign, nothing suffixed', { __session: plain({ iss: 'https://x.example' }), '__client_uat_#': undefined }, 'out:session-token-and-uat-missing'],
    [4, 'same iat: not younger', { __session: plain({ iat: YOUNG }), '__session_#': suffixed({ iat: YOUNG }) }, 'in:user_suffixed'],
    [4, 'one second younger', { __session: plain({ iat: YOUNG + 1 }), '__session_#': suffixed({ iat: YOUNG }) }, 'in:user_plain'],
    [4, 'one second older', { __session: plain({ iat: YOUNG - 1 }), '__session_#': suffixed({ iat: YOUNG }) }, 'in:user_suffixed'],
    [4, 'younger but badly signed', { __session: session({ sub: 'user_plain', iat: NOW }, {}, { key: 'foreign' }), '__session_#': suffixed() }, 'out:token-invalid-signature'],
    [4, 'suffixed not a token', { __session: plain(), '__session_#': 'x' }, 'in:user_plain'],
    [4, 'suffixed without iat', { __session: plain(), '__session_#': suffixed({ iat: undefined, exp: NOW + 50 }) }, 'in:user_plain'],
    [4, 'plain without iat', { __session: plain({ iat: undefined, exp: NOW + 50 }), '__session_#': suffixed() }, 'in:user_suffixed'],
    [4, 'iat of the plain one a text', { __session: plain({ iat: '1767225599', exp: NOW + 50 }), '__session_#': suffixed() }, 'out:token-verification-failed'],
    [4, 'iat of the suffixed one a text', { __session: plain(), '__session_#': suffixed({ iat: 'x', exp: NOW + 50 }) }, 'out:token-verification-failed'],
    [4, 'suffixed uat not a number', { __session: plain(), '__session_#': suffixed({ iat: YOUNG }), '__client_uat_#': 'abc' }, 'in:user_plain'],
    [4, 'suffixed uat 00 is not 0', { __session: plain(), '__session_#': suffixed({ iat: YOUNG }), '__client_uat_#': '00' }, 'in:user_plain'],
    [8, 'suffixed uat 00 and suffixed younger', { __session: plain({ iat: OLD }), '__session_#': suffixed(), '__client_uat_#': '00' }, 'hs:session-token-but-no-client-uat'],
    [5, 'suffixed 0, plain empty', { __session: plain(), __client_uat: '', '__client_uat_#': 0 }, 'hs:session-token-but-no-client-uat'],
    [5, 'suffixed 0, plain 00', { __session: plain({ iat: OLD }), '__session_#': suffixed(), __client_uat: '00', '__client_uat_#': 0 }, 'hs:session-token-but-no-client-uat'],
    [3, 'both suffixed empty', { __session: plain(), '__session_#': '', '__client_uat_#': '' }, 'in:user_plain'],
    [7, 'suffixed uat empty, suffixed session younger', { __session: plain({ iat: OLD }), '__session_#': suffixed(), '__client_uat_#': '' }, 'in:user_plain'],
    [3, 'suffix of another key', { __session: plain(), __session_AAAAAAAA: suffixed(), __client_uat_AAAAAAAA: UAT, '__client_uat_#': undefined }, 'in:user_plain'],
    [3, 'suffix in other letters', { __session: plain(), __session_NAOXFJNI: suffixed(), __client_uat_NAOXFJNI: UAT, '__client_uat_#': undefined }, 'in:user_plain'],
  ];
  for (const [rule, name, cookies, want] of rows) {
    ask(`3.3 rule ${rule}`, name, { cookies: { ...both, ...cookies } }, want);
  }

  // A token of another category in the plain cookie still decides which cookies count.
  ask('3.3 rule 4', 'younger token of a template', { cookies: { ...both, __session: session({ iat: NOW }, { cat: 'cl_B7d4PD222AAA' }), '__session_#': suffixed() } }, 'out:token-type-mismatch');

  const development = { configuration: 'development' };
  const dev = { __clerk_db_jwt: 'dvb_1', '__clerk_db_jwt_#': 'dvb_1', __client_uat: 0, '__client_uat_#': UAT };
  const edge = (exp) => suffixed({ iat: NOW - 50, exp });
  ask('3.3 rule 6', 'suffixed token expires this second', { ...development, cookies: { ...dev, '__session_#': edge(NOW) } }, 'out:session-token-and-uat-missing');
  ask('3.3 rule 6', 'suffixed token expires next second', { ...development, cookies: { ...dev, '__session_#': edge(NOW + 1) } }, 'in:user_suffixed');
  ask('3.3 rule 6', 'no skew: expired one second ago would still be accepted', { ...development, cookies: { ...dev, '__session_#': edge(NOW - 1) } }, 'out:session-token-and-uat-missing');
  ask('3.3 rule 6', 'the clock is cut to whole seconds', { ...development, now: NOW * 1000 + 999, cookies: { ...dev, '__session_#': edge(NOW + 1) } }, 'in:user_suffixed');
  ask('3.3 rule 6', 'not in production', { cookies: { __client_uat: 0, '__client_uat_#': UAT, '__session_#': expired(60, { sub: 'user_suffixed' }) } }, { state: 'hs:session-token-iat-before-client-uat', location: { suffixed_cookies: 'true' } });
}

function devBrowser() {
  const setup = (cookies, url) => ({ configuration: 'development', cookies, url });
  const rows = [
    ['plain one, plain cookies', { __clerk_db_jwt: 'dvb_plain', __client_uat: UAT }, 'hs:client-uat-but-no-session-token', 'dvb_plain'],
    ['suffixed one, plain cookies', { '__clerk_db_jwt_#': 'dvb_suffixed', __client_uat: UAT }, 'hs:dev-browser-missing', undefined],
    ['suffixed one, suffixed cookies', { '__clerk_db_jwt_#': 'dvb_suffixed', '__client_uat_#': UAT }, 'hs:client-uat-but-no-session-token', 'dvb_suffixed'],
    ['plain one, suffixed cookies', { __clerk_db_jwt: 'dvb_plain', '__client_uat_#': UAT }, 'hs:dev-browser-missing', undefined],
    ['both, suffixed cookies', { __clerk_db_jwt: 'dvb_plain', '__clerk_db_jwt_#': 'dvb_suffixed', '__client_uat_#': UAT }, 'hs:client-uat-but-no-session-token', 'dvb_suffixed'],
    ['both, plain cookies', { __clerk_db_jwt: 'dvb_plain', '__clerk_db_jwt_#': 'dvb_suffixed', __client_uat: UAT }, 'hs:client-uat-but-no-session-token', 'dvb_plain'],
    ['empty', { __clerk_db_jwt: '', __client_uat: UAT }, 'hs:dev-browser-missing', undefined],
  ];
  for (const [name, cookies, state, token] of rows) {
    ask('3.3', `dev browser: ${name}`, setup(cookies), { state, location: { __clerk_db_jwt: token ?? null } });
  }
  ask('3.3', 'dev browser: the query before the cookie', setup({ __clerk_db_jwt: 'dvb_plain', __client_uat: UAT }, `${PORTAL}/portal?__clerk_db_jwt=dvb_query`), {
    state: 'hs:dev-browser-sync',
    location: { __clerk_db_jwt: 'dvb_query', redirect_url: `${PORTAL}/portal` },
  });
  ask('3.3', 'dev browser: production does not send it on', { cookies: { __clerk_db_jwt: 'dvb_plain', __client_uat: UAT } }, { state: 'hs:client-uat-but-no-session-token', location: { __clerk_db_jwt: null } });
  ask('3.2', 'refresh cookie without suffix is not read', { cookies: { __session: expired(), __client_uat: NOW - 500, __refresh: 'r1' } }, 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie');
  ask('3.2', 'suffix of the development key of another host', {
    configuration: 'development-accounts-dev',
    dest: 'empty',
    cookies: { '__session_#': session({ iss: 'https://foo-bar-13.clerk.accounts.dev' }), '__client_uat_#': UAT, '__clerk_db_jwt_#': 'dvb_1' },
  }, 'in:user_1');
}
