// The address can ask for an organization, or for the personal account, to be the active one.

import { ask } from '../lib/build.mjs';
import { NOW, PORTAL, expired, session } from '../lib/tokens.mjs';

const UAT = NOW - 100;
const member = { __session: session({ o: { id: 'org_1', slg: 'one', rol: 'admin' } }), __client_uat: UAT };
const personal = { __session: session(), __client_uat: UAT };
const versionOne = { __session: session({ v: undefined, org_id: 'org_1', org_slug: 'one', org_role: 'org:admin' }), __client_uat: UAT };
const SWITCH = 'hs:active-organization-mismatch';

targets();
conditions();
elsewhere();

function targets() {
  const rows = [
    ['/orgs/one', null, 'one'],
    ['/orgs/two', 'two', 'two'],
    ['/orgs/two/', 'two', 'two'],
    ['/orgs/two/settings', 'two', 'two'],
    ['/orgs/two/settings/deep/er', 'two', 'two'],
    ['/orgs/one/settings', null, 'one'],
    ['/orgs/ONE', 'ONE', 'ONE'],
    ['/ORGS/two', 'two', 'two'],
    ['/orgs/two?slug=one', 'two', 'two'],
    ['/orgs/a%20b', 'a%20b', 'a%20b'],
    ['/orgs/a%2Fb', 'a%2Fb', 'a%2Fb'],
    ['/orgs/%6Fne', '%6Fne', '%6Fne'],
    ['/orgs/o-n_e.1~', 'o-n_e.1~', 'o-n_e.1~'],
    ['/org-ids/org_1', null, 'org_1'],
    ['/org-ids/org_2', 'org_2', 'org_2'],
    ['/org-ids/org_2/x', 'org_2', 'org_2'],
    ['/org-ids/one', 'one', 'one'],
    ['/orgs/org_1', 'org_1', 'org_1'],
    ['/both/org_1/two', null, 'org_1'],
    ['/both/org_2/one', 'org_2', 'org_2'],
    ['/both/org_2', null, null],
    ['/me', '', null],
    ['/me/', '', null],
    ['/me/settings', '', null],
    ['/ME', '', null],
    ['/mee', null, null],
    ['/orgs', null, null],
    ['/orgs/', '', null],
    ['/x/orgs/two', null, null],
    ['/', null, null],
    ['//orgs/two', null, null],
  ];
  for (const [path, forMember, forPerson] of rows) {
    const want = (organization_id) => (organization_id === null ? { state: 'in:user_1', location: null } : { state: SWITCH, location: { organization_id }, cookies: 1 });
    const setup = { configuration: 'organizations', url: `${PORTAL}${path}`, note: path.includes('%') ? 'Percent escapes in a path parameter are not decoded.' : undefined };
    ask('3.13', `${path} with organization one active`, { ...setup, cookies: member }, want(forMember));
    ask('3.13', `${path} with no organization active`, { ...setup, cookies: personal }, want(forPerson));
  }
  ask('3.13', 'version 1 claims, same organization', { configuration: 'organizations', url: `${PORTAL}/orgs/one`, cookies: versionOne }, 'in:user_1');
  ask('3.13', 'version 1 claims, other organization', { configuration: 'organizations', url: `${PORTAL}/orgs/two`, cookies: versionOne }, SWITCH);
  ask('3.13', 'escape that cannot be decoded', { configuration: 'organizations', url: `${PORTAL}/orgs/%zz`, cookies: member }, { state: SWITCH, location: { organization_id: '%zz' } });
  ask('3.13', 'organization without a slug', { configuration: 'organizations', url: `${PORTAL}/orgs/one`, cookies: { ...member, __session: session({ o: { id: 'org_1' } }) } }, SWITCH);
}

function conditions() {
  const url = `${PORTAL}/orgs/two`;
  const base = { configuration: 'organizations', url, cookies: member };
  const rows = [
    ['document', {}, SWITCH],
    ['iframe', { dest: 'iframe' }, SWITCH],
    ['old browser', { dest: null, accept: 'text/html' }, SWITCH],
    ['fetch', { dest: 'empty' }, 'in:user_1'],
    ['POST', { method: 'POST' }, 'in:user_1'],
    ['HEAD', { method: 'HEAD' }, 'in:user_1'],
    ...[0, 1, 2].map((count) => [`redirect count ${count}`, { cookies: { ...member, __clerk_redirect_count: count } }, SWITCH]),
    ...[3, 4, 10].map((count) => [`redirect count ${count}`, { cookies: { ...member, __clerk_redirect_count: count } }, { state: 'in:user_1', cookies: 0, location: null }]),
    ['redirect count garbage', { cookies: { ...member, __clerk_redirect_count: 'x' } }, SWITCH],
    ['redirect count -1', { cookies: { ...member, __clerk_redirect_count: -1 } }, SWITCH],
    ['token in the header', { cookies: {}, bearer: session() }, 'in:user_1'],
    ['pending session', { cookies: { ...member, __session: session({ sts: 'pending', o: { id: 'org_1', slg: 'one' } }) } }, 'in'],
    ['empty subject', { cookies: { ...member, __session: session({ sub: '' }) } }, 'in'],
    ['only organization patterns', { configuration: 'organizations-only' }, SWITCH],
    ['only personal patterns', { configuration: 'personal-only' }, 'in:user_1'],
    ['only personal patterns, at home', { configuration: 'personal-only', url: `${PORTAL}/me` }, { state: SWITCH, location: { organization_id: '' } }],
    ['a parameter of another name', { configuration: 'organizations-other-name' }, 'in:user_1'],
    ['development', { configuration: 'organizations-development', cookies: { ...member, __clerk_db_jwt: 'dvb_1' } }, { state: SWITCH, location: { __clerk_db_jwt: 'dvb_1', organization_id: 'two' } }],
    ['none configured', { configuration: 'production' }, 'in:user_1'],
  ];
  for (const [name, setup, want] of rows) {
    ask('3.13', `condition: ${name}`, { ...base, ...setup }, want);
  }
  for (const configuration of ['organizations-invalid', 'personal-invalid']) {
    const note = 'The SDK throws for every request when a pattern cannot be read.';
    ask('3.13', `${configuration}, cookie`, { configuration, url, cookies: member, note, loose: ['throws'] }, 'throws:Invalid pattern');
    ask('3.13', `${configuration}, nobody`, { configuration, url, note, loose: ['throws'] }, 'throws:Invalid pattern');
    ask('3.13', `${configuration}, API key`, { configuration, url, accepts: 'api_key', note, loose: ['throws'] }, 'throws:Invalid pattern');
  }
}

// Every other redirect carries the organization of the address, too, whether or not it is active.
function elsewhere() {
  const at = (path) => ({ configuration: 'organizations', url: `${PORTAL}${path}` });
  const rows = [
    ['client_uat without session', { ...at('/orgs/two'), cookies: { __client_uat: UAT } }, 'hs:client-uat-but-no-session-token', 'two'],
    ['client_uat without session, personal', { ...at('/me'), cookies: { __client_uat: UAT } }, 'hs:client-uat-but-no-session-token', ''],
    ['client_uat without session, id', { ...at('/org-ids/org_2'), cookies: { __client_uat: UAT } }, 'hs:client-uat-but-no-session-token', 'org_2'],
    ['client_uat without session, elsewhere', { ...at('/x'), cookies: { __client_uat: UAT } }, 'hs:client-uat-but-no-session-token', null],
    ['expired, own organization', { ...at('/orgs/one'), cookies: { __session: expired(60, { o: { id: 'org_1', slg: 'one' } }), __client_uat: NOW - 500 } }, 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie', 'one'],
    ['expired token in the header', { ...at('/orgs/two'), bearer: expired() }, 'hs:session-token-expired-refresh-non-eligible-no-refresh-cookie', 'two'],
    ['organization before personal', { ...at('/orgs/two'), cookies: { __client_uat: UAT } }, 'hs:client-uat-but-no-session-token', 'two'],
  ];
  for (const [name, setup, state, organization_id] of rows) {
    ask('3.8', `organization in the redirect: ${name}`, setup, { state, location: { organization_id } });
  }
}
