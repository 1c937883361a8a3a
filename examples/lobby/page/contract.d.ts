// Written by Sockeye's contract from the server's handlers. Do not edit.
// See https://socket.io/docs/v4/typescript/ for how a page uses it.

/** What a handler answers that returns an error. */
export interface AckError {
  error: string;
  data?: unknown;
}

/** What may be sent as binary. What is received is an ArrayBuffer, or in Node.js a Buffer. */
export type Binary = ArrayBuffer | ArrayBufferView | Blob;

export interface Listing {
  name: string;
  phase: Phase;
  players: number;
  title: string;
}

export type Mark = "" | "o" | "x";

export type Phase = "over" | "playing" | "waiting";

export interface Remark {
  by: string;
  text: string;
}

export interface Seat {
  mark: Mark;
  name?: string;
}

export interface State {
  board: Mark[];
  phase: Phase;
  seats: [Seat, Seat];
  title: string;
  turn: Mark;
  watches: number;
  winner: Mark | null;
}

/** What the server sends in the namespace /. */
export interface ServerToClientEvents {
  games: (arg1: Listing[]) => void;
}

/** What the server takes in the namespace /. */
export interface ClientToServerEvents {
  create: (arg1: string, ack: (answer: string | AckError) => void) => void;
}

/** A socket of the namespace /. */
export type Socket = import("socket.io-client").Socket<ServerToClientEvents, ClientToServerEvents>;

/** What the server sends in the namespaces like /game-[a-z0-9]+. */
export interface GameServerToClientEvents {
  "again?": (arg1: string, ack: (answer: boolean) => void) => void;
  said: (remark: Remark) => void;
  state: (state: State) => void;
}

/** What the server takes in the namespaces like /game-[a-z0-9]+. */
export interface GameClientToServerEvents {
  again: (ack: (answer: boolean | AckError) => void) => void;
  move: (arg1: number, ack?: (error?: AckError) => void) => void;
  say: (arg1: string, ack?: (error?: AckError) => void) => void;
  sit: (ack: (answer: Mark | AckError) => void) => void;
}

/** A socket of the namespaces like /game-[a-z0-9]+. */
export type GameSocket = import("socket.io-client").Socket<GameServerToClientEvents, GameClientToServerEvents>;
