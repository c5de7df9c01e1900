/** A QMP connection: the greeting, calls that run beside each other, events. */

import { parseJson, printJson } from './json.js';
import { connectSocket, describeAddress, timers } from './transport.js';
import type { Address, Transport } from './transport.js';

/** What any failure of a client is, but for aborted and timed out calls. */
export class ClientError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** The server refused a command, or it failed. */
export class CommandError extends ClientError {
  constructor(
    readonly command: string,
    /** The error's class, GenericError most of the time. */
    readonly errorClass: string,
    /** The server's text. */
    readonly desc: string,
    /** What some classes add. */
    readonly data: unknown,
  ) {
    super(`${command}: ${desc} (${errorClass})`);
  }
}

/** There is no server, or it doesn't greet as QMP servers do. */
export class ConnectionFailed extends ClientError {}

/** The connection has ended. Whether a command without an answer was carried out is unknown. */
export class ConnectionLost extends ClientError {}

/** What the server sent is not what the protocol says. */
export class ProtocolError extends ClientError {}

/** Nobody read this stream for so long that events had to be dropped. Ask for the state anew. */
export class EventsLost extends ClientError {}

/** A call, or a wait for an event, took longer than its `timeoutMs`. */
export class TimedOut extends ClientError {}

/** The part of the standard AbortSignal that is used. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

export interface WaitOptions {
  /** Rejects with its reason when it is aborted. */
  signal?: Signal | undefined;
  /** Rejects with TimedOut after so long. */
  timeoutMs?: number | undefined;
}

/** A call that is aborted or times out is forgotten here; the server still carries it out. */
export type CallOptions = WaitOptions;

export interface OobCallOptions extends CallOptions {
  /** Run it at once, before what other calls wait for. The server has to have the capability. */
  oob?: boolean | undefined;
}

export interface ConnectOptions {
  /** Bounds connecting and negotiating together; 10000 by default. */
  timeoutMs?: number | undefined;
  /**
   * If false, neither a greeting is awaited nor capabilities are set: for servers that have none,
   * such as QEMU's guest agent.
   */
  negotiate?: boolean | undefined;
}

/** How the server introduced itself. */
export interface Greeting {
  /** The version of QEMU that it behaves like. */
  version: { major: number; minor: number; micro: number };
  /** What it says about its build. */
  package: string;
  /** What may be switched on, `oob` for instance. */
  capabilities: string[];
}

/** When something happened by the server's clock, since 1970; both are -1 if it doesn't know. */
export interface Timestamp {
  seconds: number;
  microseconds: number;
}

/** An event with its name and data, as it stands in QMP. */
export interface EventMessage<Name, Data> {
  event: Name;
  data: Data;
  timestamp: Timestamp;
}

/** An event that may be one that this client doesn't know: a newer server's. */
export type UnknownEvent = EventMessage<string, unknown>;

/** The event of this name; of several names, any of them: tell them apart by `event`. */
export type EventOf<Events, Name extends keyof Events> = Name extends keyof Events
  ? EventMessage<Name, Events[Name]>
  : never;

export interface StreamOptions<Event> {
  /** Chooses further. */
  where?: ((event: Event) => boolean) | undefined;
  /** More events than this that nobody reads end the stream with EventsLost; 10000 by default. */
  limit?: number | undefined;
}

const DEFAULT_LIMIT = 10_000;

/**
 * Events as they come, from the moment it was made. Iterate with `for await`, or take one by
 * `get`. Both throw ConnectionLost when the server is gone; the iteration just ends after `close` here
 * or on the client.
 */
export class EventStream<Event> implements AsyncIterable<Event> {
  private readonly waiting: Event[] = [];
  private readonly readers: { resolve: () => void }[] = [];
  private ended = false;
  private failure: unknown;

  /** For the class's own use: a stream is made by `events`. */
  constructor(
    private readonly options: StreamOptions<Event>,
    private readonly forget: (stream: EventStream<Event>) => void,
  ) {}

  /** Stops listening. What came before can still be read. */
  close(): void {
    this.finish(undefined);
  }

  /** The next event. Rejects with ConnectionLost after `close`. */
  async get(options: WaitOptions = {}): Promise<Event> {
    const event = await this.take(options);
    if (!event) throw new ConnectionLost('this stream of events was closed');
    return event.value;
  }

  [Symbol.asyncIterator](): AsyncIterator<Event> {
    return {
      next: async (): Promise<IteratorResult<Event>> => {
        const event = await this.take({});
        return event ? { value: event.value } : { value: undefined, done: true };
      },
      return: async (): Promise<IteratorResult<Event>> => {
        this.close();
        return { value: undefined, done: true };
      },
    };
  }

  /** Undefined: closed here. Boxed, so that any value can be an event. */
  private async take(options: WaitOptions): Promise<{ value: Event } | undefined> {
    while (this.waiting.length === 0) {
      if (this.ended) {
        if (this.failure !== undefined) throw this.failure;
        return undefined;
      }
      let reader = { resolve: (): void => {} };
      const woken = new Promise<void>((resolve) => {
        reader = { resolve };
      });
      this.readers.push(reader);
      try {
        await bounded(woken, options, 'no event');
      } finally {
        const index = this.readers.indexOf(reader);
        if (index >= 0) this.readers.splice(index, 1);
      }
    }
    return { value: this.waiting.shift() as Event };
  }

  /** For the client. */
  offer(event: Event): void {
    if (this.ended) return;
    try {
      if (this.options.where && !this.options.where(event)) return;
    } catch (error) {
      this.finish(error); // the filter's own failure is its reader's business
      return;
    }
    const limit = this.options.limit ?? DEFAULT_LIMIT;
    if (this.waiting.length >= limit) {
      this.finish(new EventsLost(`more than ${limit} events wait to be read`));
      return;
    }
    this.waiting.push(event);
    this.readers.shift()?.resolve();
  }

  /** For the client. */
  finish(failure: unknown): void {
    if (this.ended) return;
    this.ended = true;
    this.failure = failure;
    this.forget(this);
    for (const reader of this.readers.splice(0)) reader.resolve();
  }
}

/** Waits, but not longer than `options` say. */
function bounded<T>(promise: Promise<T>, options: WaitOptions, what: string): Promise<T> {
  const { signal, timeoutMs } = options;
  if (!signal && timeoutMs === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const done = (): void => {
      signal?.removeEventListener('abort', abort);
      if (timer !== undefined) timers.clearTimeout(timer);
    };
    const fail = (error: unknown): void => {
      done();
      reject(error);
    };
    const abort = (): void => fail(signal?.reason ?? new ClientError(`${what}: aborted`));
    const timer =
      timeoutMs === undefined
        ? undefined
        : timers.setTimeout(() => fail(new TimedOut(`${what} within ${timeoutMs} ms`)), timeoutMs);
    signal?.addEventListener('abort', abort);
    promise.then((value) => {
      done();
      resolve(value);
    }, fail);
    if (signal?.aborted) abort();
  });
}

interface Decoder {
  decode(bytes: Uint8Array): string;
}
const { TextDecoder } = globalThis as unknown as {
  TextDecoder: new (label: string, options: { fatal: boolean }) => Decoder;
};

const NEWLINE = 0x0a;
const CLOSING_BRACE = 0x7d;
const MAX_MESSAGE_BYTES = 0x1fffffe8; // as long as V8's strings get

/**
 * Cuts what is received into messages. A message is a line, or with `pretty=on` the lines from one
 * that is '{' alone to one that begins with '}'.
 */
class Framer {
  private readonly decoder = new TextDecoder('utf-8', { fatal: true });
  private parts: Uint8Array[] = [];
  private size = 0;
  private lines = 0; // whole ones, of the message that is not whole
  private lineStart = -1; // the first byte of the last line, if it has one

  *feed(chunk: Uint8Array): Generator<string> {
    let from = 0;
    while (from < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, from);
      const end = newline < 0 ? chunk.length : newline + 1;
      if (this.lineStart < 0) this.lineStart = chunk[from] ?? -1;
      this.parts.push(chunk.subarray(from, end));
      this.size += end - from;
      from = end;
      if (this.size > MAX_MESSAGE_BYTES) {
        throw new ProtocolError(`a message has more than ${MAX_MESSAGE_BYTES} bytes`);
      }
      if (newline < 0) return;
      const text = this.isWhole() ? this.take() : '';
      this.lineStart = -1;
      if (text.trim() !== '') yield text;
    }
  }

  private isWhole(): boolean {
    this.lines += 1;
    if (this.lines > 1) return this.lineStart === CLOSING_BRACE;
    return this.size > 8 || this.text().trim() !== '{';
  }

  private take(): string {
    const text = this.text();
    this.parts = [];
    this.size = 0;
    this.lines = 0;
    return text;
  }

  private text(): string {
    const only = this.parts.length === 1 ? this.parts[0] : undefined;
    let whole = only;
    if (!whole) {
      whole = new Uint8Array(this.size);
      let at = 0;
      for (const part of this.parts) {
        whole.set(part, at);
        at += part.length;
      }
    }
    try {
      return this.decoder.decode(whole);
    } catch {
      throw new ProtocolError('a message is no UTF-8');
    }
  }
}

interface Call {
  command: string;
  inBand: boolean;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

type Message = { readonly [name: string]: unknown };

function isObject(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What the generated Client stands on: connecting, closing, `execute`, events. */
export class BaseClient<Events> {
  private readonly calls = new Map<number, Call>();
  private readonly listeners = new Map<string, Set<(event: UnknownEvent) => void>>();
  private readonly anyListeners = new Set<(event: UnknownEvent) => void>();
  private readonly streams = new Set<{ finish(failure: unknown): void }>();
  private readonly framer = new Framer();
  private lastId = 0;
  private oob = false;
  private failure: ClientError | undefined;
  private closedHere = false;
  private introduction: Greeting | undefined;
  private greeted: (greeting: Greeting) => void = () => {};
  private notGreeted: (error: Error) => void = () => {};
  private readonly greetingCame: Promise<Greeting>;
  private nowClosed: () => void = () => {};

  /** Resolves when the connection has ended, from here or by the server. */
  readonly closed: Promise<void>;

  /** For the class's own use: a client is made by `connect` or `over`. */
  constructor(private readonly transport: Transport) {
    this.closed = new Promise((resolve) => {
      this.nowClosed = resolve;
    });
    this.greetingCame = new Promise((resolve, reject) => {
      this.greeted = resolve;
      this.notGreeted = reject;
    });
    this.greetingCame.catch(() => {});
    transport.start({
      data: (chunk) => this.receive(chunk),
      end: (error) => {
        this.finish(
          new ConnectionLost(
            error ? `the connection broke: ${error.message}` : 'the server closed the connection',
          ),
        );
        this.nowClosed();
      },
    });
  }

  /** Connects to a unix socket or a TCP port. Rejects with ConnectionFailed. */
  static async connect<C extends BaseClient<any>>(
    this: new (transport: Transport) => C,
    address: Address,
    options: ConnectOptions = {},
  ): Promise<C> {
    const attempt = connectSocket(address);
    const where = describeAddress(address);
    const timeoutMs = options.timeoutMs ?? 10_000;
    const began = Date.now();
    let transport: Transport;
    try {
      transport = await bounded(attempt.transport, { timeoutMs }, 'it takes no connection');
    } catch (error) {
      attempt.cancel();
      attempt.transport.then((late) => late.close()).catch(() => {});
      throw failed(where, error);
    }
    const client = new this(transport);
    await client.open(where, { ...options, timeoutMs: timeoutMs - (Date.now() - began) });
    return client;
  }

  /** Talks over a transport of your own, which is connected. The client closes it. */
  static async over<C extends BaseClient<any>>(
    this: new (transport: Transport) => C,
    transport: Transport,
    options: ConnectOptions = {},
  ): Promise<C> {
    const client = new this(transport);
    await client.open('the given transport', options);
    return client;
  }

  /** For the class's own use. */
  async open(where: string, options: ConnectOptions): Promise<void> {
    if (options.negotiate === false) return;
    const wait = { timeoutMs: options.timeoutMs ?? 10_000 };
    try {
      await bounded(this.negotiate(), wait, 'no greeting');
    } catch (error) {
      this.close();
      throw failed(where, error);
    }
  }

  private async negotiate(): Promise<void> {
    const greeting = await this.greetingCame;
    this.oob = greeting.capabilities.includes('oob');
    await this.execute('qmp_capabilities', this.oob ? { enable: ['oob'] } : {});
  }

  /** How the server introduced itself; undefined if it was not asked to (`negotiate`). */
  get greeting(): Greeting | undefined {
    return this.introduction;
  }

  /** Whether calls are possible, as far as is known here. */
  get isOpen(): boolean {
    return this.failure === undefined;
  }

  /**
   * Ends the connection. Calls without an answer are rejected with ConnectionLost, streams of events
   * end. What was sent is sent before, if the server reads it within a second. Resolves when it is
   * done; may be called again.
   */
  close(): Promise<void> {
    if (!this.failure) this.closedHere = true;
    this.finish(new ConnectionLost('the client was closed'));
    return this.closed;
  }

  /**
   * Runs any command, whether the schema has it or not. Resolves to what it returns. Arguments are
   * named as in QMP.
   */
  execute(command: string, args: object = {}, options: OobCallOptions = {}): Promise<unknown> {
    const reply = new Promise<unknown>((resolve, reject) => {
      if (this.failure) throw new ConnectionLost(`${command}: ${this.failure.message}`);
      if (options.signal?.aborted) return; // `bounded` rejects; nothing is sent
      if (options.oob && !this.oob) {
        throw new ClientError(`${command} can't run out of band: the server doesn't offer 'oob'`);
      }
      const id = this.lastId + 1;
      const message: { [name: string]: unknown } = { [options.oob ? 'exec-oob' : 'execute']: command };
      if (Object.values(args).some((value) => value !== undefined)) message['arguments'] = args;
      message['id'] = id;
      // Whatever can't be sent fails here, before anything is.
      const text = `${printJson(message)}\n`;
      this.lastId = id;
      this.calls.set(id, { command, inBand: !options.oob, resolve, reject });
      this.transport.send(text);
    });
    return bounded(reply, options, `${command}: no answer`);
  }

  /** For commands that answer errors only: resolves when the server has had time for one. */
  protected async executeWithoutReply(
    command: string,
    args: object = {},
    options: CallOptions = {},
  ): Promise<void> {
    const id = this.lastId + 1;
    try {
      await this.execute(command, args, { ...options, timeoutMs: options.timeoutMs ?? 1000 });
    } catch (error) {
      if (!(error instanceof TimedOut) && !(error instanceof ConnectionLost && this.lastId === id)) {
        throw error;
      }
    } finally {
      this.calls.delete(id);
    }
  }

  /** Calls `listener` for each event of this name from now on. Returns what ends that. */
  on<Name extends keyof Events & string>(
    name: Name,
    listener: (event: EventOf<Events, Name>) => void,
  ): () => void {
    const typed = listener as (event: UnknownEvent) => void;
    let set = this.listeners.get(name);
    if (!set) this.listeners.set(name, (set = new Set()));
    set.add(typed);
    return () => this.off(name, listener);
  }

  /** Undoes `on`. */
  off<Name extends keyof Events & string>(
    name: Name,
    listener: (event: EventOf<Events, Name>) => void,
  ): void {
    this.listeners.get(name)?.delete(listener as (event: UnknownEvent) => void);
  }

  /** Calls `listener` for each event, those too that the schema doesn't have. */
  onAny(listener: (event: UnknownEvent) => void): () => void {
    this.anyListeners.add(listener);
    return () => {
      this.anyListeners.delete(listener);
    };
  }

  /**
   * The next event of this name from now on. Start to wait before you send the command whose event
   * it is.
   */
  async once<Name extends keyof Events & string>(
    name: Name,
    options: WaitOptions & StreamOptions<EventOf<Events, Name>> = {},
  ): Promise<EventOf<Events, Name>> {
    const stream = this.events(name, options);
    try {
      return await stream.get(options);
    } finally {
      stream.close();
    }
  }

  /** The events of these names that come from now on. Leaving a `for await` closes the stream. */
  events<Name extends keyof Events & string>(
    names: Name | readonly Name[],
    options: StreamOptions<EventOf<Events, Name>> = {},
  ): EventStream<EventOf<Events, Name>> {
    const list: readonly Name[] = typeof names === 'string' ? [names] : names;
    const ends: (() => void)[] = [];
    const stream = new EventStream<EventOf<Events, Name>>(options, (ended) => {
      for (const end of ends) end();
      this.streams.delete(ended);
    });
    if (this.failure) {
      stream.finish(this.streamEnd(this.failure));
      return stream;
    }
    const offer = (event: unknown): void => stream.offer(event as EventOf<Events, Name>);
    for (const name of list) ends.push(this.on(name, offer));
    this.streams.add(stream);
    return stream;
  }

  private streamEnd(failure: ClientError): ClientError | undefined {
    return this.closedHere ? undefined : failure;
  }

  private receive(chunk: Uint8Array): void {
    if (this.failure) return;
    try {
      for (const text of this.framer.feed(chunk)) {
        this.take(parse(text));
        if (this.failure) return;
      }
    } catch (error) {
      this.finish(error instanceof ClientError ? error : new ProtocolError(String(error)));
    }
  }

  private finish(failure: ClientError): void {
    if (this.failure) return;
    this.failure = failure;
    const calls = [...this.calls.values()];
    this.calls.clear();
    for (const call of calls) {
      const text = `${call.command}: ${failure.message}`;
      call.reject(failure instanceof ProtocolError ? new ProtocolError(text) : new ConnectionLost(text));
    }
    for (const stream of [...this.streams]) stream.finish(this.streamEnd(failure));
    this.notGreeted(failure);
    this.transport.close();
  }

  private take(message: Message): void {
    if ('event' in message) {
      this.takeEvent(message);
    } else if ('return' in message || 'error' in message) {
      this.takeReply(message);
    } else if (isObject(message['QMP'])) {
      this.introduction = greetingOf(message['QMP']);
      this.greeted(this.introduction);
    }
  }

  private takeReply(message: Message): void {
    let id = message['id'];
    if (id === undefined) {
      // What the server couldn't read has no id. It answers in order.
      for (const [number, call] of this.calls) {
        if (call.inBand) {
          id = number;
          break;
        }
      }
    }
    const call = typeof id === 'number' ? this.calls.get(id) : undefined;
    if (!call) return;
    this.calls.delete(id as number);
    if ('error' in message) {
      const error = isObject(message['error']) ? message['error'] : {};
      call.reject(
        new CommandError(
          call.command,
          String(error['class'] ?? 'GenericError'),
          String(error['desc'] ?? ''),
          error['data'],
        ),
      );
    } else {
      call.resolve(message['return']);
    }
  }

  private takeEvent(message: Message): void {
    const stamp = isObject(message['timestamp']) ? message['timestamp'] : {};
    const event: UnknownEvent = {
      event: String(message['event']),
      data: message['data'],
      timestamp: {
        seconds: Number(stamp['seconds'] ?? -1),
        microseconds: Number(stamp['microseconds'] ?? -1),
      },
    };
    for (const listener of [...(this.listeners.get(event.event) ?? []), ...this.anyListeners]) {
      try {
        listener(event);
      } catch (error) {
        // The host's business, as with any listener; not that of the other listeners.
        void Promise.reject(error);
      }
    }
  }
}

function parse(text: string): Message {
  let message: unknown;
  try {
    message = parseJson(text);
  } catch (error) {
    throw new ProtocolError(`this is no JSON: ${text.slice(0, 80)}: ${String(error)}`);
  }
  if (!isObject(message)) throw new ProtocolError(`this is no message: ${text.slice(0, 80)}`);
  return message;
}

function greetingOf(message: Message): Greeting {
  const version = isObject(message['version']) ? message['version'] : {};
  const qemu = isObject(version['qemu']) ? version['qemu'] : {};
  const capabilities = message['capabilities'];
  return {
    version: {
      major: Number(qemu['major'] ?? 0),
      minor: Number(qemu['minor'] ?? 0),
      micro: Number(qemu['micro'] ?? 0),
    },
    package: String(version['package'] ?? ''),
    capabilities: Array.isArray(capabilities) ? capabilities.map(String) : [],
  };
}

function failed(where: string, error: unknown): unknown {
  if (error instanceof TimedOut) {
    return new ConnectionFailed(`${where}: ${error.message}; is it busy with another client?`);
  }
  return new ConnectionFailed(`${where}: ${error instanceof Error ? error.message : String(error)}`);
}
