// An endpoint on Node: `http1`, `h2c`, or with certificate and key `tls` (HTTP/2 and 1.1 by ALPN); prints its port first.
// Usage: echo_server.mjs KIND FOLDER [CERTIFICATE KEY]
import { createReadStream, readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import path from "node:path";

const [kind, folder, cert, key] = process.argv.slice(2);

function answer(request, response) {
  if (request.method === "POST") {
    request.pipe(response);
  } else if (request.url === "/version") {
    response.end(`HTTP/${request.httpVersion}`);
  } else if (request.url === "/trailers") {
    // The field belongs to HTTP/1.1; Node refuses none of its trailers over HTTP/2 for the lack of it.
    if (request.httpVersionMajor === 1) response.setHeader("trailer", "x-sum");
    response.write("body");
    response.addTrailers({ "x-sum": "7" });
    response.end();
  } else {
    createReadStream(path.join(folder, path.basename(request.url))).pipe(response);
  }
}

function serverOf(kind) {
  if (kind === "http1") return http.createServer(answer);
  if (kind === "h2c") return http2.createServer(answer);
  const files = { cert: readFileSync(cert), key: readFileSync(key) };
  return http2.createSecureServer({ ...files, allowHTTP1: true }, answer);
}

const server = serverOf(kind);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
