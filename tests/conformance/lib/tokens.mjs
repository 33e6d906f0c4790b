// Mints the tokens of the corpus. RS256 signatures are the same every time, so the output is stable.

import { createHash, createHmac, createPublicKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const NOW_MS = 1767225600000;
export const NOW = NOW_MS / 1000;
export const ISSUER = 'https://clerk.example.com';
export const PORTAL = 'https://portal.example.com';

export const CATEGORY = {
  session: 'cl_B7d4PD111AAA',
  template: 'cl_B7d4PD222AAA',
  m2m: 'cl_B7d4PD333AAA',
  ignore: 'cl_I7d4PD111III',
};

const keys = JSON.parse(readFileSync(new URL('../keys.json', import.meta.url), 'utf8'));
const HASHES = { RS256: 'sha256', RS384: 'sha384', RS512: 'sha512' };

export const JWKS = ['ins_conformance', 'ins_other'];

export function publicKeys() {
  return Object.fromEntries(JWKS.map((kid) => [kid, { public_pem: keys[kid].public_pem, jwk: jwkOf(kid) }]));
}

export function jwkOf(kid) {
  const { n, e } = createPublicKey(keys[kid].public_pem).export({ format: 'jwk' });
  return { use: 'sig', kty: 'RSA', kid, alg: 'RS256', n, e };
}

export function cookieSuffix(publishableKey) {
  return createHash('sha1').update(publishableKey).digest('base64url').slice(0, 8);
}

// Signs a token. Header and payload are objects, or the text itself where the text matters.
export function mint(header, payload, { key = 'ins_conformance', hash = 'RS256' } = {}) {
  const signed = `${encode(header)}.${encode(payload)}`;
  const signature = sign(HASHES[hash], Buffer.from(signed), keys[key].private_pem);
  return `${signed}.${signature.toString('base64url')}`;
}

// A token "signed" with HMAC, the public key as the shared secret.
export function mintWithPublicKeyAsSecret(header, payload) {
  const signed = `${encode(header)}.${encode(payload)}`;
  return `${signed}.${createHmac('sha256', keys.ins_conformance.public_pem).update(signed).digest('base64url')}`;
}

export function mintUnsigned(header, payload) {
  return `${encode(header)}.${encode(payload)}.`;
}

function encode(part) {
  const bytes = Buffer.isBuffer(part) ? part : Buffer.from(typeof part === 'string' ? part : JSON.stringify(part));
  return bytes.toString('base64url');
}

export const sessionHeader = (overrides = {}) => ({
  alg: 'RS256',
  cat: CATEGORY.session,
  kid: 'ins_conformance',
  typ: 'JWT',
  ...overrides,
});

// The claims of a good session token. `undefined` removes a claim; `nbf` and `exp` follow `iat`.
export function sessionClaims(overrides = {}) {
  const iat = typeof overrides.iat === 'number' ? overrides.iat : NOW - 10;
  return {
    azp: PORTAL,
    exp: iat + 60,
    iat,
    iss: ISSUER,
    nbf: iat - 10,
    sid: 'sess_1',
    sub: 'user_1',
    v: 2,
    ...overrides,
  };
}

export const session = (claims, header, options) => mint(sessionHeader(header), sessionClaims(claims), options);

export const expired = (seconds = 60, claims = {}) => session({ iat: NOW - 60 - seconds, ...claims });

export const withOrganization = (organization, claims = {}) => session({ o: organization, ...claims });

export const template = (claims, header) =>
  session({ sid: undefined, v: undefined, ...claims }, { cat: CATEGORY.template, ...header });

export const m2mClaims = (overrides = {}) => ({
  exp: NOW + 50,
  iat: NOW - 10,
  iss: ISSUER,
  jti: 'mt_1',
  nbf: NOW - 20,
  scopes: 'mch_2 mch_3',
  sub: 'mch_1',
  ...overrides,
});

export const m2mJwt = (claims, header, options) =>
  mint(sessionHeader({ cat: CATEGORY.m2m, ...header }), m2mClaims(claims), options);

export const oauthClaims = (overrides = {}) => ({
  client_id: 'client_1',
  exp: NOW + 50,
  iat: NOW - 10,
  iss: ISSUER,
  jti: 'oat_1',
  nbf: NOW - 20,
  scope: 'email profile',
  sub: 'user_1',
  ...overrides,
});

export const oauthJwt = (claims, header, options) =>
  mint({ alg: 'RS256', kid: 'ins_conformance', typ: 'at+jwt', ...header }, oauthClaims(claims), options);

export const handshakeJwt = (directives, header, claims = {}, options = undefined) =>
  mint(sessionHeader(header), { handshake: directives, iat: NOW - 1, ...claims }, options);
