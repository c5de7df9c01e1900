/**
 * What carries a connection's bytes. Node's sockets are here; anything else (a WebSocket, an SSH
 * channel, a test) is a Transport of your own, for `Client.over`.
 */

/** Whom a transport tells what happens. */
export interface Receiver {
  /** Bytes came. Messages may be cut anywhere. */
  data(chunk: Uint8Array): void;
  /** Nothing will come any more: the peer has closed, or `error` happened. */
  end(error?: Error): void;
}

export interface Transport {
  /** Called once, before all else. */
  start(receiver: Receiver): void;
  /** Sends a text as UTF-8, in the order of the calls. Keeps it until it can be sent. */
  send(text: string): void;
  /**
   * Sends what is kept, as far as the peer takes it soon, and ends the connection; then tells the
   * receiver its end. May be called again.
   */
  close(): void;
}

/** A unix socket's path, alone or as a member; or a TCP port. */
export type Address = string | { path: string } | { host: string; port: number };

export function describeAddress(address: Address): string {
  if (typeof address === 'string') return address;
  return 'path' in address ? address.path : `${address.host}:${address.port}`;
}

/** The part of node:net that is used here, so that no package with types is needed. */
interface Socket {
  on(event: 'data', listener: (chunk: Uint8Array) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'connect' | 'end' | 'close', listener: () => void): unknown;
  write(text: string, encoding: 'utf8'): boolean;
  end(): unknown;
  destroy(): unknown;
  setKeepAlive(enable: boolean, delayMs: number): unknown;
}

interface Net {
  connect(options: { path: string } | { host: string; port: number }): Socket;
}

interface Timers {
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** The timers that every JavaScript host has. */
export const timers = globalThis as unknown as Timers;

const CLOSE_MS = 1000;
const KEEP_ALIVE_MS = 60_000;

/** How to stop an attempt to connect: `cancelled` is called if it is stopped. */
export interface Attempt {
  readonly transport: Promise<Transport>;
  cancel(): void;
}

/** Begins to connect by Node's sockets. */
export function connectSocket(address: Address): Attempt {
  let socket: Socket | undefined;
  let cancelled = false;
  const connecting = async (): Promise<Transport> => {
    // Not a literal, so that a bundler for browsers leaves it alone.
    const name: string = 'node:net';
    const net = (await import(name)) as Net;
    const made = net.connect(typeof address === 'string' ? { path: address } : address);
    socket = made;
    if (cancelled) made.destroy();
    await new Promise<void>((resolve, reject) => {
      made.on('connect', resolve);
      made.on('error', reject);
      made.on('close', () => reject(new Error('the attempt was cancelled')));
    });
    if (typeof address !== 'string' && 'host' in address) made.setKeepAlive(true, KEEP_ALIVE_MS);
    return new SocketTransport(made);
  };
  return {
    transport: connecting(),
    cancel: () => {
      cancelled = true;
      socket?.destroy();
    },
  };
}

class SocketTransport implements Transport {
  private closing = false;

  constructor(private readonly socket: Socket) {}

  start(receiver: Receiver): void {
    this.socket.on('data', (chunk) => receiver.data(chunk));
    this.socket.on('error', (error) => receiver.end(error));
    this.socket.on('end', () => receiver.end());
    this.socket.on('close', () => receiver.end());
  }

  send(text: string): void {
    this.socket.write(text, 'utf8');
  }

  close(): void {
    if (this.closing) return;
    this.closing = true;
    const timer = timers.setTimeout(() => this.socket.destroy(), CLOSE_MS);
    this.socket.on('close', () => timers.clearTimeout(timer));
    this.socket.end();
  }
}
