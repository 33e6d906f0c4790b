// Asks Clerk's backend SDK about one case and writes its answer down in the form of cases.json.

import { createRequire } from 'node:module';

import { installClock, setClock } from './clock.mjs';
import { installNetwork, setNetwork, takeCalls } from './network.mjs';
import { PORTAL, mint, sessionHeader } from './tokens.mjs';

installClock();
installNetwork();
const { createClerkClient } = await import('@clerk/backend');

const require = createRequire(import.meta.url);
export const sdkVersion = require('@clerk/backend/package.json').version;

// The SDK keeps key sets per secret key. A new ending for every question keeps one case from seeing the keys of another.
let questions = 0;

export async function askSdk(testCase, corpus) {
  return testCase.kind === 'has' ? askHas(testCase, corpus) : askRequest(testCase, corpus);
}

async function askRequest(testCase, corpus) {
  const { state, error } = await authenticate(testCase, corpus);
  const calls = takeCalls();
  const configuration = corpus.configurations[testCase.configuration];
  return {
    expect: error ? { throws: firstLine(error) } : describeState(state),
    expect_calls: calls.map(({ method, path, query }) => `${method} ${path}${query ? `?${query}` : ''}`),
    ...(calls.length > 0 && {
      expect_bodies: calls.map(({ body }) => body),
      expect_credentials: calls.map(({ credential }) => nameCredential(credential, configuration)),
    }),
  };
}

async function askHas(testCase, corpus) {
  const { state, error } = await authenticate(requestWithToken(testCase), corpus);
  takeCalls();
  if (error || state.status !== 'signed-in') {
    throw new Error(`the token of this case is not signed in: ${error ?? state.reason}`);
  }
  try {
    return { expect: { has: state.toAuth().has(testCase.params) } };
  } catch (thrown) {
    return { expect: { throws: firstLine(thrown) } };
  }
}

function requestWithToken({ now_ms, claims }) {
  return {
    configuration: 'production',
    now_ms,
    accepts_token: 'session_token',
    method: 'GET',
    url: `${PORTAL}/portal`,
    headers: [['authorization', `Bearer ${mint(sessionHeader(), claims)}`]],
  };
}

async function authenticate(testCase, corpus) {
  const configuration = corpus.configurations[testCase.configuration];
  setClock(testCase.now_ms);
  setNetwork(testCase.bapi ?? [], { keys: corpus.jwks.map((kid) => corpus.keys[kid].jwk) });
  return quietly(async () => {
    try {
      const client = createClerkClient(clientOptions(configuration, corpus));
      return { state: await client.authenticateRequest(toRequest(testCase), requestOptions(testCase, configuration)) };
    } catch (error) {
      return { error };
    }
  });
}

function clientOptions(configuration, corpus) {
  questions += 1;
  return withoutUndefined({
    publishableKey: configuration.publishable_key,
    secretKey: configuration.secret_key && `${configuration.secret_key}.${questions}`,
    machineSecretKey: configuration.machine_secret_key,
    jwtKey: configuration.jwt_key && corpus.keys[configuration.jwt_key].public_pem,
    proxyUrl: configuration.proxy_url,
    domain: configuration.domain,
    isSatellite: configuration.is_satellite,
    audience: configuration.audience,
    telemetry: { disabled: true },
  });
}

function requestOptions(testCase, configuration) {
  const { organization_patterns: organizationPatterns, personal_account_patterns: personalAccountPatterns } = configuration;
  return withoutUndefined({
    acceptsToken: testCase.accepts_token,
    authorizedParties: configuration.authorized_parties,
    clockSkewInMs: configuration.clock_skew_ms,
    signInUrl: configuration.sign_in_url,
    satelliteAutoSync: configuration.satellite_auto_sync,
    organizationSyncOptions:
      organizationPatterns || personalAccountPatterns
        ? withoutUndefined({ organizationPatterns, personalAccountPatterns })
        : undefined,
  });
}

function toRequest({ method, url, headers }) {
  const collected = new Headers();
  for (const [name, value] of headers) {
    collected.append(name, value);
  }
  return new Request(url, { method, headers: collected });
}

function describeState(state) {
  return {
    status: state.status,
    reason: state.reason ?? null,
    message: state.message ?? null,
    token_type: state.tokenType ?? null,
    location: state.headers.get('location'),
    set_cookie: state.headers.getSetCookie(),
    headers: [...state.headers].filter(([name]) => name !== 'location' && name !== 'set-cookie'),
    ...describeAuth(state),
  };
}

function describeAuth(state) {
  if (state.status !== 'signed-in') {
    return { auth: null };
  }
  try {
    const auth = authFields(state.toAuth());
    const auth_with_pending = authFields(state.toAuth({ treatPendingAsSignedOut: false }));
    const same = JSON.stringify(auth) === JSON.stringify(auth_with_pending);
    return same ? { auth } : { auth, auth_with_pending };
  } catch (error) {
    return { auth: null, auth_throws: firstLine(error) };
  }
}

function authFields(auth) {
  return auth.tokenType === 'session_token' ? sessionFields(auth) : machineFields(auth);
}

function sessionFields(auth) {
  return {
    user_id: auth.userId ?? null,
    session_id: auth.sessionId ?? null,
    session_status: auth.sessionStatus ?? null,
    actor: auth.actor ?? null,
    org_id: auth.orgId ?? null,
    org_slug: auth.orgSlug ?? null,
    org_role: auth.orgRole ?? null,
    org_permissions: auth.orgPermissions ?? null,
    factor_verification_age: auth.factorVerificationAge ?? null,
  };
}

function machineFields(auth) {
  return {
    id: auth.id ?? null,
    subject: auth.subject ?? null,
    user_id: auth.userId ?? null,
    org_id: auth.orgId ?? null,
    machine_id: auth.machineId ?? null,
    client_id: auth.clientId ?? null,
    scopes: auth.scopes ?? null,
    claims: auth.claims ?? null,
  };
}

function nameCredential(credential, { secret_key: secretKey, machine_secret_key: machineSecretKey }) {
  if (machineSecretKey && credential === `Bearer ${machineSecretKey}`) {
    return 'machine_secret_key';
  }
  if (secretKey && credential?.startsWith(`Bearer ${secretKey}.`)) {
    return 'secret_key';
  }
  return null;
}

function firstLine(error) {
  return String(error?.message ?? error).split('\n')[0];
}

function withoutUndefined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

// The SDK explains itself on the console; the output of a run should show disagreements only.
async function quietly(work) {
  const names = ['log', 'info', 'warn', 'error'];
  const originals = names.map((name) => console[name]);
  names.forEach((name) => {
    console[name] = () => {};
  });
  try {
    return await work();
  } finally {
    names.forEach((name, index) => {
      console[name] = originals[index];
    });
  }
}
