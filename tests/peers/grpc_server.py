"""A gRPC server that tells what it sees; prints its port first.

`grpc_server.py NAME JOURNAL [CERTIFICATE KEY] [--streams N] [--utilization SHARE]` listens on a port that the system chooses
and runs until it is killed. Messages are bytes, but for health and reflection. Each call of `Work` writes its message to
JOURNAL when it begins. With `--utilization` each call of `Name` reports it, at a rate of 100 calls a second.
"""

import argparse
import os
import threading
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

arguments = argparse.ArgumentParser()
arguments.add_argument("name")
arguments.add_argument("journal")
arguments.add_argument("tls", nargs="*")
arguments.add_argument("--streams", type=int, default=100)
arguments.add_argument("--utilization", type=float)
arguments = arguments.parse_args()

NAME = arguments.name.encode()
JOURNAL = os.open(arguments.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
begun, cancelled = threading.Semaphore(0), threading.Semaphore(0)
servicer = health.HealthServicer()


def load_report(utilization):
    """An `xds.data.orca.v3.OrcaLoadReport`, as far as it is needed, written by the library of the format."""
    file = descriptor_pb2.FileDescriptorProto(name="orca.proto", package="xds.data.orca.v3", syntax="proto3")
    message = file.message_type.add(name="OrcaLoadReport")
    kinds = descriptor_pb2.FieldDescriptorProto
    for field, number in [("cpu_utilization", 1), ("mem_utilization", 2), ("rps_fractional", 6)]:
        message.field.add(name=field, number=number, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    report = message_factory.GetMessageClass(pool.FindMessageTypeByName("xds.data.orca.v3.OrcaLoadReport"))
    return report(cpu_utilization=utilization, mem_utilization=0.5, rps_fractional=100).SerializeToString()


REPORT = [("endpoint-load-metrics-bin", load_report(arguments.utilization))] if arguments.utilization else []


def name(request, context):
    context.set_trailing_metadata(REPORT)
    return NAME


def echo(request, context):
    """Says in its metadata what it got in that of the caller."""
    got = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-from-")]
    context.send_initial_metadata([("x-head-" + key, value) for key, value in got])
    context.set_trailing_metadata([("x-tail-" + key, value) for key, value in got])
    return request


def total(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def chat(requests, context):
    for request in requests:
        yield NAME + b": " + request


def remaining(request, context):
    return str(context.time_remaining()).encode()


def hang(request, context):
    """Ends when the call is cancelled; says that it began and that it ended to whoever asks `Begun` and `Cancelled`."""
    over = threading.Event()
    begun.release()
    if context.add_callback(over.set):
        over.wait()
    cancelled.release()
    return b""


def drip(request, context):
    """One message, then nothing until the call is over."""
    yield b"first"
    hang(request, context)


def has_begun(request, context):
    return b"yes" if begun.acquire(timeout=20) else b"no"


def was_cancelled(request, context):
    return b"yes" if cancelled.acquire(timeout=20) else b"no"


def fail(request, context):
    context.set_trailing_metadata([("x-why-bin", b"\x00\xff")])
    context.abort(grpc.StatusCode[request.decode()], "as asked: 50% \u00e9")


def work(request, context):
    os.write(JOURNAL, request + b"\n")
    return NAME


def serve(request, context):
    servicer.set("shop.Cart", health_pb2.HealthCheckResponse.ServingStatus.Value(request.decode()))
    return b""


METHODS = {
    "Name": grpc.unary_unary_rpc_method_handler(name),
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
    "Drip": grpc.unary_stream_rpc_method_handler(drip),
    "Begun": grpc.unary_unary_rpc_method_handler(has_begun),
    "Cancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Work": grpc.unary_unary_rpc_method_handler(work),
    "Serve": grpc.unary_unary_rpc_method_handler(serve),
}

server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=32),
    options=[
        ("grpc.max_receive_message_length", 32 << 20),
        ("grpc.max_send_message_length", 32 << 20),
        ("grpc.max_concurrent_streams", arguments.streams),
        ("grpc.so_reuseport", 0),
    ],
)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Peer", METHODS),))
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
servicer.set("shop.Cart", health_pb2.HealthCheckResponse.SERVING)
reflection.enable_server_reflection(["test.Peer", health.SERVICE_NAME, reflection.SERVICE_NAME], server)
if arguments.tls:
    certificate, key = (open(file, "rb").read() for file in arguments.tls)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
