// The TypeScript client against servers that say what the test tells them to, and against a live
// firnd. typescript_client_test.py compiles and runs this: `node FILE scripted` runs all cases and
// prints a line of JSON for each, `node FILE CASE ARGUMENT...` runs one case against firnd.

import {
  Client,
  ClientError,
  CommandError,
  ConnectionFailed,
  ConnectionLost,
  EventsLost,
  ProtocolError,
  TimedOut,
} from 'firn-client';
import type { BlockdevOptions, Receiver, SocketAddress, Transport } from 'firn-client';

declare const process: {
  argv: string[];
  exit(status: number): never;
  stdin: { once(event: 'data', listener: () => void): void; unref(): void };
};
declare const console: { log(text: string): void };
declare function setTimeout(callback: () => void, ms: number): unknown;
declare class AbortController {
  readonly signal: {
    readonly aborted: boolean;
    readonly reason?: unknown;
    addEventListener(type: 'abort', listener: () => void): void;
    removeEventListener(type: 'abort', listener: () => void): void;
  };
  abort(reason?: unknown): void;
}
declare class TextEncoder {
  encode(text: string): Uint8Array;
}

type Class<T> = new (...args: never[]) => T;

const scripted = new Map<string, () => Promise<void>>();
const live = new Map<string, (...args: string[]) => Promise<void>>();

function show(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? `${v}n` : v)) ?? 'undefined';
}

function equal(actual: unknown, wanted: unknown): void {
  if (show(actual) !== show(wanted)) throw new Error(`${show(actual)} is not ${show(wanted)}`);
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

async function fails<T extends Error>(
  promise: Promise<unknown>,
  kind: Class<T>,
  text: string | RegExp = '',
): Promise<T> {
  try {
    await promise;
  } catch (error) {
    check(error instanceof kind, `another error: ${String(error)}`);
    check(error.message.search(text) >= 0, `another text: ${error.message}`);
    return error;
  }
  throw new Error(`${kind.name} was expected`);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const GREETING = {
  QMP: {
    version: { qemu: { major: 11, minor: 0, micro: 1 }, package: 'v11' },
    capabilities: ['oob', 'telepathy'],
  },
};

type Message = { [name: string]: any };

/** A server: what the client sends is in `received`, `say` answers. */
class Server implements Transport {
  readonly received: Message[] = [];
  closed = false;
  raw: string[] = [];
  private receiver: Receiver | undefined;

  constructor(private readonly greeting: string | null = `${JSON.stringify(GREETING)}\r\n`) {}

  start(receiver: Receiver): void {
    this.receiver = receiver;
    if (this.greeting !== null) this.sayBytes(new TextEncoder().encode(this.greeting));
  }
  send(text: string): void {
    check(text.endsWith('\n'), 'a message ends its line');
    this.raw.push(text);
    const message = JSON.parse(text) as Message;
    if (message['execute'] === 'qmp_capabilities') {
      this.say({ return: {}, id: message['id'] });
    }
    this.received.push(message);
  }
  close(): void {
    this.closed = true;
    this.end();
  }
  end(error?: Error): void {
    Promise.resolve().then(() => this.receiver?.end(error));
  }
  say(...messages: unknown[]): void {
    for (const message of messages) this.sayText(`${JSON.stringify(message)}\r\n`);
  }
  sayText(text: string): void {
    this.sayBytes(new TextEncoder().encode(text));
  }
  sayBytes(bytes: Uint8Array): void {
    Promise.resolve().then(() => this.receiver?.data(bytes));
  }
  /** The last command that came. */
  get last(): Message {
    return this.received[this.received.length - 1] ?? {};
  }
}

async function connected(): Promise<[Client, Server]> {
  const server = new Server();
  return [await Client.over(server), server];
}

scripted.set('greeting_and_capabilities', async () => {
  const [client, server] = await connected();
  equal(client.greeting, {
    version: { major: 11, minor: 0, micro: 1 },
    package: 'v11',
    capabilities: ['oob', 'telepathy'],
  });
  equal(server.last['arguments'], { enable: ['oob'] });
  check(client.isOpen, 'open');
});

scripted.set('arguments_as_they_are_sent', async () => {
  const [client, server] = await connected();
  void client.blockdevAdd({
    driver: 'qcow2',
    'node-name': 'n',
    backing: null,
    discard: undefined,
    file: { driver: 'file', filename: '/ä"\\\n' },
    'cache-size': 2n ** 63n - 1n,
  });
  equal(server.last['arguments'].backing, null);
  equal(server.last['arguments'].file.filename, '/ä"\\\n');
  check(!('discard' in server.last['arguments']), 'undefined is left out');
  check(server.raw.join('').includes('"cache-size":9223372036854775807'), 'exact');
  void client.queryBlock();
  check(!('arguments' in server.last), 'no arguments');
  await fails(client.execute('x', { a: NaN }), TypeError, 'NaN');
  await fails(client.execute('x', { a: [undefined] }), TypeError);
  equal(server.last['execute'], 'query-block');
});

scripted.set('integers_are_exact', async () => {
  const [client, server] = await connected();
  const answer = client.execute('x');
  server.sayText(
    '{"return": {"id": 18446744073709551615, "n": -9223372036854775808, "m": 9007199254740993, ' +
      '"k": [9007199254740991, 1e3, 12345678901234567890.5, -0.25], "s": "12345678901234567890", ' +
      '"f": 36028797018963968, "__proto__": 1, "w": [true, false, null, {}, []], ' +
      `"u": "\\u00e9\\n"}, "id": ${String(server.last['id'])}}\n`,
  );
  const value = (await answer) as { [name: string]: unknown };
  equal(value['id'], 18446744073709551615n);
  equal(value['n'], -(2 ** 63));
  equal(value['m'], 9007199254740993n);
  equal(value['k'], [9007199254740991, 1000, 12345678901234567890.5, -0.25]);
  equal(value['s'], '12345678901234567890');
  equal(value['f'], 2 ** 55);
  equal(Object.keys(value).includes('__proto__'), true);
  equal(value['w'], [true, false, null, {}, []]);
  equal(value['u'], 'é\n');
  for (const bad of ['[1234567890123456', '[12345678901234567 1]', '{"a" 1234567890123456}',
                     '01234567890123456', '{"1234567890123456": tru}', '"\n1234567890123456"']) {
    const [other, liar] = await connected();
    const call = other.execute('x');
    liar.sayText(`{"return": ${bad}, "id": 2}\n`);
    await fails(call, ProtocolError);
  }
});

scripted.set('errors', async () => {
  const [client, server] = await connected();
  const call = client.blockResize({ size: 1 });
  server.say({ error: { class: 'DeviceNotFound', desc: 'no vda', data: { device: 'vda' } },
               id: server.last['id'] });
  const error = await fails(call, CommandError, 'block_resize: no vda (DeviceNotFound)'.replace(/[()]/g, '.'));
  equal([error.command, error.errorClass, error.desc, error.data, error.name],
        ['block_resize', 'DeviceNotFound', 'no vda', { device: 'vda' }, 'CommandError']);
  check(error instanceof ClientError && error.stack !== undefined, 'a proper error');
});

scripted.set('answers_out_of_order_and_without_an_id', async () => {
  const [client, server] = await connected();
  const first = client.queryVersion();
  const second = client.execute('x');
  const urgent = client.execute('migrate-pause', {}, { oob: true });
  equal(server.received.slice(1).map((m) => [m['execute'], m['exec-oob'], m['id']]),
        [['query-version', undefined, 2], ['x', undefined, 3], [undefined, 'migrate-pause', 4]]);
  server.say({ return: 3, id: 4 });
  equal(await urgent, 3);
  server.say({ error: { class: 'GenericError', desc: 'too long' } });
  await fails(first, CommandError, 'query-version: too long');
  server.say({ return: 0, id: 99 }, { return: 0, id: [3] }, { surprise: 1 }, { return: 2, id: 3 });
  equal(await second, 2);
  const plain = new Server('{"QMP": {"version": {}, "capabilities": []}}\n');
  const old = await Client.over(plain);
  check(!('arguments' in plain.last), 'nothing to enable');
  await fails(old.execute('x', {}, { oob: true }), ClientError, "doesn't offer 'oob'");
});

scripted.set('messages_cut_anywhere_and_spread_out', async () => {
  const [client, server] = await connected();
  const answer = { text: 'é\u2028😀}\n{', list: [{ a: {} }, []], big: 'b'.repeat(300_000) };
  for (const indent of [0, 4]) {
    for (const step of [1, 7, 65536]) {
      const value = step === 1 ? { ...answer, big: '' } : answer;
      const call = client.execute('x');
      const text = JSON.stringify({ return: value, id: server.last['id'] }, null, indent);
      const bytes = new TextEncoder().encode(`\n${text}\r\n{"event": "X"}\n`);
      for (let at = 0; at < bytes.length; at += step) server.sayBytes(bytes.subarray(at, at + step));
      equal(await call, value);
    }
  }
});

scripted.set('a_call_that_is_aborted_or_too_slow', async () => {
  const [client, server] = await connected();
  const controller = new AbortController();
  const slow = client.queryVersion({ timeoutMs: 5 });
  const aborted = client.execute('x', {}, { signal: controller.signal, timeoutMs: 60_000 });
  const other = client.execute('y');
  controller.abort(new RangeError('enough'));
  await fails(aborted, RangeError, 'enough');
  await fails(slow, TimedOut, 'query-version: no answer within 5 ms');
  const sent = server.received.length;
  await fails(client.execute('z', {}, { signal: controller.signal }), RangeError, 'enough');
  equal(server.received.length, sent);
  server.say({ error: { class: 'GenericError', desc: 'late' }, id: 2 }, { return: 0, id: 3 },
             { return: 'mine', id: 4 });
  equal(await other, 'mine');
});

scripted.set('events', async () => {
  const [client, server] = await connected();
  const heard: string[] = [];
  const off = client.on('BLOCK_EXPORT_DELETED', (event) => heard.push(event.data.id));
  const anyOff = client.onAny((event) => heard.push(event.event));
  const stream = client.events(['BLOCK_EXPORT_DELETED', 'BLOCK_SNAPSHOT_COMPLETED'], {
    where: (event) => event.event !== 'BLOCK_EXPORT_DELETED' || event.data.id !== 'b',
  });
  const once = client.once('BLOCK_EXPORT_DELETED', { where: (event) => event.data.id === 'c' });
  for (const id of ['a', 'b', 'c']) {
    server.say({ event: 'BLOCK_EXPORT_DELETED', data: { id },
                 timestamp: { seconds: 1, microseconds: 5 } });
  }
  server.say({ event: 'PIGEON_LOST', data: { id: 'p' } });
  equal((await once).timestamp, { seconds: 1, microseconds: 5 });
  const seen: string[] = [];
  for await (const event of stream) {
    // The type of `data` follows from `event`.
    seen.push(event.event === 'BLOCK_EXPORT_DELETED' ? event.data.id : event.data.overlay);
    if (seen.length === 2) break;
  }
  equal(seen, ['a', 'c']);
  await pause(0);
  equal(heard.join(), 'a,BLOCK_EXPORT_DELETED,b,BLOCK_EXPORT_DELETED,c,BLOCK_EXPORT_DELETED,PIGEON_LOST');
  off();
  anyOff();
  await fails(stream.get(), ConnectionLost, 'closed');
  await fails(client.once('BLOCK_EXPORT_DELETED', { timeoutMs: 1 }), TimedOut);
  equal(heard.length, 7);
});

scripted.set('events_that_nobody_reads', async () => {
  const [client, server] = await connected();
  const few = client.events('BLOCK_EXPORT_DELETED', { limit: 2 });
  const broken = client.events('BLOCK_EXPORT_DELETED', {
    where: () => {
      throw new RangeError('mine');
    },
  });
  const many = client.events('BLOCK_EXPORT_DELETED');
  for (const id of ['a', 'b', 'c']) server.say({ event: 'BLOCK_EXPORT_DELETED', data: { id } });
  for (const id of ['a', 'b', 'c']) equal((await many.get()).data.id, id);
  for (const id of ['a', 'b']) equal((await few.get()).data.id, id);
  await fails(few.get(), EventsLost, 'more than 2');
  await fails(broken.get(), RangeError, 'mine');
});

scripted.set('close_fails_what_is_pending', async () => {
  const [client, server] = await connected();
  const call = client.queryVersion();
  const stream = client.events('BLOCK_EXPORT_DELETED');
  const waiting = fails(stream.get(), ConnectionLost, 'closed');
  const caught = fails(call, ConnectionLost, 'query-version: the client was closed');
  await Promise.all([client.close(), client.close()]);
  await caught;
  await waiting;
  for await (const event of stream) check(false, event.event);
  check(server.closed && !client.isOpen, 'closed');
  await fails(client.queryVersion(), ConnectionLost, 'the client was closed');
  for await (const event of client.events('BLOCK_EXPORT_DELETED')) check(false, event.event);
});

scripted.set('the_server_goes', async () => {
  for (const [error, text] of [[undefined, 'the server closed the connection'],
                               [new Error('reset'), 'the connection broke: reset']] as const) {
    const [client, server] = await connected();
    const stream = client.events('BLOCK_EXPORT_DELETED');
    const caught = fails(client.queryVersion(), ConnectionLost, text);
    server.end(error);
    await caught;
    await fails(stream.get(), ConnectionLost, text);
    await client.closed;
    check(!client.isOpen, 'closed');
  }
});

scripted.set('something_else_listens_there', async () => {
  for (const text of ['SSH-2.0-OpenSSH\r\n', '[1]\n', '\ud800{\n', `${'{"a":'.repeat(2000)}\n`]) {
    await fails(Client.over(new Server(text)), ConnectionFailed, 'the given transport: ');
  }
  const silent = new Server(null);
  await fails(Client.over(silent, { timeoutMs: 5 }), ConnectionFailed, 'no greeting within 5 ms');
  check(silent.closed, 'closed');
  const agent = new Server(null);
  const client = await Client.over(agent, { negotiate: false });
  const ping = client.execute('guest-ping');
  agent.say({ return: {}, id: 1 });
  equal(await ping, {});
  equal(client.greeting, undefined);
});

scripted.set('types_tell_branches_apart', async () => {
  const describe = (options: BlockdevOptions): string => {
    switch (options.driver) {
      case 'file':
      case 'host_device':
        return options.filename;
      case 'qcow2':
        return typeof options.file === 'string' ? options.file : describe(options.file);
      default:
        return options.driver;
    }
  };
  equal(describe({ driver: 'qcow2', file: { driver: 'file', filename: 'x' } }), 'x');
  const address: SocketAddress = { type: 'inet', host: 'h', port: '1' };
  equal(address.type === 'inet' ? address.host : '', 'h');
  // @ts-expect-error: a member that this branch doesn't have
  const wrong: SocketAddress = { type: 'unix', host: 'h' };
  // @ts-expect-error: a value that the enumeration doesn't have
  const bogus: BlockdevOptions = { driver: 'bogus' };
  check(wrong !== undefined && bogus !== undefined, 'types only');
});

scripted.set('tcp', async () => {
  const name: string = 'node:net';
  const net = (await import(name)) as any;
  const server = net.createServer((socket: any) => {
    socket.write(`${JSON.stringify(GREETING)}\n`);
    socket.once('data', () => socket.write('{"return": {}, "id": 1}\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const port = server.address().port as number;
  const client = await Client.connect({ host: '127.0.0.1', port });
  equal(client.greeting?.package, 'v11');
  await client.close();
  await new Promise((resolve) => server.close(resolve));
  await fails(Client.connect({ host: '127.0.0.1', port }), ConnectionFailed, 'ECONNREFUSED');
  await fails(Client.connect('/nonexistent/socket'), ConnectionFailed, '/nonexistent/socket: .*ENOENT');
});

live.set('snapshot', async (socket, image, overlay) => {
  const client = await Client.connect(String(socket));
  await client.blockdevAdd({
    driver: 'qcow2',
    'node-name': 'disk0',
    file: { driver: 'file', filename: String(image) },
  });
  await client.blockDeviceAdd({ id: 'vda', 'node-name': 'disk0' });
  await client.blockExportAdd({
    type: 'nbd', id: 'export0', 'node-name': 'vda', name: 'vda', writable: true,
  });
  console.log('serving');
  await new Promise<void>((resolve) => process.stdin.once('data', resolve));
  const completed = client.once('BLOCK_SNAPSHOT_COMPLETED', {
    where: (event) => event.data.device === 'vda',
    timeoutMs: 20_000,
  });
  await client.blockdevSnapshotSync({
    device: 'vda', 'snapshot-file': String(overlay), 'snapshot-node-name': 'overlay0',
  });
  const event = await completed;
  equal([event.data.device, event.data['node-name'], event.data.overlay],
        ['vda', 'disk0', 'overlay0']);
  check(event.data['prepare-ns'] > 0 && event.timestamp.seconds > 0, 'figures');
  console.log('taken');
  await new Promise<void>((resolve) => process.stdin.once('data', resolve));
  process.stdin.unref();
  const [disk] = await client.queryBlock();
  equal(disk?.inserted?.['node-name'], 'overlay0');
  const specific = disk?.inserted?.image['format-specific'];
  check(specific?.type === 'qcow2' && specific.data['extended-l2'] === true, 'subclusters');

  const [version, error] = await Promise.all([
    client.queryVersion(),
    fails(client.blockdevDel({ 'node-name': 'nope' }), CommandError, 'nope'),
  ]);
  equal(version.qemu.major, 7);
  equal(error.command, 'blockdev-del');
  const unknown = await fails(client.execute('no-such-command'), CommandError);
  equal(unknown.errorClass, 'CommandNotFound');
  equal(unknown.desc, 'The command no-such-command has not been found');

  const controller = new AbortController();
  const aborted = client.queryQmpSchema({ signal: controller.signal });
  controller.abort(new RangeError('enough'));
  await fails(aborted, RangeError);
  check((await client.queryQmpSchema()).length > 100, 'the schema');

  const deleted = client.once('BLOCK_EXPORT_DELETED', { timeoutMs: 20_000 });
  await client.blockExportDel({ id: 'export0', mode: 'hard' });
  equal((await deleted).data.id, 'export0');
  await client.quit();
  await client.closed;
  await fails(client.queryVersion(), ConnectionLost);
});

live.set('server_gone', async (socket) => {
  const client = await Client.connect({ path: String(socket) });
  const stream = client.events('BLOCK_EXPORT_DELETED');
  console.log('connected');
  await fails(stream.get({ timeoutMs: 20_000 }), ConnectionLost);
  await fails(client.queryVersion(), ConnectionLost, 'query-version: ');
});

async function main(): Promise<void> {
  const [name = '', ...rest] = process.argv.slice(2);
  if (name === 'scripted') {
    for (const [title, body] of scripted) {
      const failure = await body().then(() => null, (error: Error) => error.stack ?? String(error));
      console.log(JSON.stringify({ name: title, failure }));
    }
    return;
  }
  const body = live.get(name);
  check(body !== undefined, `no case ${name}`);
  await body(...rest);
  console.log('done');
}

void main().catch((error: Error) => {
  console.log(`${error.stack ?? String(error)}`);
  process.exit(1);
});
