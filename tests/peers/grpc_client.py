"""A gRPC client: `grpc_client.py TARGET CA|- WHAT [ARGUMENT ...]` carries one scenario out, or fails where an answer differs."""

import collections
import queue
import sys
import threading

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

# Far above what a loaded machine needs.
PATIENCE = 60

TARGET, CA, WHAT, *ARGUMENTS = sys.argv[1:]
OPTIONS = [("grpc.max_receive_message_length", 32 << 20), ("grpc.max_send_message_length", 32 << 20), ("grpc.enable_retries", 0)]


def connect():
    if CA == "-":
        return grpc.insecure_channel(TARGET, options=OPTIONS)
    return grpc.secure_channel(TARGET, grpc.ssl_channel_credentials(open(CA, "rb").read()), options=OPTIONS)


channel = connect()


def unary(method, message=b"", timeout=PATIENCE, **more):
    return channel.unary_unary("/test.Peer/" + method)(message, timeout=timeout, **more)


def failure(call, *arguments, **more):
    """The error that a call ends with."""
    try:
        answer = call(*arguments, **more)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"no error, but {answer}")


def kinds():
    """Unary and the three streaming kinds, with metadata, large messages and statuses of the server."""
    assert unary("Name") == ARGUMENTS[0].encode()
    metadata = [("x-from-text", "a value"), ("x-from-bytes-bin", b"\x00\x01\xfe\xff")]
    answer, call = channel.unary_unary("/test.Peer/Echo").with_call(b"body", timeout=PATIENCE, metadata=metadata)
    assert answer == b"body", answer
    head, tail = dict(call.initial_metadata()), dict(call.trailing_metadata())
    for key, value in metadata:
        assert head["x-head-" + key] == value, head
        assert tail["x-tail-" + key] == value, tail

    large = bytes(range(256)) * (16 << 12)
    assert len(large) == 16 << 20
    assert unary("Echo", large) == large

    total = channel.stream_unary("/test.Peer/Total")
    assert total((b"x" * n for n in range(1000)), timeout=PATIENCE) == b"499500"
    assert total(iter(()), timeout=PATIENCE) == b"0"

    count = channel.unary_stream("/test.Peer/Count")
    assert list(count(b"1000", timeout=PATIENCE)) == [str(n).encode() for n in range(1000)]
    assert list(count(b"0", timeout=PATIENCE)) == []

    # Each message is said only after the answer to the one before: nothing on the way may wait for more.
    said = queue.Queue()
    answers = channel.stream_stream("/test.Peer/Chat")(iter(said.get, None), timeout=PATIENCE)
    for n in range(100):
        said.put(str(n).encode())
        assert next(answers).endswith(f": {n}".encode())
    said.put(None)
    assert list(answers) == []

    for code in ["CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "INTERNAL", "DATA_LOSS"]:
        error = failure(unary, "Fail", code.encode())
        assert error.code() == grpc.StatusCode[code], error
        assert error.details() == "as asked: 50% \u00e9", error
        assert ("x-why-bin", b"\x00\xff") in [tuple(pair) for pair in error.trailing_metadata()], error
    assert failure(unary, "Nothing").code() == grpc.StatusCode.UNIMPLEMENTED


def deadlines():
    """The server is told what is left; when it is over both sides hear of it."""
    left = float(unary("Remaining", timeout=30))
    assert 0 < left < 30, left
    # Without a deadline of the caller's there is none.
    left = unary("Remaining", timeout=None).decode()
    assert left == "None" or float(left) > 1e6, left
    assert failure(unary, "Hang", timeout=0.5).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert (unary("Begun"), unary("Cancelled")) == (b"yes", b"yes")
    late = channel.unary_stream("/test.Peer/Drip")(b"", timeout=2)
    assert next(late) == b"first"
    assert failure(next, late).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert (unary("Begun"), unary("Cancelled")) == (b"yes", b"yes")


def cancellation():
    """A call that is cancelled before and after its first message is cancelled at the server."""
    waiting = channel.unary_unary("/test.Peer/Hang").future(b"", timeout=PATIENCE)
    assert unary("Begun") == b"yes"
    waiting.cancel()
    assert unary("Cancelled") == b"yes"
    stream = channel.unary_stream("/test.Peer/Drip")(b"", timeout=PATIENCE)
    assert next(stream) == b"first"
    assert unary("Begun") == b"yes"
    stream.cancel()
    assert unary("Cancelled") == b"yes"
    said = queue.Queue()
    answers = channel.stream_stream("/test.Peer/Chat")(iter(said.get, None), timeout=PATIENCE)
    said.put(b"a")
    next(answers)
    answers.cancel()
    assert unary("Name")


def services():
    """Health and reflection are services like others."""
    stub = health_pb2_grpc.HealthStub(channel)
    for service, state in [("", "SERVING"), ("shop.Cart", "SERVING")]:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        assert answer.status == health_pb2.HealthCheckResponse.ServingStatus.Value(state), answer
    error = failure(stub.Check, health_pb2.HealthCheckRequest(service="none"), timeout=PATIENCE)
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="shop.Cart"), timeout=PATIENCE)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    names = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert set(names) >= {"test.Peer", "grpc.health.v1.Health"}, names


def spread():
    """Many unary calls on one connection, as many at a time as are kept in flight; prints how many each server took."""
    n, in_flight = int(ARGUMENTS[0]), threading.Semaphore(50)
    names, call = collections.Counter(), channel.unary_unary("/test.Peer/Name")

    def start():
        in_flight.acquire()
        future = call.future(b"", timeout=PATIENCE)
        future.add_done_callback(lambda _: in_flight.release())
        return future

    for future in [start() for _ in range(n)]:
        names[future.result().decode()] += 1
    for name, taken in sorted(names.items()):
        print(name, taken)


def survive():
    """Calls from several threads over the death of a server; prints `begun` early on and the code of each that failed."""
    n, n_threads, numbers = int(ARGUMENTS[0]), 8, queue.SimpleQueue()
    for number in range(n):
        numbers.put(number)

    def caller():
        while True:
            try:
                number = numbers.get_nowait()
            except queue.Empty:
                return
            if number == n // 10:
                sys.stdout.write("begun\n")
                sys.stdout.flush()
            try:
                unary("Work", str(number).encode())
            except grpc.RpcError as error:
                # At once with its end: other threads print too.
                sys.stdout.write(f"failed {number} {error.code().name}\n")

    threads = [threading.Thread(target=caller) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cut():
    """A stream whose server dies; prints what the caller is told."""
    stream = channel.unary_stream("/test.Peer/Drip")(b"", timeout=PATIENCE)
    assert next(stream) == b"first"
    print("streaming", flush=True)
    error = failure(next, stream)
    print(error.code().name, error.details())


def expect():
    """One call of METHOD with this many bytes; prints the code, the words and the proxy's reason."""
    method, size, timeout = ARGUMENTS
    error = failure(unary, method, b"x" * int(size), timeout=float(timeout))
    print(error.code().name)
    print(error.details())
    print(dict(error.trailing_metadata()).get("x-isobar-error", "none"))


def crowd():
    """One call more than the endpoint may have; prints the code of the one that is too many."""
    first = channel.unary_stream("/test.Peer/Drip")(b"", timeout=PATIENCE)
    assert next(first) == b"first"
    print(failure(unary, "Name").code().name)
    first.cancel()


def say():
    """One call of METHOD with MESSAGE; prints the answer."""
    print(unary(ARGUMENTS[0], ARGUMENTS[1].encode()).decode())


globals()[WHAT]()
channel.close()
