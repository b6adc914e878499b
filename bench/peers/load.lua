-- What wrk sends and how it reports. Read by every run, so that all peers get the same requests.
-- With ISOBAR_BENCH_POST=N each request carries a body of N bytes.
local size = tonumber(os.getenv("ISOBAR_BENCH_POST") or "0")
if size > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("x", size)
end

-- One line for the harness: wrk's own report is for people and rounds its numbers.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    "bench requests=%d micros=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d p50=%d p99=%d\n",
    summary.requests, summary.duration, summary.bytes,
    e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
