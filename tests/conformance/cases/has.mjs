// Authorization checks against the claims of a signed-in token.

import { askHas } from '../lib/build.mjs';

const admin = { o: { id: 'org_1', slg: 'one', rol: 'admin', per: 'read,manage', fpm: '3' }, fea: 'o:billing' };
const versionOne = { v: undefined, org_id: 'org_1', org_role: 'org:admin', org_permissions: ['org:billing:read', 'org:billing:manage'] };

// For a claim with reports for the organization, export for the user, and shared for both.
const entitlements = [
  ['reports', true],
  ['export', true],
  ['shared', true],
  ['other', false],
  ['o:reports', true],
  ['org:reports', true],
  ['organization:reports', true],
  ['u:reports', false],
  ['user:reports', false],
  ['u:export', true],
  ['user:export', true],
  ['o:export', false],
  ['o:shared', true],
  ['u:shared', true],
  ['ou:shared', false],
  ['uo:shared', false],
  ['x:reports', false],
  ['O:reports', false],
  ['Reports', false],
  ['o:reports:more', true],
  ['o:', false],
  ['u:', false],
  [':reports', false],
  ['o', false],
  ['', false],
  [' reports', false],
  ['report', false],
  [null, false],
  [5, false],
  [['reports'], false],
  [{}, false],
];

roles();
permissions();
features();
plans();
factorAges();
levels();
combinations();
identities();

function has(name, claims, params, want, extra) {
  askHas('5', name, claims, params, want, extra);
}

function roles() {
  const rows = [
    ['org:admin', true],
    ['admin', true],
    ['org:org:admin', true],
    ['org:member', false],
    ['member', false],
    ['Admin', false],
    ['ORG:admin', false],
    ['admin ', false],
    ['adm', false],
    ['', false],
    ['org:', false],
    [null, false],
    [5, false],
    [['org:admin'], false],
    [{}, false],
    [true, false],
    [false, false],
  ];
  for (const [role, want] of rows) {
    has(`role ${JSON.stringify(role)}`, admin, { role }, want);
    has(`role ${JSON.stringify(role)}, version 1`, versionOne, { role }, want);
  }
  has('role without an organization', {}, { role: 'org:admin' }, false);
  has('role that the token lacks', { o: { id: 'org_1' } }, { role: 'org:admin' }, false);
  has('role empty in the token', { o: { id: 'org_1', rol: '' } }, { role: '' }, false);
  has('role with the prefix in the token', { o: { id: 'org_1', rol: 'org:admin' } }, { role: 'admin' }, true);
  has('role without the prefix in version 1', { ...versionOne, org_role: 'admin' }, { role: 'org:admin' }, true);
  has('role org: in version 1 and nothing asked', { ...versionOne, org_role: 'org:' }, { role: '' }, true);
  has('role a number in version 1', { ...versionOne, org_role: 5 }, { role: '5' }, false);
  has('role, organization id empty', { ...versionOne, org_id: '' }, { role: 'admin' }, false);
  has('role, organization id absent', { ...versionOne, org_id: undefined }, { role: 'admin' }, false);
}

function permissions() {
  const rows = [
    ['org:billing:read', true],
    ['billing:read', true],
    ['org:org:billing:read', true],
    ['org:billing:manage', true],
    ['org:billing:delete', false],
    ['org:billing', false],
    ['billing', false],
    ['org:billing:', false],
    ['read', false],
    ['org:billing:read:all', false],
    ['ORG:billing:read', false],
    ['org:Billing:read', false],
    ['org:billing:*', false],
    [' org:billing:read', false],
    ['', false],
    ['org:sys_memberships:manage', false],
    [null, false],
    [5, false],
    [['org:billing:read'], false],
    [{}, false],
  ];
  for (const [permission, want] of rows) {
    has(`permission ${JSON.stringify(permission)}`, admin, { permission }, want);
    has(`permission ${JSON.stringify(permission)}, version 1`, versionOne, { permission }, want);
  }
  has('permission without an organization', {}, { permission: 'org:billing:read' }, false);
  has('permission, version 1 without a list', { ...versionOne, org_permissions: undefined }, { permission: 'billing:read' }, false);
  has('permission, version 1 with a text', { ...versionOne, org_permissions: 'org:billing:read' }, { permission: 'billing:read' }, false);
  has('permission, version 1 without the prefix in the list', { ...versionOne, org_permissions: ['billing:read'] }, { permission: 'billing:read' }, false);
  has('permission, bit not set', { ...admin, o: { ...admin.o, fpm: '1' } }, { permission: 'billing:manage' }, false);
  has('permission, masks absent', { ...admin, o: { ...admin.o, fpm: undefined } }, { permission: 'billing:read' }, false);
  has('permission, feature of the user only', { ...admin, fea: 'u:billing' }, { permission: 'billing:read' }, false);
  has('permission above 2^53', { o: { id: 'org_1', per: Array.from({ length: 60 }, (_, index) => `p${index}`).join(','), fpm: '288230376151711745' }, fea: 'o:big' }, { permission: 'big:p58' }, true);
  has('permission above 2^53, neighbour', { o: { id: 'org_1', per: Array.from({ length: 60 }, (_, index) => `p${index}`).join(','), fpm: '288230376151711745' }, fea: 'o:big' }, { permission: 'big:p57' }, false);
}

function features() {
  const claims = { fea: 'o:reports,u:export,ou:shared' };
  for (const [feature, want] of entitlements) {
    has(`feature ${JSON.stringify(feature)}`, claims, { feature }, want);
  }
  claimForms('feature', 'fea');
}

function plans() {
  const claims = { pla: 'o:reports,u:export,uo:shared' };
  for (const [plan, want] of entitlements) {
    has(`plan ${JSON.stringify(plan)}`, claims, { plan }, want);
  }
  claimForms('plan', 'pla');
}

function claimForms(parameter, claim) {
  const rows = [
    ['absent', undefined, false],
    ['empty', '', false],
    ['null', null, false],
    ['a number', 5, false],
    ['a list', ['o:reports'], false],
    ['an object', {}, false],
    ['without a colon', 'reports', false],
    ['one element without a colon', 'o:reports,x', false],
    ['a comma at the end', 'o:reports,', false],
    ['spaces around', ' o:reports , u:x ', true],
    ['unknown scope', 'x:reports', false],
    ['scope in capitals', 'O:reports', false],
    ['colon in the name', 'o:reports:more', false],
    ['twice', 'o:reports,o:reports', true],
    ['only a colon', ':', false],
  ];
  for (const [name, value, want] of rows) {
    has(`${parameter}, claim ${name}`, { [claim]: value }, { [parameter]: 'reports' }, want);
  }
  has(`${parameter}, name "o" where a feature is called so`, { [claim]: 'o:o' }, { [parameter]: 'o:' }, true);
  has(`${parameter}, empty name in the claim`, { [claim]: 'o:' }, { [parameter]: '' }, true);
  has(`${parameter}, with an organization that is not there`, { [claim]: 'o:reports' }, { [parameter]: 'o:reports' }, true);
}

function factorAges() {
  const rows = [
    ['absent', undefined, false],
    ['null', null, false],
    ['fresh', [0, 0], true],
    ['not fresh', [20, 20], false],
    ['empty', [], false],
    ['one', [0], false],
    ['three', [0, 0, 0], false],
    ['both not available', [-1, -1], false],
    ['minus two', [-2, 0], false],
    ['minus one and a half', [0, -1.5], false],
    ['a fraction', [0.5, 0.5], true],
    ['text', ['0', '0'], false],
    ['null inside', [0, null], false],
    ['a text', '0,0', false],
    ['an object', { 0: 0, 1: 0, length: 2 }, false],
    ['true', true, false],
  ];
  for (const [name, fva, want] of rows) {
    has(`factor ages ${name}`, { fva }, { reverification: 'strict' }, want);
    has(`factor ages ${name}, all factors`, { fva }, { reverification: 'strict_mfa' }, want);
  }
  const params = [
    ['a preset', 'lax', true],
    ['unknown preset', 'weak', false],
    ['preset in capitals', 'STRICT', false],
    ['empty', '', false],
    ['null', null, false],
    ['true', true, false],
    ['number', 10, false],
    ['a name that every object has', 'constructor', false],
    ['empty object', {}, false],
    ['list', ['strict'], false],
    ['object', { level: 'first_factor', afterMinutes: 10 }, true],
    ['object without a level', { afterMinutes: 10 }, false],
    ['object without minutes', { level: 'first_factor' }, false],
    ['unknown level', { level: 'third_factor', afterMinutes: 10 }, false],
    ['minutes zero', { level: 'first_factor', afterMinutes: 0 }, false],
    ['minutes negative', { level: 'first_factor', afterMinutes: -1 }, false],
    ['minutes a text', { level: 'first_factor', afterMinutes: '10' }, false],
    ['minutes null', { level: 'first_factor', afterMinutes: null }, false],
    ['minutes a fraction', { level: 'first_factor', afterMinutes: 0.5 }, true],
    ['minutes very many', { level: 'first_factor', afterMinutes: 1e15 }, true],
    ['more fields', { level: 'first_factor', afterMinutes: 10, more: 1 }, true],
  ];
  for (const [name, reverification, want] of params) {
    has(`reverification ${name}`, { fva: [0, 0] }, { reverification }, want);
  }
}

// Fresh, stale or not available, for both factors and every level.
function levels() {
  const presets = { strict_mfa: ['multi_factor', 10], strict: ['second_factor', 10], moderate: ['second_factor', 60], lax: ['second_factor', 1440] };
  const configured = [
    ...Object.entries(presets).map(([preset, [level, minutes]]) => [preset, preset, level, minutes]),
    ...['first_factor', 'second_factor', 'multi_factor'].map((level) => [`${level} within 15 minutes`, { level, afterMinutes: 15 }, level, 15]),
  ];
  for (const [name, reverification, level, minutes] of configured) {
    for (const first of [-1, minutes - 1, minutes]) {
      for (const second of [-1, minutes - 1, minutes]) {
        has(`${name}, factors [${first}, ${second}]`, { fva: [first, second] }, { reverification }, verdict(level, minutes, first, second));
      }
    }
  }
}

function verdict(level, minutes, first, second) {
  const [firstFresh, secondFresh] = [first, second].map((age) => age !== -1 && age < minutes);
  if (first === -1 && second === -1) {
    return false;
  }
  if (level === 'first_factor' || second === -1) {
    return firstFresh;
  }
  if (level === 'second_factor') {
    return secondFresh;
  }
  return firstFresh && secondFresh;
}

// Every combination of the five questions, each answered well or badly.
function combinations() {
  const claims = { ...admin, pla: 'o:pro', fva: [0, 0] };
  const questions = {
    role: ['admin', 'member'],
    permission: ['billing:read', 'billing:delete'],
    feature: ['billing', 'other'],
    plan: ['pro', 'free'],
    reverification: ['strict', { level: 'first_factor', afterMinutes: 0 }],
  };
  const names = Object.keys(questions);
  for (let mask = 0; mask < 2 ** names.length; mask += 1) {
    const asked = names.filter((_, index) => mask & (2 ** index));
    const good = Object.fromEntries(asked.map((name) => [name, questions[name][0]]));
    askHas('T-03', `asked: ${asked.join(', ') || 'nothing'}`, claims, good, asked.length > 0);
    for (const failing of asked) {
      askHas('T-03', `asked: ${asked.join(', ')}; ${failing} fails`, claims, { ...good, [failing]: questions[failing][1] }, false);
    }
  }
  askHas('T-03', 'asked: an unknown question', claims, { group: 'x' }, false);
  askHas('T-03', 'asked: an unknown question beside a good one', claims, { group: 'x', role: 'admin' }, true);
}

function identities() {
  has('pending session', { ...admin, sts: 'pending' }, { role: 'admin' }, false);
  has('active session', { ...admin, sts: 'active' }, { role: 'admin' }, true);
  has('subject empty', { ...admin, sub: '' }, { role: 'admin' }, false);
  has('no session id', { ...admin, sid: undefined }, { role: 'admin' }, true);
  has('somebody else acts', { ...admin, act: { sub: 'user_9' } }, { role: 'admin' }, true);
  has('malformed feature list with an organization', { ...admin, fea: 'billing' }, { role: 'admin' }, 'throws:Invalid claim element', { note: 'The SDK throws when it builds the auth object. Refusing is right here.' });
  has('malformed feature list without an organization', { fea: 'billing' }, { feature: 'billing' }, false);
  has('version 3 is read as version 1', { ...versionOne, v: 3 }, { role: 'admin' }, true);
}
