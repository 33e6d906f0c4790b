// Satellite domains: when a page view is synchronised with the primary domain.

import { ask } from '../lib/build.mjs';
import { NOW, expired, session } from '../lib/tokens.mjs';

const SATELLITE = 'https://satellite.example.net';
const UAT = NOW - 100;
const NEEDS = 'hs:satellite-needs-syncing';
const NOTHING = 'out:session-token-and-uat-missing';
const EXPIRED = 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie';

production();
development();
settings();

function own(configuration) {
  return configuration.includes('production') ? 'https://clerk.satellite.example.net' : 'https://clerk.example.com';
}

function production() {
  const auto = { 'satellite-production': false, 'satellite-production-no-auto': false, 'satellite-production-auto': true };
  for (const [configuration, automatic] of Object.entries(auto)) {
    const visit = (query, setup) => ({ configuration, url: `${SATELLITE}/${query}`, ...setup });
    const good = { __session: session({ iss: own(configuration) }), __client_uat: UAT };
    const rows = [
      [automatic ? 'C2' : 'C1', 'first visit', visit(''), automatic ? NEEDS : NOTHING],
      ['C2', 'first visit, synced=false', visit('?__clerk_synced=false'), NEEDS],
      ['C2', 'first visit, synced=true', visit('?__clerk_synced=true'), NOTHING],
      [automatic ? 'C2' : 'C1', 'first visit, synced empty', visit('?__clerk_synced='), automatic ? NEEDS : NOTHING],
      [automatic ? 'C2' : 'C1', 'first visit, synced=FALSE', visit('?__clerk_synced=FALSE'), automatic ? NEEDS : NOTHING],
      [automatic ? 'C2' : 'C1', 'first visit, client_uat 0', visit('', { cookies: { __client_uat: 0 } }), automatic ? NEEDS : NOTHING],
      ['C2', 'good session', visit('', { cookies: good }), 'in:user_1'],
      ['C2', 'good session, synced=false', visit('?__clerk_synced=false', { cookies: good }), NEEDS],
      ['C2', 'good session, synced=true', visit('?__clerk_synced=true', { cookies: good }), 'in:user_1'],
      ['C2', 'good session, synced twice, the first counts', visit('?__clerk_synced=true&__clerk_synced=false', { cookies: good }), 'in:user_1'],
      ['C2', 'session without client_uat', visit('', { cookies: { __session: good.__session } }), 'hs:session-token-but-no-client-uat'],
      ['C2', 'client_uat without session', visit('', { cookies: { __client_uat: UAT } }), 'hs:client-uat-but-no-session-token'],
      ['C2', 'expired session', visit('', { cookies: { __session: expired(60, { iss: own(configuration) }), __client_uat: NOW - 500 } }), EXPIRED],
      ['C2', 'fetch, synced=false', visit('?__clerk_synced=false', { dest: 'empty' }), NOTHING],
      ['C2', 'iframe, synced=false', visit('?__clerk_synced=false', { dest: 'iframe' }), NOTHING],
      ['C2', 'no Sec-Fetch-Dest, synced=false', visit('?__clerk_synced=false', { dest: null, accept: 'text/html' }), NOTHING],
      ['C2', 'POST, synced=false', visit('?__clerk_synced=false', { method: 'POST' }), NOTHING],
      ['C2', 'HEAD, synced=false', visit('?__clerk_synced=false', { method: 'HEAD' }), NOTHING],
      ['C2', 'third redirect', visit('?__clerk_synced=false', { cookies: { __clerk_redirect_count: 3 } }), 'out:satellite-needs-syncing'],
      ['C2', 'fourth redirect', visit('?__clerk_synced=false', { cookies: { __clerk_redirect_count: 4 } }), NEEDS],
      ['C2', 'token in the header, synced=false', visit('?__clerk_synced=false', { bearer: session() }), 'in:user_1'],
    ];
    for (const [row, name, setup, want] of rows) {
      ask(row, `${configuration}: ${name}`, setup, want);
    }
  }
  ask('C2', 'satellite-production: the redirect', { configuration: 'satellite-production', url: `${SATELLITE}/a?__clerk_synced=false&b=1` }, {
    state: NEEDS,
    base: 'https://clerk.satellite.example.net/v1/client/handshake',
    location: { redirect_url: `${SATELLITE}/a?__clerk_synced=false&b=1` },
  });
  ask('C2', 'not a satellite: synced=false', { url: 'https://portal.example.com/?__clerk_synced=false' }, NOTHING);
}

function development() {
  for (const [configuration, automatic] of [['satellite-development', false], ['satellite-development-auto', true]]) {
    const visit = (query, setup) => ({ configuration, url: `${SATELLITE}/${query}`, ...setup });
    const dev = { __clerk_db_jwt: 'dvb_1' };
    const good = { ...dev, __session: session(), __client_uat: UAT };
    const toSignIn = (back) => ({ state: NEEDS, cookies: 1, location: `https://primary.example.com/sign-in?__clerk_redirect_url=${encodeURIComponent(back)}` });
    const rows = [
      [automatic ? 'C3' : 'C1', 'first visit', visit(''), automatic ? toSignIn(`${SATELLITE}/`) : NOTHING],
      ['C3', 'first visit, synced=false', visit('?__clerk_synced=false'), toSignIn(`${SATELLITE}/?__clerk_synced=false`)],
      ['C3', 'first visit, synced=true', visit('?__clerk_synced=true'), 'hs:dev-browser-missing'],
      ['C3', 'dev browser in the query, synced=true', visit('?__clerk_synced=true&__clerk_db_jwt=dvb_2'), 'hs:dev-browser-sync'],
      ['C3', 'dev browser in the query, synced=false', visit('?__clerk_synced=false&__clerk_db_jwt=dvb_2'), toSignIn(`${SATELLITE}/?__clerk_synced=false&__clerk_db_jwt=dvb_2`)],
      ['C3', 'good session', visit('', { cookies: good }), 'in:user_1'],
      ['C3', 'good session, synced=false', visit('?__clerk_synced=false', { cookies: good }), toSignIn(`${SATELLITE}/?__clerk_synced=false`)],
      ['C3', 'good session, synced=true', visit('?__clerk_synced=true', { cookies: good }), 'in:user_1'],
      ['C3', 'expired session', visit('', { cookies: { ...good, __session: expired(), __client_uat: NOW - 500 } }), EXPIRED],
      ['C3', 'fetch, synced=false', visit('?__clerk_synced=false', { dest: 'empty' }), 'out:dev-browser-missing'],
      ['C3', 'iframe, synced=false', visit('?__clerk_synced=false', { dest: 'iframe' }), 'hs:dev-browser-missing'],
      ['C3', 'POST, synced=false', visit('?__clerk_synced=false', { method: 'POST' }), 'out:dev-browser-missing'],
      ['C3', 'third redirect', visit('?__clerk_synced=false', { cookies: { __clerk_redirect_count: 3 } }), 'out:satellite-needs-syncing'],
      ['C4', 'a satellite does not answer for the primary', visit('?__clerk_synced=true&__clerk_redirect_url=https://x.example', { cookies: good }), 'in:user_1'],
    ];
    for (const [row, name, setup, want] of rows) {
      ask(row, `${configuration}: ${name}`, setup, want);
    }
  }
  ask('C3', 'sign-in address with a query and a fragment', { configuration: 'satellite-development-sign-in-query', url: `${SATELLITE}/?__clerk_synced=false` }, {
    state: NEEDS,
    location: `https://primary.example.com/sign-in?a=b+c&__clerk_redirect_url=${encodeURIComponent(`${SATELLITE}/?__clerk_synced=false`)}#top`,
  });
}

function settings() {
  const good = { __session: session(), __client_uat: UAT, __clerk_db_jwt: 'dvb_1' };
  const visit = (configuration, setup = {}) => ({ configuration, url: `${SATELLITE}/`, cookies: good, ...setup });
  const otherOrigin = { origin: 'https://elsewhere.example' };
  const ownOrigin = { origin: SATELLITE };
  const missingSignIn = 'throws:Missing signInUrl. Pass a signInUrl for dev instances if an app is satellite';
  const missingDomain = 'throws:Missing domain and proxyUrl.';
  const noRelative = 'throws:The signInUrl needs to have a absolute url format.';
  const sameOrigin = 'throws:The signInUrl needs to be on a different origin than your satellite application.';
  const rows = [
    ['satellite-development-no-sign-in', 'any request', {}, missingSignIn],
    ['satellite-development-no-sign-in', 'token in the header', { bearer: session(), cookies: {} }, missingSignIn],
    ['satellite-development-no-sign-in', 'API keys', { accepts: 'api_key', bearer: 'ak_1' }, missingSignIn],
    ['satellite-development-no-sign-in', 'only M2M tokens', { accepts: 'm2m_token' }, 'out:No token in header'],
    ['legacy-secret-satellite', 'any request', {}, missingSignIn],
    ['satellite-production-no-sign-in', 'production needs none', { cookies: {} }, NOTHING],
    ['satellite-development-relative-sign-in', 'no Origin', { dest: 'empty' }, 'in:user_1'],
    ['satellite-development-relative-sign-in', 'Origin', { dest: 'empty', ...otherOrigin }, noRelative],
    ['satellite-development-same-origin-sign-in', 'no Origin', { dest: 'empty' }, 'in:user_1'],
    ['satellite-development-same-origin-sign-in', 'own Origin', { dest: 'empty', ...ownOrigin }, sameOrigin],
    ['satellite-development-same-origin-sign-in', 'other Origin', { dest: 'empty', ...otherOrigin }, 'in:user_1'],
    ['satellite-development-no-domain', 'any request', {}, missingDomain],
    ['satellite-production-no-domain', 'any request', {}, missingDomain],
    ['satellite-production-proxy-only', 'a proxy is enough', { cookies: {} }, NOTHING],
    ['satellite-production', 'Origin of the sign-in page', { cookies: {}, origin: 'https://primary.example.com' }, sameOrigin],
    ['satellite-production', 'Origin null', { cookies: {}, origin: 'null' }, NOTHING],
    ['satellite-development', 'good', {}, 'in:user_1'],
  ];
  for (const [configuration, name, setup, want] of rows) {
    ask('3.14', `${configuration}: ${name}`, visit(configuration, setup), want);
  }
}
