// Claims about the active organization, in both versions of the session token.

import { ask } from '../lib/build.mjs';
import { NOW, session } from '../lib/tokens.mjs';

const example = { id: 'org_1', slg: 'one', rol: 'admin', per: 'read,create,update,delete,revoke', fpm: '7,21' };
const features = 'o:repositories,o:projects';
const decoded = [
  'org:repositories:read',
  'org:repositories:create',
  'org:repositories:update',
  'org:projects:read',
  'org:projects:update',
  'org:projects:revoke',
];

versionTwo();
masks();
featureLists();
malformed();
versionOne();
versions();

function both(name, claims, auth, note) {
  ask('2.5', `${name}, header`, { bearer: session(claims), note }, { state: 'in', auth });
  ask('2.5', `${name}, cookie`, { cookies: { __session: session(claims), __client_uat: NOW - 100 }, note }, { state: 'in', auth });
}

function one(name, claims, auth, note) {
  ask('2.5', name, { bearer: session(claims), note }, { state: 'in', auth });
}

function versionTwo() {
  const none = { org_id: null, org_slug: null, org_role: null, org_permissions: null };
  both('the example', { o: example, fea: features }, { org_id: 'org_1', org_slug: 'one', org_role: 'org:admin', org_permissions: decoded });
  both('no o', { fea: features }, none);
  one('o null', { o: null, fea: features }, none);
  one('o false', { o: false }, none);
  one('o empty text', { o: '' }, none);
  one('o zero', { o: 0 }, none);
  one('o empty', { o: {} }, { ...none, org_permissions: [] });
  one('o a text', { o: 'org_1' }, { ...none, org_permissions: [] });
  one('o a list', { o: ['org_1'] }, { ...none, org_permissions: [] });
  one('o true', { o: true }, { ...none, org_permissions: [] });
  one('only an id', { o: { id: 'org_1' } }, { org_id: 'org_1', org_slug: null, org_role: null, org_permissions: [] });
  one('version 1 claims beside no o', { org_id: 'org_9', org_role: 'org:admin' }, none);
  one('version 1 claims beside o', { o: example, fea: features, org_id: 'org_9', org_role: 'org:owner' }, { org_id: 'org_1', org_role: 'org:admin' });
  one('role with the prefix', { o: { ...example, rol: 'org:admin' } }, { org_role: 'org:org:admin' }, 'The prefix is put in front without looking.');
  one('role empty', { o: { ...example, rol: '' } }, { org_role: null });
  one('role absent', { o: { ...example, rol: undefined } }, { org_role: null });
  one('role a number', { o: { ...example, rol: 5 } }, { org_role: 'org:5' });
  one('role a list', { o: { ...example, rol: ['a', 'b'] } }, { org_role: 'org:a,b' });
  one('id a number', { o: { ...example, id: 5 } }, { org_id: 5 });
  one('id empty', { o: { ...example, id: '' } }, { org_id: '' });
  one('slug null', { o: { ...example, slg: null } }, { org_slug: null });
}

function masks() {
  const rows = [
    ['per absent', { per: undefined }, []],
    ['per empty', { per: '' }, []],
    ['per null', { per: null }, []],
    ['fpm absent', { fpm: undefined }, []],
    ['fpm empty', { fpm: '' }, []],
    ['fpm null', { fpm: null }, []],
    ['fpm zero', { fpm: '0,0' }, []],
    ['spaces around', { per: ' read , create,update,delete,revoke', fpm: ' 7 , 21 ' }, decoded],
    ['one mask for two features', { fpm: '7' }, decoded.slice(0, 3)],
    ['three masks for two features', { fpm: '7,21,31' }, decoded],
    ['bits beyond the list', { fpm: '992,1055' }, ['read', 'create', 'update', 'delete', 'revoke'].map((verb) => `org:projects:${verb}`)],
    ['zeros in front', { fpm: '0007,00021' }, decoded],
    ['not a number', { fpm: 'x,21' }, decoded.slice(3)],
    ['minus', { fpm: '-7,21' }, decoded.slice(3)],
    ['plus', { fpm: '+7,21' }, decoded.slice(3)],
    ['hexadecimal', { fpm: '0x7,21' }, decoded.slice(3)],
    ['fraction', { fpm: '7.0,21' }, decoded.slice(3)],
    ['exponent', { fpm: '7e0,21' }, decoded.slice(3)],
    ['digits of another script', { fpm: '\u0667,21' }, decoded.slice(3)],
    ['number with a space inside', { fpm: '1 2,21' }, decoded.slice(3)],
    ['empty element', { fpm: ',21' }, decoded.slice(3)],
    ['comma at the end', { fpm: '7,21,' }, decoded],
    ['empty verb', { per: 'read,,update,delete,revoke' }, ['org:repositories:read', 'org:repositories:', 'org:repositories:update', ...decoded.slice(3)]],
    ['verb with a colon', { per: 'read:all,create,update,delete,revoke', fpm: '1,0' }, ['org:repositories:read:all']],
    ['verb twice', { per: 'read,read', fpm: '3,0' }, ['org:repositories:read', 'org:repositories:read']],
  ];
  for (const [name, change, permissions] of rows) {
    one(`mask: ${name}`, { o: { ...example, ...change }, fea: features }, { org_id: 'org_1', org_permissions: permissions });
  }

  const verbs = Array.from({ length: 70 }, (_, index) => `v${index}`);
  const powers = [52, 53, 54, 62, 63, 64, 69, 70];
  for (const power of powers) {
    const mask = (2n ** BigInt(power) + 1n).toString();
    const want = power < 70 ? ['org:big:v0', `org:big:v${power}`] : ['org:big:v0'];
    one(`mask: 2^${power} + 1`, { o: { ...example, per: verbs.join(','), fpm: mask }, fea: 'o:big' }, { org_permissions: want });
  }
  const all = (2n ** 70n - 1n).toString();
  one('mask: all of seventy bits', { o: { ...example, per: verbs.join(','), fpm: all }, fea: 'o:big' }, { org_permissions: verbs.map((verb) => `org:big:${verb}`) });
}

function featureLists() {
  const o = { ...example, per: 'read,write', fpm: '1,2' };
  const rows = [
    ['absent', undefined, []],
    ['empty', '', []],
    ['null', null, []],
    ['o', 'o:a,o:b', ['org:a:read', 'org:b:write']],
    ['ou and uo', 'ou:a,uo:b', ['org:a:read', 'org:b:write']],
    ['u behind', 'o:a,o:b,u:c', ['org:a:read', 'org:b:write']],
    ['u in front does not use a mask', 'u:c,o:a,o:b', ['org:a:read', 'org:b:write']],
    ['u between does not use a mask', 'o:a,u:c,o:b', ['org:a:read', 'org:b:write']],
    ['only u', 'u:a,u:b', []],
    ['unknown scope does not use a mask', 'x:c,o:a,o:b', ['org:a:read', 'org:b:write']],
    ['scope in capitals', 'O:a,o:b', ['org:b:read']],
    ['org is not a scope here', 'org:a,o:b', ['org:b:read']],
    ['spaces around', ' o:a , o:b ', ['org:a:read', 'org:b:write']],
    ['empty name', 'o:,o:b', ['org::read', 'org:b:write']],
    ['colon in the name', 'o:a:b,o:c', ['org:a:b:read', 'org:c:write']],
    ['same name twice', 'o:a,o:a', ['org:a:read', 'org:a:write']],
    ['more than masks', 'o:a,o:b,o:c', ['org:a:read', 'org:b:write']],
  ];
  for (const [name, fea, permissions] of rows) {
    one(`features: ${name}`, { o, fea }, { org_id: 'org_1', org_permissions: permissions });
  }
  one('features: as many masks as features of all scopes', { o: { ...o, fpm: '1,2,3' }, fea: 'u:c,o:a,o:b' }, { org_permissions: ['org:a:read', 'org:b:write'] });
}

// What the SDK cannot read stops it: the cookie path turns that into a refusal, the header path only notices when somebody asks who it is.
function malformed() {
  const rows = [
    ['feature without a colon', { o: example, fea: 'o:a,projects' }],
    ['feature list ends with a comma', { o: example, fea: 'o:a,' }],
    ['feature list a number', { o: example, fea: 5 }],
    ['feature list a list', { o: example, fea: ['o:a'] }],
    ['per a number', { o: { ...example, per: 5 }, fea: features }],
    ['per a list', { o: { ...example, per: ['read'] }, fea: features }],
    ['fpm a number', { o: { ...example, fpm: 7 }, fea: features }],
    ['fpm a list', { o: { ...example, fpm: [7, 21] }, fea: features }],
    ['fpm true', { o: { ...example, fpm: true }, fea: features }],
  ];
  const note = 'The SDK throws when it builds the auth object; in the cookie path that is caught and becomes unexpected-error.';
  const looseHeader = ['auth_throws'];
  for (const [name, claims] of rows) {
    ask('2.5', `malformed: ${name}, header`, { bearer: session(claims), note, loose: looseHeader }, 'in');
    ask('2.5', `malformed: ${name}, cookie`, { cookies: { __session: session(claims), __client_uat: NOW - 100 }, note }, 'out:unexpected-error');
  }
  ask('2.5', 'malformed: feature without a colon, no organization', { bearer: session({ fea: 'projects' }) }, { state: 'in:user_1', auth: { org_permissions: null } });
  ask('2.5', 'malformed: feature without a colon, version 1', { bearer: session({ v: undefined, fea: 'projects', org_id: 'org_1' }) }, { state: 'in:user_1', auth: { org_id: 'org_1' } });
}

function versionOne() {
  const claims = { v: undefined, org_id: 'org_1', org_slug: 'one', org_role: 'org:admin', org_permissions: ['org:a:read'] };
  const auth = { org_id: 'org_1', org_slug: 'one', org_role: 'org:admin', org_permissions: ['org:a:read'] };
  both('version 1', claims, auth);
  one('version 1 without permissions', { ...claims, org_permissions: undefined }, { ...auth, org_permissions: null });
  one('version 1 with no permissions', { ...claims, org_permissions: [] }, { ...auth, org_permissions: [] });
  one('version 1 without a role', { ...claims, org_role: undefined }, { ...auth, org_role: null });
  one('version 1, role without the prefix', { ...claims, org_role: 'admin' }, { ...auth, org_role: 'admin' });
  one('version 1, permissions a text', { ...claims, org_permissions: 'org:a:read' }, { ...auth, org_permissions: 'org:a:read' });
  one('version 1 without an organization', { v: undefined }, { org_id: null, org_slug: null, org_role: null, org_permissions: null });
  one('version 1 with o', { v: undefined, o: example, fea: features }, { org_id: null, org_role: null });
  one('version 1, nulls', { v: undefined, org_id: null, org_slug: null, org_role: null, org_permissions: null }, { org_id: null, org_role: null });
}

function versions() {
  const claims = { o: example, fea: features, org_id: 'org_9', org_role: 'org:member' };
  const rows = [
    ['2', 2, 'org_1'],
    ['2 as text', '2', 'org_9'],
    ['1', 1, 'org_9'],
    ['0', 0, 'org_9'],
    ['3', 3, 'org_9'],
    ['null', null, 'org_9'],
    ['true', true, 'org_9'],
  ];
  for (const [name, v, org_id] of rows) {
    one(`version claim ${name}`, { ...claims, v }, { org_id }, v === 3 ? 'Every version but the number 2 is read as version 1.' : undefined);
  }
}
