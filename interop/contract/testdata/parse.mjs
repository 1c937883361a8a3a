// Parses documents by @asyncapi/parser. Anything worse than a remark ends it with 1.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Parser } = createRequire(process.cwd() + "/")("@asyncapi/parser");
let bad = false;
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"));
  for (const d of diagnostics) {
    console.log(`${file}: ${d.severity} ${d.code} ${d.path.join("/")}: ${d.message}`);
    bad ||= d.severity < 2; // 2 is for: there is a newer version of AsyncAPI
  }
  if (!document) bad = true;
  else console.log(`${file}: ${document.channels().length} channels, ${document.operations().length} operations, ${document.allMessages().length} messages`);
}
process.exit(bad ? 1 : 0);
