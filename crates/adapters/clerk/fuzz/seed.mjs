// Writes the seeds of the fuzz targets into corpus/, at most 30 files per target: from the conformance corpus, and by hand what it
// does not hold. Replaces what is there. Run from anywhere: node seed.mjs; then minimise each target: cargo fuzz cmin -s none <target>
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const MOST = 30;
const folder = new URL('corpus/', import.meta.url);
const { cases } = JSON.parse(readFileSync(new URL('../../../../tests/conformance/cases.json', import.meta.url), 'utf8'));

const rows = (...wanted) => cases.filter(({ row }) => wanted.length === 0 || wanted.includes(row));
const lines = ({ headers = [] }, wanted) => headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);
const tokens = (text) => text.match(/[\w=+/-]*\.[\w=+/-]*\.[\w=+/-]*/g) ?? [];
const json = (segment) => {
  try {
    return JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
};
const claims = (of) => of.flatMap((one) => lines(one, 'authorization')).flatMap(tokens).map((token) => json(token.split('.')[1]))
  .filter((found) => found instanceof Object);
// Signatures and long segments say nothing to a parser.
const withoutSignature = (text) => text.replace(/\.[\w-]{342}\b/g, '.c2ln');
const short = (text) => text.replace(/[\w-]{24,}/g, (long) => long.slice(0, 8));

const compact = claims(rows('2.5', '5')).filter(({ o }) => o instanceof Object);
const now = 1767225600;
const event = '{"object":"event","type":"user.created","data":{"id":"user_1"},"instance_id":"ins_1","timestamp":1767225600000}';

const seeds = {
  authorization: cases.map((one) => lines(one, 'authorization')).filter((found) => found.length).map((found) => short(found.join('\n'))),
  claims: claims(rows('2.2', '2.3', '2.5', '2.6', '2.7', '2.8', 'T-11')).map((found, at) => `${'0123456789:;<=>?'[at % 16]}${JSON.stringify(found)}`),
  cookies: cases.map((one) => lines(one, 'cookie')).filter((found) => found.length).map((found) => {
    const suffix = found.join(';').match(/__session_([\w-]+)=/)?.[1] ?? 'abc';
    return short(`__session\n${suffix}\n${found.join('\n')}`);
  }),
  jwks: [
    ...rows('1.5', '1.6').flatMap(({ bapi = [] }) => bapi).filter(({ body }) => body !== undefined)
      .map(({ body }) => (typeof body === 'string' ? body : JSON.stringify(body)).replace(/"[\w-]{342}"/g, '"@2048"')),
    ...['@2040', '@2048', '@4096', '@8192', '@8200', '@even', 'AAAA@2040', 'AAAA@2048', '@2048==']
      .map((n) => JSON.stringify({ keys: [{ kty: 'RSA', kid: 'ins_1', n, e: 'AQAB' }] })),
    ...['AQ', 'Ag', 'Aw', 'AAAD', '_____w', ''].map((e) => JSON.stringify({ keys: [{ kty: 'RSA', kid: 'ins_1', n: '@2048', e }] })),
  ],
  permissions: compact.map(({ fea = '', o: { per = '', fpm = '' } }) => [fea, per, fpm].join('\n')),
  token: rows('2.1', '2.3', 'T-11', 'T-12', 'T-14', '1b-agreed', '1b-01', '1b-05', '1b-14')
    .flatMap((one) => lines(one, 'authorization')).map((line) => withoutSignature(line.replace(/^Bearer /, ''))),
  webhook: [
    `0msg_1\n${now}\nv1,@\n${event}`,
    `8msg_1\n${now - 300}\nv1,~\n${event}`,
    `1msg_1\n${now + 300}\nv1a,@ junk v1, v1,~ v1,@\n{}`,
    `0msg_1\n${now - 301}\nv1,@\n${event}`,
    `0msg_1\n${now + 301}\nv1,@\n`,
    `0 msg_1\t\n ${now} \n v1,@ \n${event.replace('user_1', 'é')}`,
    `0msg_1.${now}\n${now}\nv1,@\n${now}.{}`,
    `2msg_1\n${now}\nv1,@\n{}`,
    `4msg_1\n${now}\nv1,@\n{}`,
    `0msg_1\n+${now}\nv1,@\n{}`,
    `0msg_1\n0${now}\nv1,@= @ v1,@@ v2,@ ,\n[]`,
    `0msg_1\n${now}\nv1,@\n["event","user.created",{}]`,
    `0\n\n\n`,
  ],
};

for (const [target, found] of Object.entries(seeds)) {
  const distinct = [...new Set(found)].sort();
  const step = Math.max(1, distinct.length / MOST);
  rmSync(new URL(`${target}/`, folder), { recursive: true, force: true });
  mkdirSync(new URL(`${target}/`, folder), { recursive: true });
  for (let at = 0; at < Math.min(MOST, distinct.length); at += 1) {
    const text = distinct[Math.floor(at * step)];
    writeFileSync(new URL(`${target}/${createHash('sha1').update(text).digest('hex')}`, folder), text);
  }
}
