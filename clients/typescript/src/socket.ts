/** One connection of the live socket, as frames that are waited for. */

import { SocketLost } from "./core/incoming.js";
import { pause } from "./timing.js";

/** An open connection. Frames that arrive while nobody waits are kept. */
export class LiveSocket {
  readonly #frames: string[] = [];
  #isLost = false;
  #wake: () => void = () => {};

  private constructor(private readonly connection: WebSocket) {
    connection.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === "string") this.#frames.push(data);
      this.#wake();
    };
    connection.onclose = connection.onerror = () => {
      this.#isLost = true;
      this.#wake();
    };
  }

  /**
   * Open a socket within so many seconds; undefined if that fails.
   *
   * @throws the signal's reason, if it is aborted.
   */
  static async open(
    make: () => WebSocket,
    seconds: number,
    signal: AbortSignal | undefined,
  ): Promise<LiveSocket | undefined> {
    let connection: WebSocket;
    try {
      connection = make();
    } catch {
      return undefined; // for example, a page with a Content-Security-Policy that forbids it
    }
    const socket = new LiveSocket(connection);
    connection.onopen = () => socket.#wake();
    try {
      await socket.#woken(seconds, signal);
    } finally {
      if (!socket.#isOpen()) socket.close();
    }
    return socket.#isOpen() ? socket : undefined;
  }

  /**
   * The next frame; undefined if none comes within so many seconds.
   *
   * @throws SocketLost the connection has ended, and all its frames were returned.
   */
  async receive(seconds: number, signal: AbortSignal | undefined): Promise<string | undefined> {
    if (!this.#frames.length && !this.#isLost) await this.#woken(seconds, signal);
    if (!this.#frames.length && this.#isLost) throw new SocketLost("closed");
    return this.#frames.shift();
  }

  /** @throws SocketLost the connection has ended. */
  send(message: object): void {
    if (!this.#isOpen()) throw new SocketLost("closed");
    this.connection.send(JSON.stringify(message));
  }

  close(): void {
    this.connection.close();
  }

  #isOpen(): boolean {
    return this.connection.readyState === 1; // OPEN
  }

  /** Resolve at the next event of the connection, or after so many seconds. */
  async #woken(seconds: number, signal: AbortSignal | undefined): Promise<void> {
    const waiting = new AbortController();
    const stop = () => waiting.abort(signal!.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", stop, { once: true });
    const event = new Promise<void>((resolve) => (this.#wake = resolve));
    const time = pause(seconds, waiting.signal);
    try {
      await Promise.race([event, time]);
    } finally {
      signal?.removeEventListener("abort", stop);
      time.catch(() => {});
      waiting.abort();
    }
  }
}
