"""An OTLP receiver and a reader of Prometheus formats that share no code with the exporter.

Messages are decoded by the protocol's own definitions (opentelemetry-proto), gRPC is served by
grpcio, Prometheus text and OpenMetrics are read by prometheus-client. On 127.0.0.1:

  gRPC                  MetricsService.Export
  POST /v1/metrics      the same by http/protobuf
  GET /received         one JSON object per line and series: what came of it
  POST /read/text       samples of a text in the Prometheus text format, one JSON array per line
  POST /read/openmetrics  the same of an OpenMetrics text, which is checked strictly

Prints "gRPC PORT HTTP PORT" when it is ready and runs until it is killed.
"""

import gzip
import json
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as rpc
from opentelemetry.proto.metrics.v1 import metrics_pb2
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text_format

GONE = metrics_pb2.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
CUMULATIVE = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE


class Series:
    """What came of one series."""

    def __init__(self):
        self.points = 0
        # Start times other than the one before, in nanoseconds.
        self.starts = []
        # The first count or value of each life: again after the series was gone.
        self.births = []
        self.time = 0
        self.gone = False
        self.faults = []
        self.last = {}

    def take(self, point, last, count):
        self.points += 1
        if point.time_unix_nano <= self.time:
            self.faults.append("a time that does not advance")
        self.time = point.time_unix_nano
        gone = bool(point.flags & GONE)
        if not gone:
            if point.start_time_unix_nano >= point.time_unix_nano:
                self.faults.append("a start that is not before the time")
            if self.points == 1 or self.gone:
                self.births.append(count)
            if not self.starts or self.starts[-1] != point.start_time_unix_nano:
                self.starts.append(point.start_time_unix_nano)
            self.last = last
        self.gone = gone

    def shown(self):
        return {
            "starts": self.starts,
            "births": self.births,
            "time": self.time,
            "gone": self.gone,
            "faults": self.faults,
            **self.last,
        }


class Received:
    """All series, by metric, kind and labels."""

    def __init__(self):
        self.lock = threading.Lock()
        self.series = {}

    def take(self, request):
        with self.lock:
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        self.take_metric(metric)

    def take_metric(self, metric):
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        for point in data.data_points:
            labels = tuple(sorted((a.key, a.value.string_value) for a in point.attributes))
            series = self.series.setdefault((metric.name, kind, labels), Series())
            if kind == "histogram":
                last = {
                    "count": point.count,
                    "sum": point.sum,
                    "bounds": list(point.explicit_bounds),
                    "buckets": list(point.bucket_counts),
                }
                count = point.count
            else:
                value = getattr(point, point.WhichOneof("value") or "as_double")
                last, count = {"value": value}, value
            if len(labels) != len(point.attributes) or len(dict(labels)) != len(labels):
                series.faults.append("attributes that repeat")
            if kind != "gauge" and data.aggregation_temporality != CUMULATIVE:
                series.faults.append("not cumulative")
            if kind == "sum" and not data.is_monotonic:
                series.faults.append("not monotonic")
            series.take(point, last, count)

    def lines(self):
        with self.lock:
            for (name, kind, labels), series in self.series.items():
                head = {"name": name, "kind": kind, "labels": dict(labels)}
                yield json.dumps({**head, **series.shown()})


RECEIVED = Received()


class Metrics(rpc.MetricsServiceServicer):
    def Export(self, request, context):
        RECEIVED.take(request)
        return service.ExportMetricsServiceResponse()


def samples(families, plain_counters):
    for family in families:
        for sample in family.samples:
            name = sample.name
            # The reader of the text format gives every counter the suffix _total.
            if family.name in plain_counters and name.endswith("_total"):
                name = name[: -len("_total")]
            yield json.dumps([name, sample.labels, float(sample.value)])


def plain_counters(text):
    types = (line.split() for line in text.splitlines() if line.startswith("# TYPE "))
    return {name for _, _, name, kind in types if kind == "counter" and not name.endswith("_total")}


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/metrics":
            RECEIVED.take(service.ExportMetricsServiceRequest.FromString(body))
            response = service.ExportMetricsServiceResponse().SerializeToString()
            self.answer(response, "application/x-protobuf")
            return
        text = body.decode("utf-8")
        if self.path == "/read/text":
            families = text_format.text_string_to_metric_families(text)
            read = samples(families, plain_counters(text))
        else:
            read = samples(openmetrics.text_string_to_metric_families(text), ())
        try:
            self.answer("\n".join(read).encode(), "application/jsonl")
        except ValueError as error:
            self.answer(str(error).encode(), "text/plain", status=422)

    def do_GET(self):
        self.answer("\n".join(RECEIVED.lines()).encode(), "application/jsonl")

    def answer(self, body, content_type, status=200):
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    grpc_server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    rpc.add_MetricsServiceServicer_to_server(Metrics(), grpc_server)
    grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    print(f"gRPC {grpc_port} HTTP {http_server.server_port}", flush=True)
    http_server.serve_forever()


if __name__ == "__main__":
    main()
