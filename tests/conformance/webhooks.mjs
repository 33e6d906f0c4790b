// Deliveries signed by Svix's own library, whole and bent, each with what that library says to it.
// `node webhooks.mjs write` writes webhooks.json; without an argument the library is asked again and compared with what is recorded.

import { readFileSync, writeFileSync } from 'node:fs';
import { Webhook } from 'svix';

const FILE = new URL('webhooks.json', import.meta.url);
const packageLock = JSON.parse(readFileSync(new URL('package-lock.json', import.meta.url), 'utf8'));
const svix = packageLock.packages['node_modules/svix'].version;

// They protect nothing.
const NEW = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const OLD = `whsec_${Buffer.from('the secret that is being replaced').toString('base64')}`;
const STRANGER = `whsec_${Buffer.from('a stranger has a secret of their own').toString('base64')}`;
const SENT_AT = 1_767_225_600;

const BODIES = {
  plain: '{"object":"event","type":"user.updated","data":{"id":"user_1","updated_at":1767225600000}}',
  spaced: '{\n  "object": "event",\n\t"type": "email.created", "data": {}\r\n}\n',
  unicode: '{"object":"event","type":"user.created","data":{"first_name":"Zoë 🔑 \\u0041","last_name":"李"}}',
  none: '{}',
};

const verdict = ({ secrets, now, headers, body }) => {
  const clock = Date.now;
  Date.now = () => now * 1000;
  try {
    return secrets.some((secret) => {
      try {
        new Webhook(secret).verify(body, headers);
        return true;
      } catch {
        return false;
      }
    });
  } finally {
    Date.now = clock;
  }
};

const sign = (secret, id, body) => new Webhook(secret).sign(id, new Date(SENT_AT * 1000), body);

// As Svix sends it: a signature for each secret that is valid, the new one first.
const delivery = (name, secrets, signedBy, body, id = `msg_${name.replace(/\W/g, '')}`) => ({
  name,
  secrets,
  now: SENT_AT,
  headers: {
    'svix-id': id,
    'svix-timestamp': String(SENT_AT),
    'svix-signature': signedBy.map((secret) => sign(secret, id, body)).join(' '),
  },
  body,
});

const whole = Object.entries(BODIES).flatMap(([name, body]) => [
  delivery(`${name}, one secret`, [NEW], [NEW], body),
  delivery(`${name}, two secrets, signed with both`, [NEW, OLD], [NEW, OLD], body),
  delivery(`${name}, two secrets, signed with the new one`, [NEW, OLD], [NEW], body),
  delivery(`${name}, two secrets, signed with the old one`, [NEW, OLD], [OLD], body),
  delivery(`${name}, one secret, signed with both`, [NEW], [OLD, NEW], body),
]);

const header = (name, change) => (it) => ({ ...it, headers: { ...it.headers, [name]: change(it.headers[name]) } });
const signature = (change) => header('svix-signature', change);
const without = (name) => ({ headers: { [name]: _, ...headers }, ...it }) => ({ ...it, headers });
const later = (seconds) => (it) => ({ ...it, now: it.now + seconds });
const digest = (text) => text.replace(/^v1,/, '');

const BENT = {
  'no signature': without('svix-signature'),
  'an empty signature': signature(() => ''),
  'a version without signature': signature(() => 'v1,'),
  'no version': signature(digest),
  'another version': signature((text) => `v2,${digest(text)}`),
  'an asymmetric version': signature((text) => `v1a,${digest(text)}`),
  'a short signature': signature((text) => text.slice(0, -1)),
  'half a signature': signature((text) => text.slice(0, 25)),
  'a long signature': signature((text) => `${text}A`),
  'a signature with a letter changed': signature((text) => text.replace(/.(?=.{5}$)/, (c) => (c === 'x' ? 'y' : 'x'))),
  'a signature in the alphabet of URLs': signature((text) => text.replaceAll('+', '-').replaceAll('/', '_').replace(/=$/, '')),
  'wrong ones before the right one': signature((text) => `v1,AAAA v2,BBBB ${text}`),
  'wrong ones behind the right one': signature((text) => `${text} v1,AAAA v1a,BBBB`),
  'several wrong ones': signature((text) => `v1,AAAA v2,${digest(text)} v1,`),
  'the right one twice': signature((text) => `${text} ${text}`),
  'signatures with commas between': signature((text) => `v1,AAAA,${text}`),
  'something behind a comma': signature((text) => `${text},more`),
  'another secret': (it) => ({ ...it, headers: { ...it.headers, 'svix-signature': sign(STRANGER, it.headers['svix-id'], it.body) } }),
  'no id': without('svix-id'),
  'another id': header('svix-id', (id) => `${id}2`),
  'an id with a dot': (it) => {
    const id = 'msg_1.2';
    return { ...it, headers: { ...it.headers, 'svix-id': id, 'svix-signature': sign(NEW, id, it.body) } };
  },
  'a byte more': (it) => ({ ...it, body: `${it.body} ` }),
  'a byte less': (it) => ({ ...it, body: it.body.slice(0, -1) }),
  'another byte': (it) => ({ ...it, body: it.body.replace('{', '[') }),
  'no timestamp': without('svix-timestamp'),
  'a timestamp a second later': header('svix-timestamp', (at) => String(Number(at) + 1)),
  'a timestamp a second earlier': header('svix-timestamp', (at) => String(Number(at) - 1)),
  'a timestamp in milliseconds': header('svix-timestamp', (at) => `${at}000`),
  'a timestamp in words': header('svix-timestamp', () => 'now'),
  'a timestamp with something behind it': header('svix-timestamp', (at) => `${at}x`),
  'a timestamp with zeros before it': header('svix-timestamp', (at) => `00${at}`),
  'a timestamp with a sign': header('svix-timestamp', (at) => `+${at}`),
  'five minutes old': later(300),
  'a second more than five minutes old': later(301),
  'five minutes early': later(-300),
  'a second more than five minutes early': later(-301),
  'a day old': later(86_400),
};

const bent = Object.entries(BENT).map(([name, bend]) => ({ ...bend(delivery('bent', [NEW], [NEW], BODIES.plain)), name }));
const rotated = Object.entries(BENT)
  .filter(([name]) => !['an id with a dot'].includes(name))
  .map(([name, bend]) => ({ ...bend(delivery('rotated', [NEW, OLD], [OLD], BODIES.plain)), name: `${name}, two secrets` }));

const cases = [...whole, ...bent, ...rotated].map((it) => ({ ...it, accepted: verdict(it) }));
if (whole.some((it) => !verdict(it))) {
  throw new Error('a whole delivery is refused');
}

// One case per line.
const text = `{"svix": ${JSON.stringify(svix)}, "cases": [\n${cases.map((it) => JSON.stringify(it)).join(',\n')}\n]}\n`;
if (process.argv[2] === 'write') {
  writeFileSync(FILE, text);
  console.log(`${cases.length} deliveries written`);
} else {
  const same = readFileSync(FILE, 'utf8') === text;
  console.log(`${cases.length} deliveries, ${same ? 'as recorded' : 'NOT as recorded'}, svix ${svix}`);
  process.exitCode = same ? 0 : 1;
}
