// A hub on another origin, and a second host that it sends the browser to for bytes, as the real one does; both misbehave on demand.
import { createHash } from "node:crypto";
import { createServer } from "node:http";

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const ANYBODY = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "ETag, Content-Range, Retry-After",
};

async function listen(answer) {
  const server = createServer((request, response) => answer(request, response).catch(() => response.destroy()));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

/**
 * `files` are bytes by `owner/repository/file`; a test may put others there. `faults` are taken one for each request for bytes, the last one if
 * it has `always`: `{ status, headers }`, `{ cut: bytes }`, `{ whole }` (200 instead of 206), `{ pace: milliseconds }` for each 256 KiB, `{ etag }`,
 * `{ bytes }` other than the file's. `refuse` is a status for what the hub itself is asked. `asked` is every request for bytes, `{ start, sent }`.
 */
export async function serveHub(files) {
  const state = { files, faults: [], refuse: 0, asked: [], preflights: 0 };
  const count = (request) => request.method === "OPTIONS" && (state.preflights += 1);

  const store = await listen(async (request, response) => {
    count(request);
    const name = decodeURIComponent(new URL(request.url, "http://localhost").pathname.slice(1));
    const fault = (state.faults[0]?.always ? state.faults[0] : state.faults.shift()) ?? {};
    const entry = { start: Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0), sent: 0 };
    state.asked.push(entry);
    if (fault.status) {
      response.writeHead(fault.status, { ...ANYBODY, ...fault.headers }).end();
      return;
    }
    const file = fault.bytes ?? state.files[name];
    const end = Number(/-(\d+)$/.exec(request.headers.range ?? "")?.[1] ?? file.length - 1) + 1;
    const body = fault.whole ? file : file.subarray(entry.start, end);
    const part = fault.whole
      ? {}
      : { "content-range": `bytes ${entry.start}-${entry.start + body.length - 1}/${file.length}` };
    const headers = {
      ...ANYBODY,
      etag: fault.etag ?? `"${sha256(file).slice(0, 16)}"`,
      "content-length": body.length,
      ...part,
    };
    response.writeHead(fault.whole ? 200 : 206, headers);
    const piece = fault.pace || fault.cut ? 1 << 18 : body.length;
    for (let at = 0; at < body.length; at += piece) {
      if (response.destroyed) return;
      const until = Math.min(at + piece, body.length, fault.cut ?? Infinity);
      await new Promise((resolve) => {
        response.once("close", resolve);
        response.write(body.subarray(at, until), () => {
          response.off("close", resolve);
          resolve();
        });
      });
      entry.sent = until;
      if (until === fault.cut) {
        // Until it has left this machine.
        await new Promise((resolve) => setTimeout(resolve, 100));
        response.destroy();
        return;
      }
      if (fault.pace) await new Promise((resolve) => setTimeout(resolve, fault.pace));
    }
    response.end();
  });

  const hub = await listen(async (request, response) => {
    count(request);
    const { pathname } = new URL(request.url, "http://localhost");
    if (state.refuse) {
      response.writeHead(state.refuse, ANYBODY).end();
      return;
    }
    const asked = /^\/api\/models\/([^/]+\/[^/]+)$/.exec(pathname);
    if (asked) {
      const siblings = Object.entries(state.files)
        .filter(([name]) => name.startsWith(`${asked[1]}/`))
        .map(([name, bytes]) => ({
          rfilename: name.slice(asked[1].length + 1),
          lfs: { sha256: sha256(bytes), size: bytes.length },
        }));
      response.writeHead(200, { ...ANYBODY, "content-type": "application/json" });
      response.end(JSON.stringify({ sha: "0123456789abcdef", siblings }));
      return;
    }
    const [, repo, file] = /^\/([^/]+\/[^/]+)\/resolve\/0123456789abcdef\/(.+)$/.exec(pathname);
    response.writeHead(302, { ...ANYBODY, location: `${store.origin}/${repo}/${file}?signed=1` }).end();
  });

  const close = () => [hub, store].forEach(({ server }) => (server.closeAllConnections(), server.close()));
  return Object.assign(state, { origin: hub.origin, origins: [hub.origin, store.origin], close });
}
