"""A QMP connection on asyncio: the greeting, calls that run beside each other, events.

A connection belongs to the event loop that it was made on. Any number of tasks may call and listen
at the same time. A call that is cancelled is forgotten here; the server carries it out all the same.
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from .values import ClientError, Member, ProtocolError, Struct, decode_raw, decode_int, encode

T = TypeVar("T")
E = TypeVar("E", bound="Event")

__all__ = ["BaseClient", "ClientError", "CommandError", "ConnectionFailed", "ConnectionLost", "Event",
           "EventStream", "EventsLost", "Greeting", "Timestamp", "UnknownEvent"]

_log = logging.getLogger(__name__)

_READ_BYTES = 256 << 10
_MAX_MESSAGE_BYTES = 1 << 30
_NO_REPLY_GRACE_S = 1.0  # a command that answers nothing on success may still answer an error
_CLOSE_S = 1.0  # how long a server may take to read what was sent before the end


class CommandError(ClientError):
    """The server refused a command, or it failed."""

    def __init__(self, command: str, error: Mapping[str, Any]) -> None:
        super().__init__(command, error)
        self.command = command
        self.error_class: str = str(error.get("class", "GenericError"))
        self.desc: str = str(error.get("desc", ""))
        self.data: Any = error.get("data")

    def __str__(self) -> str:
        return f"{self.command}: {self.desc} ({self.error_class})"


class ConnectionFailed(ClientError, ConnectionError):
    """There is no server, or it doesn't greet as QMP servers do."""


class ConnectionLost(ClientError, ConnectionError):
    """The connection has ended. Whether a command without an answer was carried out is unknown."""


class EventsLost(ClientError):
    """Nobody read this stream for so long that events had to be dropped. Ask for the state anew."""


@dataclass(frozen=True, kw_only=True)
class Timestamp(Struct):
    """When something happened by the server's clock, since 1970; both are -1 if it doesn't know."""

    seconds: int
    microseconds: int

    @property
    def datetime(self) -> datetime.datetime | None:
        """The same in UTC."""
        if self.seconds < 0:
            return None
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return epoch + datetime.timedelta(seconds=self.seconds, microseconds=self.microseconds)


Timestamp._members = (Member("seconds", "seconds", decode_int),
                      Member("microseconds", "microseconds", decode_int))


@dataclass(frozen=True, kw_only=True)
class Event(Struct):
    """Something that happened. Each event of the schema is a class of its own."""

    event_name: ClassVar[str] = ""

    timestamp: Timestamp = field(
        default_factory=lambda: Timestamp(seconds=-1, microseconds=-1), compare=False)

    @classmethod
    def _from_data(cls, data: Mapping[str, Any], timestamp: Timestamp) -> Self:
        return cls(**cls._attributes(data), timestamp=timestamp)


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(Event):
    """An event that the schema doesn't have, or not in this form: a newer server's."""

    name: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """How the server introduced itself."""

    version: tuple[int, int, int]
    """The version of QEMU that it behaves like."""
    package: str
    """What it says about its build."""
    capabilities: tuple[str, ...]
    """What may be switched on, `oob` for instance."""

    @classmethod
    def from_json(cls, message: Mapping[str, Any]) -> Greeting:
        """Takes the greeting's `QMP` member."""
        version = message.get("version")
        version = version if isinstance(version, dict) else {}
        qemu = version.get("qemu")
        qemu = qemu if isinstance(qemu, dict) else {}
        capabilities = message.get("capabilities")
        numbers = [qemu.get(part) for part in ("major", "minor", "micro")]
        major, minor, micro = (n if isinstance(n, int) else 0 for n in numbers)
        return cls(version=(major, minor, micro), package=str(version.get("package", "")),
                   capabilities=tuple(str(c) for c in capabilities)
                   if isinstance(capabilities, list) else ())


class EventStream(Generic[E]):
    """Events as they come, from the moment it was made; see `listen`.

    Iterate over it with `async for`, or take one by `get`. Both end with ConnectionLost when the
    server is gone, and the iteration just ends after `close` here or on the client.
    """

    def __init__(self, kinds: tuple[type[E], ...], where: Callable[[E], bool] | None, limit: int,
                 forget: Callable[[EventStream[Any]], None]) -> None:
        self._kinds = kinds
        self._where = where
        self._limit = limit
        self._forget = forget
        self._events: collections.deque[E] = collections.deque()
        self._waiters: collections.deque[asyncio.Future[None]] = collections.deque()
        self._end: BaseException | None = None

    def close(self) -> None:
        """Stops listening. What came before can still be read."""
        self._finish(StopAsyncIteration())

    async def get(self) -> E:
        """The next event. Bound it with `asyncio.timeout`. After `close` raises ConnectionLost."""
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise ConnectionLost("this stream of events was closed") from None

    def __aiter__(self) -> AsyncIterator[E]:
        return self

    async def __anext__(self) -> E:
        while not self._events:
            if self._end is not None:
                raise self._end.with_traceback(None)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif self._events:  # woken and cancelled at once: the next one's turn
                    self._wake()
                raise
        return self._events.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _offer(self, event: Any) -> None:
        if self._end is not None or not isinstance(event, self._kinds):
            return
        try:
            if self._where is not None and not self._where(event):
                return
        except Exception as error:  # the filter's own failure is its reader's business
            self._finish(error)
            return
        if len(self._events) >= self._limit:
            self._finish(EventsLost(f"more than {self._limit} events wait to be read"))
            return
        self._events.append(event)
        self._wake()

    def _finish(self, end: BaseException) -> None:
        if self._end is None:
            self._end = end
            self._forget(self)
            while self._waiters:
                self._wake()


class _Framer:
    """Cuts what is received into messages. A message is a line, or with `pretty=on` the lines from
    one that begins with '{' to one that begins with '}'."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._line = 0  # where the last line begins
        self._searched = 0  # up to here there is no newline in it

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        self._buffer += data
        start = 0
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = self._line
            self._line = self._searched = end + 1
            if self._is_whole(start, line, end):
                text = self._buffer[start:end]
                start = end + 1
                if text.strip():
                    yield self._parse(text)
        self._searched = len(self._buffer)
        if start:
            del self._buffer[:start]
            self._line -= start
            self._searched -= start
        if len(self._buffer) > self._limit:
            raise ProtocolError(f"a message has more than {self._limit} bytes")

    def _is_whole(self, start: int, line: int, end: int) -> bool:
        if line == start:  # alone, '{' opens a message of many lines
            return self._buffer[start:min(end, start + 8)].strip() != b"{"
        return self._buffer[line:line + 1] == b"}"

    @staticmethod
    def _parse(text: bytearray) -> dict[str, Any]:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            shown = bytes(text[:80]).decode("utf-8", "backslashreplace")
            raise ProtocolError(f"this is no JSON: {shown!r}: {error}") from None
        if not isinstance(message, dict):
            raise ProtocolError(f"this is no message: {bytes(text[:80])!r}")
        return message


@dataclass
class _Call:
    number: int
    command: str
    reply: asyncio.Future[Any]
    in_band: bool


class BaseClient:
    """What the generated Client stands on: connecting, closing, `execute`, events."""

    _events: ClassVar[Mapping[str, type[Event]]] = {}

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """For the class's own use: a client is made by `connect`, `connect_tcp` or `from_streams`."""
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, _Call] = {}
        self._last_id = 0
        self._streams: list[EventStream[Any]] = []
        self._oob = False
        self._end: ClientError | None = None
        self._closed_here = False
        self._ended = asyncio.Event()
        self._greeted: asyncio.Future[Greeting] = asyncio.get_running_loop().create_future()
        self._greeted.add_done_callback(lambda f: f.cancelled() or f.exception())
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: str | os.PathLike[str], *, timeout: float | None = 10,
                      negotiate: bool = True) -> Self:
        """Connects to a unix socket; a path that begins with a NUL is an abstract one.

        `timeout` bounds connecting and negotiating together, in seconds. Raises ConnectionFailed.
        With negotiate=False neither a greeting is awaited nor capabilities are set: for servers that
        have none, such as QEMU's guest agent.
        """
        where = os.fspath(path)
        return await cls._open(lambda: asyncio.open_unix_connection(where, limit=_READ_BYTES),
                               where, timeout, negotiate)

    @classmethod
    async def connect_tcp(cls, host: str, port: int, *, timeout: float | None = 10,
                          negotiate: bool = True, **options: Any) -> Self:
        """Connects by TCP, otherwise as `connect`. Further options, `ssl` for instance, go to
        `asyncio.open_connection`. The system notices within two minutes if the server's machine is
        gone; a call that has to end sooner takes `asyncio.timeout`."""
        return await cls._open(lambda: asyncio.open_connection(host, port, limit=_READ_BYTES,
                                                               **options),
                               f"{host}:{port}", timeout, negotiate)

    @classmethod
    async def from_streams(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *,
                           timeout: float | None = 10, negotiate: bool = True) -> Self:
        """Takes over a connection that exists; the client closes it."""
        async def streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return reader, writer

        return await cls._open(streams, "the given streams", timeout, negotiate)

    @classmethod
    async def _open(cls, connect: Callable[[], Any], where: str, timeout: float | None,
                    negotiate: bool) -> Self:
        client: Self | None = None
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await connect()
                _keep_alive(writer)
                client = cls(reader, writer)
                if negotiate:
                    await client._negotiate()
                return client
        except BaseException as error:
            if client is not None:
                await client.close()
            if isinstance(error, TimeoutError):
                what = "it takes no connection" if client is None else "it sends no greeting"
                raise ConnectionFailed(f"{where}: {what} within {timeout} s; is it busy with another "
                                       "client?") from None
            if isinstance(error, (OSError, ClientError)):
                raise ConnectionFailed(f"{where}: {error}") from error
            raise

    async def _negotiate(self) -> None:
        greeting = await self._greeted
        self._oob = "oob" in greeting.capabilities
        await self.execute("qmp_capabilities", {"enable": ["oob"]} if self._oob else None)

    @property
    def greeting(self) -> Greeting:
        """How the server introduced itself. ConnectionFailed if it was not asked to (negotiate)."""
        if not self._greeted.done():
            raise ConnectionFailed("there was no negotiation")
        return self._greeted.result()

    @property
    def is_open(self) -> bool:
        """Whether calls are possible, as far as is known here."""
        return self._end is None

    async def wait_closed(self) -> None:
        """Returns when the connection has ended, from here or by the server."""
        await self._ended.wait()

    async def close(self) -> None:
        """Ends the connection. Calls without an answer fail with ConnectionLost. What was written is
        sent before, if the server reads it within a second. May be called again, and by any task."""
        if self._end is None:
            self._closed_here = True
            self._finish(ConnectionLost("the client was closed"))
        try:
            await asyncio.wait([self._reading], timeout=_CLOSE_S)
        finally:
            if not self._reading.done():
                self._writer.transport.abort()
        await asyncio.wait([self._reading])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *,
                      oob: bool = False) -> Any:
        """Runs any command, whether the schema has it or not. Gives what it returns, as JSON.

        Arguments are named as in QMP. With oob=True it runs at once, before what other calls wait
        for; the server has to have the capability `oob`, and the command has to allow it.
        """
        return await self._execute(command, arguments or {}, {}, decode_raw, oob=oob)

    @overload
    def listen(self, *, where: Callable[[Event], bool] | None = None,
               limit: int = 10_000) -> EventStream[Event]: ...

    @overload
    def listen(self, kind: type[E], /, *kinds: type[E],
               where: Callable[[E], bool] | None = None, limit: int = 10_000) -> EventStream[E]: ...

    def listen(self, *kinds: type[Any], where: Callable[[Any], bool] | None = None,
               limit: int = 10_000) -> EventStream[Any]:
        """The events of these classes that come from now on; without any, all, UnknownEvent too.

        `where` chooses further. Close the stream, best by `with`. A stream in which more than `limit`
        events wait ends with EventsLost.
        """
        stream = EventStream[Any](kinds or (Event,), where, limit, self._forget)
        if self._end is not None:
            stream._finish(self._stream_end(self._end))
        else:
            self._streams.append(stream)
        return stream

    def _forget(self, stream: EventStream[Any]) -> None:
        if stream in self._streams:
            self._streams.remove(stream)

    async def _execute(self, command: str, required: Mapping[str, Any],
                       optional: Mapping[str, Any], decode: Callable[[object], T], *,
                       oob: bool = False) -> T:
        """`optional` has the arguments that are absent where they are None."""
        call = self._send(command, {**required, **_present(optional)}, oob)
        try:
            await self._drain()
            reply = await call.reply
        except asyncio.CancelledError:
            call.reply.cancel()  # its answer is expected still, and dropped
            raise
        try:
            return decode(reply)
        except ProtocolError as error:
            error.path = f"{command}.return{error.path}"
            raise

    async def _execute_without_reply(self, command: str, required: Mapping[str, Any],
                                     optional: Mapping[str, Any]) -> None:
        """For commands that answer errors only: returns when the server has had time for one."""
        call = self._send(command, {**required, **_present(optional)}, False)
        try:
            async with asyncio.timeout(_NO_REPLY_GRACE_S):
                await self._drain()
                await call.reply
        except (TimeoutError, ConnectionLost):
            pass
        finally:
            call.reply.cancel()
            self._calls.pop(call.number, None)

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError:
            pass  # the reader meets it too, and tells all calls

    def _send(self, command: str, arguments: Mapping[str, Any], oob: bool) -> _Call:
        if self._end is not None:
            raise _again(self._end, command)
        if oob and not self._oob:
            raise ClientError(f"{command} can't run out of band: the server doesn't offer 'oob'")
        number = self._last_id + 1
        message: dict[str, Any] = {"exec-oob" if oob else "execute": command}
        if arguments:
            message["arguments"] = encode(arguments)
        message["id"] = number
        # Whatever can't be sent fails here, before anything is.
        data = json.dumps(message, allow_nan=False).encode("ascii") + b"\n"
        self._last_id = number
        call = _Call(number, command, asyncio.get_running_loop().create_future(), not oob)
        self._calls[number] = call
        self._writer.write(data)
        return call

    async def _read(self) -> None:
        framer = _Framer(_MAX_MESSAGE_BYTES)
        end: ClientError = ConnectionLost("the server closed the connection")
        try:
            while data := await self._reader.read(_READ_BYTES):
                for message in framer.feed(data):
                    self._take(message)
        except ProtocolError as error:
            end = error
        except OSError as error:
            end = ConnectionLost(f"the connection broke: {error.strerror or error}")
        except asyncio.CancelledError:
            end = ConnectionLost("the client was closed")
        finally:
            self._finish(end)
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await self._writer.wait_closed()
            except OSError:
                pass
            finally:
                self._writer.transport.abort()
                self._ended.set()

    def _finish(self, end: ClientError) -> None:
        if self._end is not None:
            return
        self._end = end
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.reply.done():
                call.reply.set_exception(_again(end, call.command))
        for stream in list(self._streams):
            stream._finish(self._stream_end(end))
        if not self._greeted.done():
            self._greeted.set_exception(_again(end))
        self._writer.close()

    def _stream_end(self, end: ClientError) -> BaseException:
        return StopAsyncIteration() if self._closed_here else _again(end)

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._take_event(message)
        elif "return" in message or "error" in message:
            self._take_reply(message)
        elif isinstance(message.get("QMP"), dict):
            if not self._greeted.done():
                self._greeted.set_result(Greeting.from_json(message["QMP"]))
        else:
            _log.warning("a message of an unknown kind: %s", ", ".join(message))

    def _take_reply(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is None:
            # What the server couldn't read has no id. It answers in order.
            number = next((n for n, call in self._calls.items() if call.in_band), None)
        call = self._calls.pop(number, None) if isinstance(number, int) else None
        if call is None:
            _log.warning("an answer to nothing that was asked: id %r", number)
        elif call.reply.done():
            pass  # its caller was cancelled
        elif "error" in message:
            error = message["error"] if isinstance(message["error"], dict) else {}
            call.reply.set_exception(CommandError(call.command, error))
        else:
            call.reply.set_result(message["return"])

    def _take_event(self, message: dict[str, Any]) -> None:
        if not self._streams:
            return
        name, data = message["event"], message.get("data", {})
        try:
            timestamp = Timestamp.from_json(message.get("timestamp"))
        except ProtocolError:
            timestamp = Timestamp(seconds=-1, microseconds=-1)
        event: Event
        kind = self._events.get(name) if isinstance(name, str) else None
        try:
            if kind is None:
                raise ProtocolError("an unknown event")
            event = kind._from_data(data, timestamp)
        except ProtocolError as error:
            if kind is not None:
                _log.warning("the event %s has another form than in the schema: %s", name, error)
            event = UnknownEvent(name=str(name), data=data if isinstance(data, dict) else {},
                                 timestamp=timestamp)
        for stream in list(self._streams):
            stream._offer(event)


def _again(error: ClientError, command: str = "") -> ClientError:
    """The same error anew, since each raising of one changes it."""
    text = f"{command}: {error}" if command else str(error)
    if isinstance(error, ProtocolError):
        return ProtocolError(text)
    return ConnectionLost(text)


def _present(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Lets the system notice that a server's machine is gone."""
    connection = writer.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000)
