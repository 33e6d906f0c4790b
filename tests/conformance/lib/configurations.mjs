// The settings that the cases use, by name.

const LIVE = 'pk_live_Y2xlcmsuZXhhbXBsZS5jb20k';
const TEST = 'pk_test_Y2xlcmsuZXhhbXBsZS5jb20k';
const TEST_ACCOUNTS_DEV = 'pk_test_Zm9vLWJhci0xMy5jbGVyay5hY2NvdW50cy5kZXYk';
const LIVE_SECRET = 'sk_live_conformance';
const TEST_SECRET = 'sk_test_conformance';

const production = { publishable_key: LIVE, secret_key: LIVE_SECRET };
const development = { publishable_key: TEST, secret_key: TEST_SECRET };
const satellite = { is_satellite: true, domain: 'satellite.example.net', sign_in_url: 'https://primary.example.com/sign-in' };

const encodeHost = (text) => Buffer.from(text).toString('base64');
export const PADDED_HOST = 'clerk.portal.example.com';
const PADDED = encodeHost(`${PADDED_HOST}$`);

export const INVALID_PUBLISHABLE_KEYS = {
  empty: '',
  'no-prefix': 'Y2xlcmsuZXhhbXBsZS5jb20k',
  'wrong-prefix': 'sk_live_Y2xlcmsuZXhhbXBsZS5jb20k',
  'unknown-kind': 'pk_prod_Y2xlcmsuZXhhbXBsZS5jb20k',
  'upper-case-prefix': 'PK_live_Y2xlcmsuZXhhbXBsZS5jb20k',
  'four-parts': 'pk_live_Y2xlcmsuZXhhbXBsZS5jb20k_x',
  'no-third-part': 'pk_live_',
  undecodable: 'pk_live_%%%%',
  'no-dollar': `pk_live_${encodeHost('clerk.example.com')}`,
  'dollar-inside': `pk_live_${encodeHost('clerk$.example.com$')}`,
  'two-dollars': `pk_live_${encodeHost('clerk.example.com$$')}`,
  'no-dot': `pk_live_${encodeHost('localhost$')}`,
  'only-dollar': `pk_live_${encodeHost('$')}`,
};

export const configurations = {
  production,
  development,
  'production-pem': { ...production, jwt_key: 'ins_conformance' },
  'production-pem-other': { ...production, jwt_key: 'ins_other' },
  'development-pem': { ...development, jwt_key: 'ins_conformance' },
  'development-pem-other': { ...development, jwt_key: 'ins_other' },
  'development-accounts-dev': { publishable_key: TEST_ACCOUNTS_DEV, secret_key: TEST_SECRET },

  'production-azp': { ...production, authorized_parties: ['https://portal.example.com'] },
  'production-azp-two': { ...production, authorized_parties: ['https://other.example.com', 'https://portal.example.com'] },
  'production-azp-none': { ...production, authorized_parties: [] },
  'development-azp': { ...development, authorized_parties: ['https://portal.example.com'] },
  'production-audience': { ...production, audience: 'portal-api' },
  'production-audience-list': { ...production, audience: ['portal-api', 'portal-admin'] },
  'production-audience-none': { ...production, audience: [] },
  'production-skew-0': { ...production, clock_skew_ms: 0 },
  'production-skew-1500': { ...production, clock_skew_ms: 1500 },
  'production-skew-60000': { ...production, clock_skew_ms: 60000 },
  'production-skew-negative': { ...production, clock_skew_ms: -2000 },

  'production-proxy': { ...production, proxy_url: 'https://portal.example.com/__clerk' },
  'production-proxy-slash': { ...production, proxy_url: 'https://portal.example.com/__clerk/' },
  'production-proxy-slashes': { ...production, proxy_url: 'https://portal.example.com/__clerk///' },
  'production-proxy-relative': { ...production, proxy_url: '/__clerk' },
  'production-proxy-root': { ...production, proxy_url: 'https://proxy.example.com' },
  'production-proxy-port': { ...production, proxy_url: 'https://proxy.example.com:8443/a/b' },
  'production-proxy-http': { ...production, proxy_url: 'http://proxy.internal/clerk' },
  'production-proxy-and-domain': { ...production, ...satellite, proxy_url: 'https://satellite.example.net/__clerk' },
  'development-proxy': { ...development, proxy_url: 'https://portal.example.com/__clerk' },
  'production-domain': { ...production, domain: 'portal.example.com' },
  'development-domain': { ...development, domain: 'portal.example.com' },

  'production-padded': { publishable_key: `pk_live_${PADDED}`, secret_key: LIVE_SECRET },
  'production-unpadded': { publishable_key: `pk_live_${PADDED.replace(/=+$/, '')}`, secret_key: LIVE_SECRET },

  'satellite-production': { ...production, ...satellite },
  'satellite-production-auto': { ...production, ...satellite, satellite_auto_sync: true },
  'satellite-production-no-auto': { ...production, ...satellite, satellite_auto_sync: false },
  'satellite-production-no-sign-in': { ...production, ...satellite, sign_in_url: undefined },
  'satellite-production-no-domain': { ...production, ...satellite, domain: undefined },
  'satellite-production-proxy-only': { ...production, ...satellite, domain: undefined, proxy_url: 'https://satellite.example.net/__clerk' },
  'satellite-development': { ...development, ...satellite },
  'satellite-development-auto': { ...development, ...satellite, satellite_auto_sync: true },
  'satellite-development-no-sign-in': { ...development, ...satellite, sign_in_url: undefined },
  'satellite-development-relative-sign-in': { ...development, ...satellite, sign_in_url: '/sign-in' },
  'satellite-development-same-origin-sign-in': { ...development, ...satellite, sign_in_url: 'https://satellite.example.net/sign-in' },
  'satellite-development-no-domain': { ...development, ...satellite, domain: undefined },
  'satellite-development-sign-in-query': { ...development, ...satellite, sign_in_url: 'https://primary.example.com/sign-in?a=b%20c#top' },

  organizations: {
    ...production,
    organization_patterns: ['/orgs/:slug', '/orgs/:slug/(.*)', '/org-ids/:id', '/org-ids/:id/(.*)', '/both/:id/:slug'],
    personal_account_patterns: ['/me', '/me/(.*)', '/orgs/(.*)'],
  },
  'organizations-only': { ...production, organization_patterns: ['/orgs/:slug', '/orgs/:slug/(.*)'] },
  'personal-only': { ...production, personal_account_patterns: ['/me', '/me/(.*)'] },
  'organizations-other-name': { ...production, organization_patterns: ['/orgs/:name'] },
  'organizations-invalid': { ...production, organization_patterns: ['/orgs/:slug('] },
  'personal-invalid': { ...production, personal_account_patterns: ['/me/(unclosed'] },
  'organizations-development': { ...development, organization_patterns: ['/orgs/:slug', '/orgs/:slug/(.*)'] },

  'no-secret': { publishable_key: LIVE },
  'no-secret-pem': { publishable_key: LIVE, jwt_key: 'ins_conformance' },
  'no-publishable-key': { secret_key: LIVE_SECRET },
  'machine-secret-only': { publishable_key: LIVE, machine_secret_key: 'ak_conformance' },
  'machine-secret-pem': { publishable_key: LIVE, machine_secret_key: 'ak_conformance', jwt_key: 'ins_conformance' },
  'production-machine-secret': { ...production, machine_secret_key: 'ak_conformance' },
  'legacy-secret-satellite': { publishable_key: TEST, secret_key: 'test_conformance', ...satellite, sign_in_url: undefined },
  'mixed-keys': { publishable_key: LIVE, secret_key: TEST_SECRET },

  ...Object.fromEntries(
    Object.entries(INVALID_PUBLISHABLE_KEYS).map(([name, publishable_key]) => [
      `invalid-key-${name}`,
      { publishable_key, secret_key: LIVE_SECRET },
    ]),
  ),
};
