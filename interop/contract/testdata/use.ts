import { io } from "socket.io-client";
import type { AckError, AdminUsersSocket, Base, ByNameSocket, FileInput, GameSocket, Node, Phase, QuietSocket, Socket } from "./contract";

// equal fails to compile if a type is another, any among them.
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function equal<A, B>(_: Equal<A, B>) {}

const s: Socket = io();
s.on("texts", (phase, plain, reason) => {
  equal<typeof phase, Phase>(true);
  equal<Phase, "waiting" | "playing" | "over" | '"quoted"'>(true);
  equal<typeof plain, string>(true);
  equal<typeof reason, string>(true);
});
s.on("numbers", (a, b, c, d, e, f, g) => {
  equal<[typeof a, typeof b, typeof c, typeof d, typeof e, typeof f, typeof g], [number, number, number, boolean, number, number | null, unknown]>(true);
});
s.on("own forms", (time, n, raw) => {
  equal<[typeof time, typeof n, typeof raw], [string, number, unknown]>(true);
});
s.on("binary", (one, many, by, file) => {
  equal<[typeof one, typeof many, typeof by, typeof file.data], [ArrayBuffer, ArrayBuffer[], { [key: string]: ArrayBuffer }, string]>(true);
});
s.on("recursive", (node, maybe, all, tree) => {
  equal<typeof node.next, Node | null>(true);
  equal<typeof maybe, Node | null>(true);
  node.by["x"]?.kids?.[0]?.next?.value;
  node.deep.flat().flat();
  all.length;
  equal<typeof tree, (typeof tree)["a"]["b"]>(true);
});
s.on("structs", (embeds, options) => {
  equal<typeof embeds.named, Base>(true);
  equal<typeof embeds.shadow, string>(true);
  equal<typeof options.text, string | undefined>(true);
  equal<typeof options.quoted, string>(true);
  equal<(typeof options)["odd-name"], boolean>(true);
});
s.on("rest", (first, ...rest) => equal<[typeof first, typeof rest], [string, Phase[]]>(true));
s.on("it's \"quoted\"\u2028", () => {});
s.on("*/\n${x}`\\", () => {});
s.on("ask", (question, ack) => ack(question.length));
s.on("ask2", (_, ack) => ack(1, new Uint8Array(3)));
s.on("there?", (ack) => ack());

s.emit("none");
s.emit("none", () => {});
s.emit("fails", "x");
s.emit("fails", "x", (error) => equal<typeof error, AckError | undefined>(true));
s.emit("sum", 1, 2, (n) => equal<typeof n, number>(true));
const sum = await s.emitWithAck("sum", 1, 2);
equal<typeof sum, number>(true);
const quotient = await s.emitWithAck("divide", 1, 2);
equal<typeof quotient, number | AckError>(true);
if (typeof quotient !== "number") quotient.error.length;
s.emit("two", (n, text) => equal<[typeof n, typeof text], [number, string]>(true));
s.emit("two or fails", (...answer) => {
  if (answer.length === 1) answer[0].error;
  else equal<typeof answer[1], ArrayBuffer>(true);
});
s.timeout(100).emit("sum", 1, 2, (err, n) => { if (!err) n.toFixed(); });
await s.timeout(100).emitWithAck("divide", 1, 2);
s.emit("optional", "x");
s.emit("optional", "x", 1);
s.emit("optional", "x", null, "over", () => {});
equal<number, Awaited<ReturnType<typeof asked>>>(true);
function asked() { return s.emitWithAck("optional, asked", null); }
s.emit("many", "x", 1, 2, 3);
equal<number, Awaited<ReturnType<typeof many>>>(true);
function many() { return s.emitWithAck("many, asked", 1, 2, 3); }
const file: FileInput = { name: "x", data: new Uint8Array(1) };
const stored = await s.emitWithAck("upload", file, new ArrayBuffer(1), new Blob([]));
equal<typeof stored.data, string>(true);
const raw = await s.emitWithAck("raw", "over");
equal<typeof raw, boolean | AckError>(true);

const admin: AdminUsersSocket = io("/admin/users");
equal<Base[], Awaited<ReturnType<typeof list>>>(true);
function list() { return admin.emitWithAck("list"); }
const game: GameSocket = io("/game-7");
game.emit("move", 1, 2, (error) => error?.error);
const quiet: QuietSocket = io("/quiet");
quiet.once("base", (base) => base.id);
const named: ByNameSocket = io("/any");
named.on("hello", (text) => text.length);
