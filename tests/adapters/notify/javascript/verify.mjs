// Reads one JSON request a line: {secret, body, headers}. Answers "taken" or "refused" a line, as the library decides.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { Webhook } = createRequire(process.argv[2] + "/")("standardwebhooks");

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, body, headers } = JSON.parse(line);
  try {
    new Webhook(secret).verify(body, headers);
    console.log("taken");
  } catch {
    console.log("refused");
  }
}
