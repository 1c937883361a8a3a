import { io } from "socket.io-client";
import type { AdminUsersSocket, GameSocket, QuietSocket, Socket } from "./contract";

const s: Socket = io();
s.emit("unknown"); // wrong
s.emit("sum", 1); // wrong
s.emit("sum", 1, "2", () => {}); // wrong
s.emit("sum", 1, 2, (n: string) => {}); // wrong
s.emit("sum", 1, 2); // wrong
s.emit("raw", "elsewhere", () => {}); // wrong
s.emit("upload", { name: "x" }, new ArrayBuffer(1), new ArrayBuffer(1), () => {}); // wrong
s.emit("fails"); // wrong
s.emit("many", 1); // wrong
s.on("never", () => {}); // wrong
s.on("texts", (phase: "waiting") => {}); // wrong
s.on("ask", (question, ack) => ack("text")); // wrong
s.on("ask", (question, ack) => ack()); // wrong
const text: string = await s.emitWithAck("sum", 1, 2); // wrong
const n: number = await s.emitWithAck("divide", 1, 2); // wrong
await s.emitWithAck("sum", 1); // wrong
const game: GameSocket = io("/game-7");
game.emit("move", 1); // wrong
const admin: AdminUsersSocket = io("/admin/users");
admin.on("anything", () => {}); // wrong
const quiet: QuietSocket = io("/quiet");
quiet.emit("base", { both: 1, id: "", shadow: 1 }); // wrong
