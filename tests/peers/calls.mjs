// A caller on Node: uploads at once over one HTTP/2 connection, a large answer, trailers, and HTTP/1.1 by keep-alive.
// Usage: calls.mjs URL [CA]; prints `served` where everything came back right.
import assert from "node:assert";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { buffer } from "node:stream/consumers";

const [url, ca] = process.argv.slice(2);
const trust = ca ? { ca: readFileSync(ca) } : {};
const AT_ONCE = 50;
const SIZES = [0, 1, 16383, 65536, 1 << 20];

// Node counts what it has yet to send as the session's memory, and refuses answers above ten megabytes of it.
const session = http2.connect(url, { ...trust, maxSessionMemory: 100 });

async function ask(headers, body) {
  const stream = session.request(headers);
  let trailers = {};
  stream.on("trailers", (found) => { trailers = found; });
  stream.end(body);
  const [head] = await once(stream, "response");
  return { status: head[":status"], body: await buffer(stream), trailers };
}

await Promise.all(Array.from({ length: AT_ONCE }, async (_, n) => {
  const body = randomBytes(SIZES[n % SIZES.length]);
  const answer = await ask({ ":path": `/echo?${n}`, ":method": "POST" }, body);
  assert.equal(answer.status, 200);
  assert.ok(answer.body.equals(body), `an upload of ${body.length}`);
}));
assert.equal((await ask({ ":path": "/large" })).body.length, 5 << 20);
const late = await ask({ ":path": "/trailers" });
assert.equal(late.body.toString(), "body");
assert.equal(late.trailers["x-sum"], "7");
assert.equal((await ask({ ":path": "/", ":method": "HEAD" })).body.length, 0);
const left = session.request({ ":path": "/echo", ":method": "POST" });
left.write("half a body");
left.close(http2.constants.NGHTTP2_CANCEL);
await once(left, "close");
assert.equal((await ask({ ":path": "/echo", ":method": "POST" }, "after a reset")).body.toString(), "after a reset");
session.close();
await once(session, "close");

const { request, Agent } = ca ? https : http;
const agent = new Agent({ keepAlive: true, maxSockets: 4, ...trust });
await Promise.all(Array.from({ length: AT_ONCE }, async (_, n) => {
  const body = randomBytes(SIZES[n % SIZES.length]);
  const asked = request(`${url}/echo?${n}`, { method: "POST", agent });
  asked.end(body);
  const [answer] = await once(asked, "response");
  assert.equal(answer.httpVersion, "1.1");
  assert.ok((await buffer(answer)).equals(body), `an upload of ${body.length} over HTTP/1.1`);
}));
agent.destroy();
console.log("served");
