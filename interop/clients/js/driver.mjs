// Usage: node driver.mjs <group> <url> <mode> [client=<package>] [via=<url>] [control=<host:port>] [pid=<pid>]
//
// group is a file of cases; mode is websocket, polling or upgrade. via is the
// same server behind a proxy, control the proxy's control port, pid the
// server's process.
import { run } from './harness.mjs';

const [group, url, mode, ...rest] = process.argv.slice(2);
const env = { url, mode, ...Object.fromEntries(rest.map((a) => a.split(/=(.*)/s, 2))) };
const { cases } = await import(`./${group}.mjs`);
await run(cases, env);
process.exit(0); // sockets of failed cases must not keep the process
