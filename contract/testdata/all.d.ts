// Written by Sockeye's contract from the server's handlers. Do not edit.
// See https://socket.io/docs/v4/typescript/ for how a page uses it.

/** What a handler answers that returns an error. */
export interface AckError {
  error: string;
  data?: unknown;
}

/** What may be sent as binary. What is received is an ArrayBuffer, or in Node.js a Buffer. */
export type Binary = ArrayBuffer | ArrayBufferView | Blob;

export interface Base {
  both: number;
  id: string;
  shadow: number;
}

export type ByName = { [key: string]: Node };

export interface Embeds {
  id: string;
  named: Base;
  shadow: string;
}

export interface File {
  data: string;
  name: string;
}

export interface FileInput {
  data: string | Binary;
  name: string;
}

export type Forest = Forest[];

export interface Function {
  Args: [number, number];
}

export interface Node {
  by: ByName;
  deep: Forest;
  kids?: Node[];
  next: Node | null;
  value: number;
}

export interface Options {
  Default: number;
  any: unknown;
  "odd-name": boolean;
  pointer?: number;
  quoted: string;
  struct: Base;
  text?: string;
  zero?: string;
}

export interface PageBase {
  Items: Base[];
}

export interface PageInt {
  Items: number[];
}

export interface PageNode {
  Items: Node[];
}

export interface PairStringMapStringPageInt {
  Key: string;
  Value: { [key: string]: PageInt };
}

export type Phase = "\"quoted\"" | "over" | "playing" | "waiting";

export interface Socket_ {
  Fd: number;
}

export type Tree = { [key: string]: Tree };

/** What the server sends in the namespace /. */
export interface ServerToClientEvents {
  "*/\n${x}`\\": () => void;
  ask: (arg1: string, ack: (answer: number) => void) => void;
  ask2: (arg1: string, ack: (answer1: number, answer2: Binary) => void) => void;
  binary: (arg1: ArrayBuffer, arg2: ArrayBuffer[], arg3: { [key: string]: ArrayBuffer }, file: File) => void;
  generic: (arg1: PageNode, arg2: PageBase, arg3: PairStringMapStringPageInt) => void;
  "it's \"quoted\"\u2028": () => void;
  lists: (arg1: string[], arg2: (string | null)[], arg3: Phase[], arg4: { [key: string]: number }, arg5: { [key: string]: Base | null }, arg6: [boolean, boolean], arg7: number[], arg8: number[][]) => void;
  names: (function_: Function, socket2: Socket_, socket3: Socket_) => void;
  numbers: (arg1: number, arg2: number, arg3: number, arg4: boolean, duration: number, arg6: number | null, arg7: unknown) => void;
  "own forms": (time: string, number: number, rawMessage: unknown, int4: number, int5: number | null, addr: string, own: string) => void;
  recursive: (node1: Node, node2: Node | null, arg3: Node[], tree: Tree) => void;
  rest: (arg1: string, ...rest: Phase[]) => void;
  structs: (embeds: Embeds, options: Options, arg3: {
    A: number;
  }, arg4: Record<string, never>) => void;
  texts: (phase: Phase, plain: string, reason: string) => void;
  "there?": (ack: () => void) => void;
}

/** What the server takes in the namespace /. */
export interface ClientToServerEvents {
  argument: (argument: unknown, node: Node, ack?: () => void) => void;
  divide: (arg1: number, arg2: number, ack: (answer: number | AckError) => void) => void;
  fails: (arg1: string, ack?: (error?: AckError) => void) => void;
  many: (arg1: string, ...rest: number[]) => void;
  "many, asked": (...args: [...rest: number[], ack: (answer: number) => void]) => void;
  none: (ack?: () => void) => void;
  optional: (arg1: string, arg2?: number | null, phase?: Phase | null, ack?: () => void) => void;
  "optional, asked": (arg1: number | null, ack: (answer: number) => void) => void;
  own: (own: string, ack?: () => void) => void;
  raw: (phase: Phase, ack: (answer: boolean | AckError) => void) => void;
  sum: (arg1: number, arg2: number, ack: (answer: number) => void) => void;
  two: (ack: (answer1: number, answer2: string) => void) => void;
  "two or fails": (ack: (...answer: [answer1: number, answer2: ArrayBuffer] | [error: AckError]) => void) => void;
  upload: (file: FileInput, arg2: Binary, reader: Binary, ack: (answer: File) => void) => void;
}

/** A socket of the namespace /. */
export type Socket = import("socket.io-client").Socket<ServerToClientEvents, ClientToServerEvents>;

/** What the server sends in the namespace /admin/users. */
export interface AdminUsersServerToClientEvents {}

/** What the server takes in the namespace /admin/users. */
export interface AdminUsersClientToServerEvents {
  list: (ack: (answer: Base[]) => void) => void;
}

/** A socket of the namespace /admin/users. */
export type AdminUsersSocket = import("socket.io-client").Socket<AdminUsersServerToClientEvents, AdminUsersClientToServerEvents>;

/** What the server sends in the namespace /quiet. */
export interface QuietServerToClientEvents {
  base: (base: Base) => void;
}

/** What the server takes in the namespace /quiet. */
export interface QuietClientToServerEvents {}

/** A socket of the namespace /quiet. */
export type QuietSocket = import("socket.io-client").Socket<QuietServerToClientEvents, QuietClientToServerEvents>;

/** What the server sends in the namespaces like /game-[a-z0-9]+. */
export interface GameServerToClientEvents {}

/** What the server takes in the namespaces like /game-[a-z0-9]+. */
export interface GameClientToServerEvents {
  move: (arg1: number, arg2: number, ack?: (error?: AckError) => void) => void;
}

/** A socket of the namespaces like /game-[a-z0-9]+. */
export type GameSocket = import("socket.io-client").Socket<GameServerToClientEvents, GameClientToServerEvents>;

/** What the server sends in the namespaces like by name. */
export interface ByNameServerToClientEvents {
  hello: (arg1: string) => void;
}

/** What the server takes in the namespaces like by name. */
export interface ByNameClientToServerEvents {}

/** A socket of the namespaces like by name. */
export type ByNameSocket = import("socket.io-client").Socket<ByNameServerToClientEvents, ByNameClientToServerEvents>;
