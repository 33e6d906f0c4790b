// A signed-in person who comes from another origin is sent through a handshake once.

import { ask } from '../lib/build.mjs';
import { NOW, PORTAL, expired, session } from '../lib/tokens.mjs';

const cookies = { __session: session(), __client_uat: NOW - 100 };
const devCookies = (iss) => ({ __session: session({ iss }), __client_uat: NOW - 100, __clerk_db_jwt: 'dvb_1' });
const SYNC = 'hs:primary-domain-cross-origin-sync';

production();
otherInstances();
conditions();

function production() {
  const rows = [
    ['https://elsewhere.example/', true],
    ['https://elsewhere.example/path?query#fragment', true],
    ['https://portal.example.com/', false],
    ['https://portal.example.com/other?x=1', false],
    ['https://portal.example.com:443/', false],
    ['https://PORTAL.example.com/', false],
    ['http://portal.example.com/', true],
    ['https://portal.example.com:8443/', true],
    ['https://other.example.com/', true],
    ['https://example.com/', true],
    ['https://portal.example.com.evil.example/', true],
    ['https://portal.example.com@evil.example/', true],
    ['https://clerk.example.com/v1/client', false],
    ['http://clerk.example.com/', false],
    ['https://clerk.example.com:8443/', false],
    ['https://clerk.example.com.evil.example/', true],
    ['https://clerk.example.net/', true],
    ['https://xclerk.example.com/', true],
    ['https://accounts.example.com/', false],
    ['https://accounts.example.com/sign-in?redirect_url=x', false],
    ['http://accounts.example.com/', true],
    ['https://accounts.example.com:8443/', true],
    ['https://accounts.evil.example/', true],
    ['https://accounts.example.com.evil.example/', true],
    ['https://accounts.portal.example.com/', true],
    ['https://foo-bar-13.accounts.dev/', true],
    ['https://accounts.foo-bar-13.lcl.dev/', true],
    ['not an address', false],
    ['/portal', false],
    ['portal.example.com', false],
    ['about:blank', true],
    ['data:text/html,x', true],
    ['android-app://com.example/', true],
    ['null', false],
    ['', false],
  ];
  for (const [referer, sync] of rows) {
    ask('3.12', `production, referer [${referer}]`, { cookies, referer }, sync ? { state: SYNC, cookies: 1 } : { state: 'in:user_1', location: null, cookies: 0 });
  }
  ask('3.12', 'production, no referer', { cookies }, 'in:user_1');
  ask('3.12', 'production, Origin alone does not matter', { cookies, origin: 'https://elsewhere.example' }, 'in:user_1');
  ask('3.12', 'production, Origin does not outweigh the referer', { cookies, origin: PORTAL, referer: 'https://elsewhere.example/' }, SYNC);
  ask('3.12', 'production, two referers', { cookies, headers: [['referer', 'https://elsewhere.example/'], ['referer', 'https://portal.example.com/']] }, SYNC);
}

function otherInstances() {
  const own = 'https://clerk.example.com';
  const accountsDev = 'https://foo-bar-13.clerk.accounts.dev';
  const rows = [
    ['development', own, 'https://elsewhere.example/', true],
    ['development', own, 'https://clerk.example.com/', false],
    ['development', own, 'https://accounts.example.com/', false],
    ['development', own, 'https://any-word-1.accounts.dev/', false],
    ['development', own, 'http://any-word-1.accounts.dev:8080/', false],
    ['development', own, 'https://any-word-1.accountsstage.dev/', false],
    ['development', own, 'https://any-word-1.accounts.lclclerk.com/', false],
    ['development', own, 'https://any-word-1.clerk.accounts.dev/', true],
    ['development', own, 'https://accounts.any.lcl.dev/', false],
    ['development', own, 'https://accounts.any.stg.lcl.dev/', false],
    ['development', own, 'https://accounts.any.lclstage.dev/', false],
    ['development', own, 'https://accounts.any.lclclerk.com/', false],
    ['development', own, 'https://any.lcl.dev/', true],
    ['development', own, 'https://accounts.dev/', true],
    ['development', own, 'https://accounts.evil.example/', true],
    ['development', own, 'https://accounts.dev.evil.example/', true],
    ['development-accounts-dev', accountsDev, 'https://foo-bar-13.clerk.accounts.dev/', false],
    ['development-accounts-dev', accountsDev, 'https://foo-bar-13.accounts.dev/', false],
    ['development-accounts-dev', accountsDev, 'https://other-app-1.accounts.dev/', false],
    ['development-accounts-dev', accountsDev, 'https://other-app-1.clerk.accounts.dev/', true],
    ['production-proxy-root', own, 'https://proxy.example.com/', false],
    ['production-proxy-root', own, 'https://clerk.example.com/', true],
    ['production-proxy-root', own, 'https://accounts.example.com/', true],
    ['production-proxy', own, 'https://clerk.example.com/', true],
    ['production-proxy-port', own, 'https://proxy.example.com/', false],
    ['production-proxy-http', own, 'https://proxy.internal/', false],
    ['production-proxy-relative', own, 'https://elsewhere.example/', true],
    ['production-domain', own, 'https://clerk.example.com/', false],
    ['production-domain', own, 'https://accounts.portal.example.com/', true],
  ];
  for (const [configuration, iss, referer, sync] of rows) {
    ask('3.12', `${configuration}, referer [${referer}]`, { configuration, cookies: devCookies(iss), referer }, sync ? SYNC : 'in:user_1');
  }
}

function conditions() {
  const referer = 'https://elsewhere.example/';
  const rows = [
    ['document', {}, SYNC],
    ['iframe', { dest: 'iframe' }, 'in:user_1'],
    ['fetch', { dest: 'empty' }, 'in:user_1'],
    ['no Sec-Fetch-Dest', { dest: null, accept: 'text/html' }, 'in:user_1'],
    ['POST', { method: 'POST' }, 'in:user_1'],
    ['HEAD', { method: 'HEAD' }, 'in:user_1'],
    ['redirect count 0', { cookies: { ...cookies, __clerk_redirect_count: 0 } }, SYNC],
    ['redirect count 1', { cookies: { ...cookies, __clerk_redirect_count: 1 } }, 'in:user_1'],
    ['redirect count 3', { cookies: { ...cookies, __clerk_redirect_count: 3 } }, 'in:user_1'],
    ['redirect count -1', { cookies: { ...cookies, __clerk_redirect_count: -1 } }, 'in:user_1'],
    ['redirect count garbage', { cookies: { ...cookies, __clerk_redirect_count: 'x' } }, SYNC],
    ['pending session', { cookies: { ...cookies, __session: session({ sts: 'pending' }) } }, SYNC],
    ['expired session', { cookies: { ...cookies, __session: expired(), __client_uat: NOW - 500 } }, 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie'],
    ['nobody', { cookies: {} }, 'out:session-token-and-uat-missing'],
    ['before the organization', { configuration: 'organizations', url: `${PORTAL}/orgs/two` }, { state: SYNC, location: { organization_id: 'two' } }],
    ['malformed organization claims come later', { cookies: { ...cookies, __session: session({ o: { id: 'org_1', per: 'a', fpm: '1' }, fea: 'x' }) } }, SYNC],
    ['any token accepted', { accepts: 'any' }, SYNC],
    ['development', { configuration: 'development', cookies: { ...cookies, __clerk_db_jwt: 'dvb_1' } }, { state: SYNC, location: { __clerk_db_jwt: 'dvb_1' } }],
    ['suffixed cookies', { cookies: { '__session_#': session(), '__client_uat_#': NOW - 100 } }, { state: SYNC, location: { suffixed_cookies: 'true' } }],
  ];
  for (const [name, setup, want] of rows) {
    ask('3.12', `condition: ${name}`, { cookies, referer, ...setup }, want);
  }
  ask('3.12', 'condition: satellite', {
    configuration: 'satellite-production',
    url: 'https://satellite.example.net/',
    cookies: { __session: session({ iss: 'https://clerk.satellite.example.net' }), __client_uat: NOW - 100 },
    referer,
  }, 'in:user_1');
  ask('3.12', 'condition: the message', { cookies, referer }, { state: SYNC, headers: ['cache-control', 'x-clerk-auth-message', 'x-clerk-auth-reason', 'x-clerk-auth-status'] });
}
