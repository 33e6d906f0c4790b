// How cookies, the Authorization header, numbers in cookies and the public address are read.

import { ask } from '../lib/build.mjs';
import { NOW, PORTAL, expired, session } from '../lib/tokens.mjs';

const token = session();
const other = session({ sub: 'user_2' });
const uat = NOW - 100;
const GONE = 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie';

cookieHeader();
clientUat();
redirectCount();
authorization();
headerBeforeCookies();
publicAddress();

function cookieHeader() {
  const percent = (text) => [...text].map((letter) => `%${letter.charCodeAt(0).toString(16).padStart(2, '0')}`).join('');
  const nothing = 'out:session-token-and-uat-missing';
  const rows = [
    ['two cookies', `__session=${token}; __client_uat=${uat}`, 'in:user_1'],
    ['other order', `__client_uat=${uat}; __session=${token}`, 'in:user_1'],
    ['no space between', `__session=${token};__client_uat=${uat}`, 'in:user_1'],
    ['many spaces', `  __session =  ${token}  ;   __client_uat  =  ${uat}  `, 'in:user_1'],
    ['tab between', `__session=${token};\t__client_uat=${uat}`, 'in:user_1'],
    ['semicolon at the end', `__session=${token}; __client_uat=${uat};`, 'in:user_1'],
    ['empty parts', `;; __session=${token};;; __client_uat=${uat};;`, 'in:user_1'],
    ['comma between', `__session=${token}, __client_uat=${uat}`, 'hs:session-token-but-no-client-uat'],
    ['first session wins', `__session=${token}; __session=${other}; __client_uat=${uat}`, 'in:user_1'],
    ['first session wins, the other way', `__session=${other}; __session=${token}; __client_uat=${uat}`, 'in:user_2'],
    ['first session wins, the first expired', `__session=${expired()}; __session=${token}; __client_uat=${uat - 100}`, GONE],
    ['first session wins, the first empty', `__session=; __session=${token}; __client_uat=${uat}`, 'hs:client-uat-but-no-session-token'],
    ['first session wins, the first not a token', `__session=x; __session=${token}; __client_uat=${uat}`, 'out:token-invalid'],
    ['first uat wins, zero', `__session=${token}; __client_uat=0; __client_uat=${uat}`, 'hs:session-token-but-no-client-uat'],
    ['first uat wins, not zero', `__session=${token}; __client_uat=${uat}; __client_uat=0`, 'in:user_1'],
    ['empty session', `__session=; __client_uat=${uat}`, 'hs:client-uat-but-no-session-token'],
    ['empty uat', `__session=${token}; __client_uat=`, 'hs:session-token-but-no-client-uat'],
    ['both empty', '__session=; __client_uat=', nothing],
    ['names without values', '__session; __client_uat', nothing],
    ['name without value in front', `abc; __session=${token}; __client_uat=${uat}`, 'in:user_1'],
    ['value without name in front', `=abc; __session=${token}; __client_uat=${uat}`, 'in:user_1'],
    ['names in capitals', `__SESSION=${token}; __CLIENT_UAT=${uat}`, nothing],
    ['names with a letter more', `__sessions=${token}; __client_uats=${uat}`, nothing],
    ['names with a letter less', `_session=${token}; _client_uat=${uat}`, nothing],
    ['value in quotation marks', `__session="${token}"; __client_uat=${uat}`, 'out:token-invalid'],
    ['uat in quotation marks', `__session=${token}; __client_uat="${uat}"`, 'hs:session-token-but-no-client-uat'],
    ['token percent-encoded', `__session=${percent(token)}; __client_uat=${uat}`, 'in:user_1'],
    ['dots percent-encoded', `__session=${token.replaceAll('.', '%2E')}; __client_uat=${uat}`, 'in:user_1'],
    ['dots percent-encoded in small letters', `__session=${token.replaceAll('.', '%2e')}; __client_uat=${uat}`, 'in:user_1'],
    ['dots encoded twice', `__session=${token.replaceAll('.', '%252E')}; __client_uat=${uat}`, 'out:token-invalid'],
    ['uat percent-encoded', `__session=${token}; __client_uat=${percent(String(uat))}`, 'in:user_1'],
    ['encoded name', `%5F%5Fsession=${token}; __client_uat=${uat}`, 'hs:client-uat-but-no-session-token'],
    ['encoded semicolon does not split', `a=1%3B__session=${token}; __client_uat=${uat}`, 'hs:client-uat-but-no-session-token'],
    ['encoded semicolon and equals do not split', `a=1%3B%20__session%3D${token}%3B%20__client_uat%3D${uat}`, nothing],
    ['encoded semicolon in the uat', `__session=${token}; __client_uat=${uat}%3B0`, 'in:user_1'],
    ['encoded equals sign in the name', `__session%3D${token}; __client_uat=${uat}`, 'hs:client-uat-but-no-session-token'],
    ['escape cut off in the uat', `__session=${token}; __client_uat=${uat}%`, 'in:user_1'],
    ['escape of no hexadecimal digits in the uat', `__session=${token}; __client_uat=${uat}%zz`, 'in:user_1'],
    ['escape of bytes that are not UTF-8 in the uat', `__session=${token}; __client_uat=${uat}%ff`, 'in:user_1'],
    ['bad escape keeps the good ones undecoded', `__session=${token}; __client_uat=%31%32%zz`, 'hs:session-token-but-no-client-uat'],
    ['bad escape in another cookie', `a=%E0%A4%A; __session=${token}; __client_uat=${uat}`, 'in:user_1'],
    ['bad escape in the token', `__session=${token}%; __client_uat=${uat}`, 'out:token-invalid'],
    ['plus is not a space', `__session=${token}; __client_uat=+${uat}`, 'in:user_1'],
    ['equals signs in the value', `__session=${token}==; __client_uat=${uat}`, 'in:user_1'],
    ['attributes of another language', `$Version=1; __session=${token}; $Path=/; __client_uat=${uat}`, 'in:user_1'],
    ['letters outside of ASCII in another cookie', `name=J\u00fcrgen; __session=${token}; __client_uat=${uat}`, 'in:user_1'],
    ['brackets and braces in another cookie', `prefs={"a":[1,2]}; __session=${token}; __client_uat=${uat}`, 'in:user_1'],
    ['names of object members', `__proto__=1; constructor=2; toString=3; __session=${token}; __client_uat=${uat}`, 'in:user_1'],
    ['two hundred other cookies', `${Array.from({ length: 200 }, (_, index) => `c${index}=${index}`).join('; ')}; __session=${token}; __client_uat=${uat}`, 'in:user_1'],
    ['one letter', 'a', nothing],
    ['only an equals sign', '=', nothing],
    ['only a semicolon', ';', nothing],
  ];
  for (const [name, cookies, want] of rows) {
    ask('3.1', `cookies: ${name}`, { cookies }, want);
  }
  ask('3.1', 'cookies: an empty header', { cookies: '' }, nothing);
  ask('3.1', 'cookies: two headers', { headers: [['cookie', `__session=${token}`], ['cookie', `__client_uat=${uat}`]] }, 'in:user_1');
  ask('3.1', 'cookies: two headers, the first session wins', { headers: [['cookie', `__session=${token}; __client_uat=${uat}`], ['cookie', `__session=${other}`]] }, 'in:user_1');
}

function clientUat() {
  const iat = NOW - 10;
  const rows = [
    ['0', 'none'],
    ['1', 'in'],
    [`${iat}`, 'in'],
    [`${iat + 1}`, 'newer'],
    ['', 'none'],
    ['abc', 'none'],
    ['NaN', 'none'],
    ['Infinity', 'none'],
    ['null', 'none'],
    ['true', 'none'],
    ['00', 'none'],
    ['-0', 'none'],
    ['-1', 'in'],
    ['-', 'none'],
    ['+5', 'in'],
    ['0005', 'in'],
    ['5abc', 'in'],
    ['5.9', 'in'],
    ['.5', 'none'],
    ['0.9', 'none'],
    ['5e9', 'in'],
    ['5,000', 'in'],
    ['5 6', 'in'],
    ['0x10', 'in'],
    ['0xZZ', 'none'],
    ['0X7fffffff', 'newer'],
    ['0b1', 'none'],
    ['%205', 'in'],
    ['%C2%A05', 'in'],
    ['%EF%BB%BF5', 'in'],
    ['%0A5', 'in'],
    ['%E2%80%8B5', 'none'],
    ['%D9%A5', 'none'],
    [`${iat}.9`, 'in'],
    [`${iat}000`, 'newer'],
    ['9007199254740993', 'newer'],
    ['99999999999999999999999', 'newer'],
    ['-99999999999999999999999', 'in'],
    ['9'.repeat(400), 'newer'],
  ];
  const wants = { in: 'in:user_1', none: 'hs:session-token-but-no-client-uat', newer: 'hs:session-token-iat-before-client-uat' };
  const withoutSession = { in: 'hs:client-uat-but-no-session-token', none: 'out:session-token-and-uat-missing', newer: 'hs:client-uat-but-no-session-token' };
  for (const [value, kind] of rows) {
    const shown = value.length > 40 ? `${value.length} digits` : value;
    const note = /^0x/i.test(value) ? 'The SDK reads a number that begins with 0x as hexadecimal.' : undefined;
    ask('3.1', `client_uat [${shown}] with a session`, { cookies: { __session: token, __client_uat: value }, note }, wants[kind]);
    ask('3.1', `client_uat [${shown}] without a session`, { cookies: { __client_uat: value }, note }, withoutSession[kind]);
  }
}

function redirectCount() {
  const rows = [
    [undefined, '1'],
    ['', '1'],
    ['0', '1'],
    ['1', '2'],
    ['2', '3'],
    ['3', null],
    ['4', '5'],
    ['10', '11'],
    ['-1', '0'],
    ['-3', '-2'],
    ['abc', '1'],
    ['3abc', '1'],
    ['NaN', '1'],
    ['null', '1'],
    ['2.5', '3.5'],
    ['3.0', null],
    ['03', null],
    ['+3', null],
    ['3e0', null],
    ['0x3', null],
    ['0b11', null],
    ['0o3', null],
    ['%33', null],
    ['%203', null],
    ['3%', '1'],
    ['3,3', '1'],
    ['Infinity', 'Infinity'],
    ['-Infinity', '-Infinity'],
    ['1e21', '1e+21'],
    ['9007199254740992', '9007199254740992'],
    ['0.1', '1.1'],
    ['-0', '1'],
  ];
  for (const [value, next] of rows) {
    const setup = { cookies: { __client_uat: uat, __clerk_redirect_count: value } };
    const reason = 'client-uat-but-no-session-token';
    ask('3.8', `redirect count [${value ?? 'absent'}]`, setup, next === null ? { state: `out:${reason}`, cookies: 0, location: null } : {
      state: `hs:${reason}`,
      cookies: 1,
      counter: next,
    });
  }
  ask('3.8', 'redirect count is never suffixed', { cookies: { __client_uat: uat, '__clerk_redirect_count_#': '3' } }, 'hs:client-uat-but-no-session-token');
  ask('3.8', 'redirect count twice, the first wins', { cookies: `__client_uat=${uat}; __clerk_redirect_count=1; __clerk_redirect_count=3` }, 'hs:client-uat-but-no-session-token');
  ask('3.8', 'redirect count 3 does not matter to a signed-in person', { cookies: { __session: token, __client_uat: uat, __clerk_redirect_count: '3' } }, 'in:user_1');
  ask('3.8', 'redirect count 3 in the header path', { bearer: expired(), cookies: { __clerk_redirect_count: '3' } }, 'out:session-token-expired-refresh-non-eligible-no-refresh-cookie');
}

function authorization() {
  const cookies = { __session: other, __client_uat: uat };
  const rows = [
    ['Bearer and a token', `Bearer ${token}`, 'in:user_1'],
    ['only the token', token, 'in:user_1'],
    ['bearer', `bearer ${token}`, 'in:user_2'],
    ['BEARER', `BEARER ${token}`, 'in:user_2'],
    ['Basic', 'Basic dXNlcjpwYXNz', 'in:user_2'],
    ['Basic with a token', `Basic ${token}`, 'in:user_2'],
    ['Token', `Token ${token}`, 'in:user_2'],
    ['Bearer with a colon', `Bearer: ${token}`, 'in:user_2'],
    ['Digest with parameters', 'Digest username="a", realm="b"', 'in:user_2'],
    ['only the word Bearer', 'Bearer', 'out:token-invalid'],
    ['Bearer and a space', 'Bearer ', 'out:token-invalid'],
    ['two spaces', `Bearer  ${token}`, 'out:token-invalid'],
    ['tab', `Bearer\t${token}`, 'out:token-invalid'],
    ['space in front', ` Bearer ${token}`, 'in:user_1'],
    ['space behind', `Bearer ${token} `, 'in:user_1'],
    ['word behind', `Bearer ${token} more`, 'in:user_1'],
    ['comma behind', `Bearer ${token},`, 'out:token-invalid'],
    ['Bearer twice', `Bearer Bearer ${token}`, 'out:token-invalid'],
    ['token in quotation marks', `Bearer "${token}"`, 'out:token-invalid'],
    ['token percent-encoded', `Bearer ${token.replaceAll('.', '%2E')}`, 'out:token-invalid'],
    ['not a token', 'Bearer abc', 'out:token-invalid'],
    ['one word', 'abc', 'out:token-invalid'],
    ['null', 'Bearer null', 'out:token-invalid'],
    ['undefined', 'Bearer undefined', 'out:token-invalid'],
    ['letters outside of ASCII', 'Bearer \u00fc\u00e4\u00f6', 'out:token-invalid'],
    ['empty', '', 'in:user_2'],
  ];
  for (const [name, value, want] of rows) {
    ask('3.1', `Authorization: ${name}`, { authorization: value, cookies }, want);
  }
  ask('3.1', 'Authorization: two headers', { headers: [['authorization', `Bearer ${token}`], ['authorization', `Bearer ${other}`]] }, 'out:token-invalid');
  ask('3.1', 'Authorization: lower-case scheme, no cookies', { authorization: `bearer ${token}` }, 'out:session-token-and-uat-missing');
}

function headerBeforeCookies() {
  const cookies = { __session: other, __client_uat: uat };
  const rows = [
    ['good', token, 'in:user_1'],
    ['not a token', 'x', 'out:token-invalid'],
    ['wrong signature', session({}, {}, { key: 'foreign' }), 'out:token-invalid-signature'],
    ['expired', expired(), GONE],
    ['older than client_uat', session({ iat: uat - 50, exp: NOW + 50 }), 'in:user_1'],
  ];
  for (const [name, bearer, want] of rows) {
    ask('3.1', `token in the header, ${name}, beside a good cookie`, { bearer, cookies }, want);
  }
  ask('3.1', 'token in the header, client_uat 0', { bearer: token, cookies: { __client_uat: 0 } }, 'in:user_1');
  ask('3.1', 'token in the header, handshake nonce in the cookie', { bearer: token, cookies: { __clerk_handshake_nonce: 'n1' } }, 'in:user_1');
  ask('3.1', 'token in the query is not read', { url: `${PORTAL}/portal?__session=${token}` }, 'out:session-token-and-uat-missing');
  ask('3.1', 'client_uat in the query is not read', { url: `${PORTAL}/portal?__client_uat=${uat}` }, 'out:session-token-and-uat-missing');
}

function publicAddress() {
  const rows = [
    ['no headers', [], `${PORTAL}/portal?a=1`],
    ['same Host', [['host', 'portal.example.com']], `${PORTAL}/portal?a=1`],
    ['other Host', [['host', 'other.example.com']], 'https://other.example.com/portal?a=1'],
    ['Host with a port', [['host', 'other.example.com:8443']], 'https://other.example.com:8443/portal?a=1'],
    ['Host with the usual port', [['host', 'portal.example.com:443']], `${PORTAL}/portal?a=1`],
    ['X-Forwarded-Host', [['host', 'internal'], ['x-forwarded-host', 'public.example.com']], 'https://public.example.com/portal?a=1'],
    ['X-Forwarded-Host, two values', [['x-forwarded-host', 'public.example.com, proxy.example.com']], 'https://public.example.com/portal?a=1'],
    ['X-Forwarded-Host, two headers', [['x-forwarded-host', 'public.example.com'], ['x-forwarded-host', 'proxy.example.com']], 'https://public.example.com/portal?a=1'],
    ['X-Forwarded-Host with a port', [['x-forwarded-host', 'public.example.com:3000']], 'https://public.example.com:3000/portal?a=1'],
    ['X-Forwarded-Host empty', [['host', 'other.example.com'], ['x-forwarded-host', '']], `${PORTAL}/portal?a=1`],
    ['X-Forwarded-Host with an empty first value', [['host', 'other.example.com'], ['x-forwarded-host', ', proxy.example.com']], `${PORTAL}/portal?a=1`],
    ['X-Forwarded-Host with markup', [['x-forwarded-host', 'x"><script>']], `${PORTAL}/portal?a=1`],
    ['X-Forwarded-Host with a path', [['x-forwarded-host', 'public.example.com/x']], 'https://public.example.com/portal?a=1'],
    ['X-Forwarded-Host with a name and a password', [['x-forwarded-host', 'a:b@public.example.com']], 'https://a:b@public.example.com/portal?a=1'],
    ['X-Forwarded-Proto alone is not enough without a host', [['x-forwarded-proto', 'http']], `${PORTAL}/portal?a=1`],
    ['X-Forwarded-Proto, two values', [['host', 'portal.example.com'], ['x-forwarded-proto', 'http,https']], 'http://portal.example.com/portal?a=1'],
    ['X-Forwarded-Proto empty', [['host', 'other.example.com'], ['x-forwarded-proto', '']], `${PORTAL}/portal?a=1`],
    ['X-Forwarded-Proto and Host', [['host', 'portal.example.com'], ['x-forwarded-proto', 'http']], 'http://portal.example.com/portal?a=1'],
    ['X-Forwarded-Proto in capitals', [['host', 'portal.example.com'], ['x-forwarded-proto', 'HTTPS']], `${PORTAL}/portal?a=1`],
    ['X-Forwarded-Port is not read', [['host', 'portal.example.com'], ['x-forwarded-port', '8443']], `${PORTAL}/portal?a=1`],
    ['Forwarded is not read', [['forwarded', 'host=evil.example;proto=http']], `${PORTAL}/portal?a=1`],
    ['X-Original-URL is not read', [['x-original-url', '/admin'], ['x-rewrite-url', '/admin']], `${PORTAL}/portal?a=1`],
  ];
  for (const [name, headers, address] of rows) {
    ask('3.1', `public address: ${name}`, { kind: 'public-url', url: `${PORTAL}/portal?a=1`, cookies: { __client_uat: uat }, headers }, {
      state: 'hs:client-uat-but-no-session-token',
      location: { redirect_url: address },
    });
  }
}
