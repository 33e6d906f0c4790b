// A network that only knows Clerk's Backend API, and only the answers that a case lists.
// It must be in place before Clerk's backend SDK is imported.

const BACKEND_API = 'https://api.clerk.com';
const JWKS_PATH = '/v1/jwks';

let answers = [];
let calls = [];

export function installNetwork() {
  globalThis.fetch = async (input, init = {}) => {
    const call = describe(input, init);
    if (call.path !== JWKS_PATH) {
      calls.push(call);
    }
    const answer = answers.find((candidate) => fits(candidate, call));
    if (!answer || answer.error || call.origin !== BACKEND_API) {
      throw new TypeError('fetch failed');
    }
    return toResponse(answer);
  };
}

// `listed` are the answers of the case, `keySet` is what the JWKS address answers unless the case says otherwise.
export function setNetwork(listed, keySet) {
  answers = [...listed, { method: 'GET', path: JWKS_PATH, status: 200, body: keySet }];
  calls = [];
}

export function takeCalls() {
  const taken = calls;
  calls = [];
  return taken;
}

function describe(input, init) {
  const url = new URL(String(input));
  const headers = new Headers(init.headers);
  return {
    method: init.method ?? 'GET',
    origin: url.origin,
    path: url.pathname,
    query: url.search.slice(1),
    credential: headers.get('authorization'),
    body: init.body ? JSON.parse(init.body) : null,
  };
}

function fits(answer, call) {
  return (
    answer.method === call.method &&
    answer.path === call.path &&
    (answer.query === undefined || answer.query === call.query)
  );
}

function toResponse({ status, body, content_type: contentType = 'application/json' }) {
  if (body === undefined) {
    return new Response(null, { status });
  }
  const text = contentType === 'application/json' && typeof body !== 'string' ? JSON.stringify(body) : body;
  return new Response(text, { status, headers: { 'content-type': contentType } });
}
