// A load of k6: pages and uploads over the protocol that ISOBAR_PROTOCOL names, at ISOBAR_URL; any wrong answer fails it.
import http from "k6/http";
import { check } from "k6";

export const options = {
  scenarios: { all: { executor: "shared-iterations", vus: 10, iterations: 300, maxDuration: "60s" } },
  thresholds: { checks: ["rate==1"], http_req_failed: ["rate==0"] },
  summaryTrendStats: ["max"],
};

const body = "0123456789abcdef".repeat(2048);

export default function () {
  const answers = http.batch([
    ["GET", `${__ENV.ISOBAR_URL}/page`],
    ["POST", `${__ENV.ISOBAR_URL}/echo`, body],
    ["GET", `${__ENV.ISOBAR_URL}/large`, null, { responseType: "binary" }],
  ]);
  check(answers, {
    "every answer came by the protocol": (all) => all.every((one) => one.proto === __ENV.ISOBAR_PROTOCOL),
    "the upload came back": (all) => all[1].body === body,
    "the large answer is whole": (all) => all[2].body.byteLength === 5 << 20,
  });
}
