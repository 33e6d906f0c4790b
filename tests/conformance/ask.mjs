// Asks Clerk's backend SDK every case of cases.json again and compares its answer with the recorded one.

import { differences, readCorpus } from './lib/corpus.mjs';
import { askSdk, sdkVersion } from './lib/sdk.mjs';

const corpus = readCorpus();
let disagreements = 0;

if (sdkVersion !== corpus.clerk_backend) {
  disagreements += 1;
  console.log(`DISAGREE version: recorded with @clerk/backend ${corpus.clerk_backend}, installed is ${sdkVersion}`);
}

for (const testCase of corpus.cases) {
  const paths = differences(recorded(testCase), await answer(testCase)).filter((path) => !isLoose(testCase, path));
  if (paths.length > 0) {
    disagreements += 1;
    console.log(`DISAGREE ${testCase.name}: ${paths.join(', ')}`);
  }
}

console.log(`${corpus.cases.length} cases, ${disagreements} disagreements, @clerk/backend ${sdkVersion}`);
process.exitCode = disagreements > 0 ? 1 : 0;

async function answer(testCase) {
  try {
    return await askSdk(testCase, corpus);
  } catch (error) {
    return { error: error.message };
  }
}

function recorded({ expect, expect_calls, expect_bodies, expect_credentials }) {
  return JSON.parse(JSON.stringify({ expect, expect_calls, expect_bodies, expect_credentials }));
}

function isLoose({ loose = [] }, path) {
  return loose.includes(path.replace(/^expect\./, ''));
}
