/** What a close code means for the client: see docs/client.md. */
export type Then = "soon" | "later" | "token" | "never"

/** What each close code means, unless Options.closeCodes says something else. */
export const closeCodes: Readonly<Record<number, Then>>

export type Message = string | ArrayBufferLike | ArrayBufferView | Blob

export type State = "connecting" | "open" | "waiting" | "closed"

export interface Options {
  /** Subprotocols that are offered. */
  protocols?: string | string[]
  /**
   * Returns the access token, and is called before each connection. refused tells that the last one was: return another
   * one. undefined connects without a token. If it throws, it is called again later.
   */
  token?: (about: { refused: boolean }) => string | undefined | Promise<string | undefined>
  /** How the token is sent. A ticket, the default, is exchanged for the token before each connection. */
  tokenBy?: "ticket" | "subprotocol" | "query"
  /** Where tickets come from, on the server of the WebSocket: "/ticket". */
  ticket?: string
  /** Returns the message that extends an open connection with another token, before a JWT expires. */
  refresh?: (token: string) => Message
  /** Where to ask why a handshake has failed, on the server of the WebSocket: "/readyz". false asks nobody. */
  readyz?: string | false
  /** Returns the session's id if a message has it. The next connection resumes the session. */
  session?: (data: any) => string | undefined | null | false
  /** The id of a session that the first connection resumes. */
  resume?: string
  /** Milliseconds for a handshake, and for each request: 10,000. */
  timeout?: number
  /**
   * Milliseconds. A wait is floor, or what the server asks for, and a random part of base, which doubles with each
   * attempt up to cap. After a connection of reset, base counts again. Defaults: 100, 1,000, 30,000 and 10,000.
   */
  backoff?: { floor?: number; base?: number; cap?: number; reset?: number }
  /** What is sent while there is no connection. Defaults: 256 messages, 1 MiB, "drop-oldest". */
  buffer?: { messages?: number; bytes?: number; overflow?: "drop-oldest" | "error" }
  /** A message that the application answers. It is sent after a silence of every milliseconds (25,000). */
  heartbeat?: { message: Message; every?: number; within?: number }
  /** Changes what close codes mean. */
  closeCodes?: Record<number, Then>
  /** The class of the sockets, where there is no global one: that of the npm package ws. */
  WebSocket?: new (url: URL, protocols: string[]) => any
}

export interface StateEvent extends Event {
  readonly state: State
  /** Why it is waiting or closed. 4000 and an HTTP status means that the server has refused a request. */
  readonly code?: number
  readonly reason?: string
  /** Milliseconds until the next attempt, if it is waiting. */
  readonly delay?: number
}

export interface EndEvent extends Event {
  readonly code: number
  readonly reason: string
}

export interface ClientEvents {
  open: Event
  message: MessageEvent
  state: StateEvent
  close: EndEvent
}

/** A WebSocket that connects again by itself. */
export class Expedite extends EventTarget {
  constructor(url: string | URL | (() => string | URL | Promise<string | URL>), options?: Options)
  readonly state: State
  /** As of a WebSocket: 0 while it is connecting or waiting, 1 while it is open, 3 when it is closed. */
  readonly readyState: 0 | 1 | 3
  readonly url: string
  readonly protocol: string
  /** Bytes that were not sent yet. */
  readonly bufferedAmount: number
  /** How many messages were dropped, because the buffer was full or the connection had ended. */
  readonly dropped: number
  /** The id of the session, which the next connection resumes. */
  session?: string
  /** How binary messages arrive: "arraybuffer" (the default) or "blob". Set it before the connection opens. */
  binaryType: BinaryType
  onopen?: (this: Expedite, event: Event) => void
  onmessage?: (this: Expedite, event: MessageEvent) => void
  onstate?: (this: Expedite, event: StateEvent) => void
  /** The connection has ended for good. */
  onclose?: (this: Expedite, event: EndEvent) => void
  /** Sends a message. Without a connection it is kept until there is one. */
  send(data: Message): void
  /** Closes the connection for good. */
  close(code?: number, reason?: string): void
  addEventListener<K extends keyof ClientEvents>(
    type: K, listener: (this: Expedite, event: ClientEvents[K]) => void, options?: boolean | AddEventListenerOptions,
  ): void
  addEventListener(
    type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions,
  ): void
  removeEventListener<K extends keyof ClientEvents>(
    type: K, listener: (this: Expedite, event: ClientEvents[K]) => void, options?: boolean | EventListenerOptions,
  ): void
  removeEventListener(
    type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions,
  ): void
}
