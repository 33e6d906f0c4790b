// Verifications of better-auth's api-key plugin, in this process: the plugin offers them to server code alone, so no HTTP is between.
// Reads how many seconds a round takes, a line each, and answers with verifications per second.
import { createInterface } from "node:readline";
import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import pg from "pg";

const CONCURRENT = Number(process.env.PEER_CONNECTIONS);
const KEYS = Number(process.env.PEER_KEYS);

const options = {
  database: new pg.Pool({ connectionString: process.env.DATABASE_URL, max: CONCURRENT }),
  baseURL: "http://127.0.0.1",
  secret: "a secret of a comparison, which nothing else uses",
  emailAndPassword: { enabled: true },
  telemetry: { enabled: false },
  // As with keys of the portal that have no limits of their own.
  plugins: [apiKey({ rateLimit: { enabled: false } })],
};
const { runMigrations } = await getMigrations(options);
await runMigrations();
const auth = betterAuth(options);
const body = { email: "owner@example.test", name: "Owner", password: "a long enough password" };
const { user } = await auth.api.signUpEmail({ body });
const keys = [];
while (keys.length < KEYS) {
  const { key } = await auth.api.createApiKey({ body: { userId: user.id, name: `peer ${keys.length}` } });
  keys.push(key);
}

async function round(seconds) {
  const end = performance.now() + seconds * 1000;
  let count = 0;
  const verify = async () => {
    while (performance.now() < end) {
      const { valid, error } = await auth.api.verifyApiKey({ body: { key: keys[count++ % keys.length] } });
      if (!valid) throw new Error(`not verified: ${JSON.stringify(error)}`);
    }
  };
  const since = performance.now();
  await Promise.all(Array.from({ length: CONCURRENT }, verify));
  return (count * 1000) / (performance.now() - since);
}

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  console.log(await round(Number(line)));
}
process.exit(0);
