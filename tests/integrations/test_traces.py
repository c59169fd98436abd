"""OpenTelemetry: its current span in each line, and no traces of probes; with real instrumentations."""

import json
import logging
import logging.handlers
import subprocess
import sys
import threading
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from services.web import environment

from dockerflow.logging import (
    GoogleCloudFormatter,
    MozlogFormatter,
    MozlogHandler,
    RequestIdLogFilter,
)
from dockerflow.opentelemetry import traces_sampler

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

BEGIN = """
import json
import logging
import logging.handlers

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dockerflow import checks
from dockerflow.logging import configure_logging
from dockerflow.opentelemetry import traces_sampler
from dockerflow.testing import Client

exporter = InMemorySpanExporter()
provider = TracerProvider(sampler=traces_sampler())
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("app")
configure_logging("app")

@checks.register
def database():
    with tracer.start_as_current_span("of a check"):
        pass

def work():
    with tracer.start_as_current_span("inner"):
        logging.getLogger("app").info("working")
    return "hello"

def with_raw_uri(app):
    \"\"\"As gunicorn; without it, WSGI's newer attributes lack the path.\"\"\"
    def wrapped(environ, start_response):
        return app({**environ, "RAW_URI": environ["PATH_INFO"]}, start_response)
    return wrapped
"""
FASTAPI = """
from dockerflow.fastapi import install
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

app = FastAPI()
app.get("/items/{item}")(lambda item: work())
install(app)
FastAPIInstrumentor.instrument_app(app)
"""
ASGI = """
from dockerflow.asgi import DockerflowMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": work().encode()})

"""
ASGI_OUTSIDE = ASGI + "app = OpenTelemetryMiddleware(DockerflowMiddleware(app))\n"
ASGI_INSIDE = ASGI + "app = DockerflowMiddleware(OpenTelemetryMiddleware(app))\n"
WSGI = """
from dockerflow.wsgi import DockerflowMiddleware
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

def app(environ, start_response):
    start_response("200 OK", [])
    return [work().encode()]

app = with_raw_uri(OpenTelemetryMiddleware(DockerflowMiddleware(app)))
"""
FLASK = """
from dockerflow.flask import Dockerflow
from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor

app = Flask("app")
app.get("/items/<item>")(lambda item: work())
FlaskInstrumentor().instrument_app(app)
Dockerflow(app)
"""
DJANGO = """
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from opentelemetry.instrumentation.django import DjangoInstrumentor

urlpatterns = [path("items/<item>", lambda request, item: HttpResponse(work()))]
settings.configure(
    ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None,
    DOCKERFLOW_CHECKS=[],
    MIDDLEWARE=["dockerflow.django.middleware.DockerflowMiddleware"])
DjangoInstrumentor().instrument()
"""
DJANGO_WSGI = (
    DJANGO + "from django.core.wsgi import get_wsgi_application as get\napp = with_raw_uri(get())\n"
)
DJANGO_ASGI = DJANGO + "from django.core.asgi import get_asgi_application as get\napp = get()\n"
END = f"""
with Client(app) as client:
    for headers in ({{}}, {{"traceparent": "00-{TRACE}-{SPAN}-01"}}):
        for path in ("/__heartbeat__", "/__lbheartbeat__/", "/__version__"):
            client.get(path, headers)
    probes = [(s.name, s.kind, *s.attributes.items()) for s in exporter.get_finished_spans()]
    assert not probes, probes
    assert b"hello" in client.get("/items/7", headers).body
spans = [(s.name, s.kind.name, f"{{s.context.span_id:016x}}") for s in exporter.get_finished_spans()]
print(json.dumps({{"spans": spans}}))
"""
APPS = {
    "fastapi": FASTAPI, "asgi-outside": ASGI_OUTSIDE, "asgi-inside": ASGI_INSIDE, "wsgi": WSGI,
    "flask": FLASK, "django-wsgi": DJANGO_WSGI, "django-asgi": DJANGO_ASGI,
}  # fmt: skip


def run(code: str, **environ: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, check=False, env=environment(**environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("attributes", ["", "http"])
@pytest.mark.parametrize("name", APPS)
def test_lines_have_the_span_and_probes_have_none(name: str, attributes: str) -> None:
    pytest.importorskip(f"opentelemetry.instrumentation.{name.partition('-')[0]}")
    code = BEGIN + APPS[name] + END
    *lines, last = run(code, OTEL_SEMCONV_STABILITY_OPT_IN=attributes)
    ids = {name: span for name, kind, span in last["spans"] if kind == "INTERNAL"}
    [server] = [span for _, kind, span in last["spans"] if kind == "SERVER"]
    assert "of a check" not in ids
    working, summary = lines[-2:]
    assert (working["Type"], summary["Type"]) == ("app", "request.summary")
    for line, span in ((working, ids["inner"]), (summary, server)):
        fields = line["Fields"]
        assert (fields["trace_id"], fields["span_id"], fields["trace_flags"]) == (TRACE, span, "01")


def test_the_current_span_wins_over_the_requests_headers() -> None:
    """For Google Cloud, whose lines have the headers' trace without OpenTelemetry."""
    environ = {"DOCKERFLOW_LOG_FORMAT": "gcp", "GOOGLE_CLOUD_PROJECT": "p"}
    *lines, last = run(BEGIN + ASGI_OUTSIDE + END, **environ)
    ids = {name: span for name, kind, span in last["spans"]}
    [server] = [span for _, kind, span in last["spans"] if kind == "SERVER"]
    for line, span in ((lines[-2], ids["inner"]), (lines[-1], server)):
        assert {key: value for key, value in line.items() if "trace" in key or "span" in key} == {
            "logging.googleapis.com/trace": f"projects/p/traces/{TRACE}",
            "logging.googleapis.com/spanId": span,
            "logging.googleapis.com/trace_sampled": True,
        }


@pytest.fixture
def tracer() -> trace.Tracer:
    return TracerProvider(sampler=ALWAYS_OFF).get_tracer("tests")


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line)["Fields"] for line in capsys.readouterr().out.splitlines()]


def make_log(handler: logging.Handler) -> logging.Logger:
    log = logging.Logger("tests")
    log.addHandler(handler)
    return log


def test_without_a_span_nothing_is_added(
    tracer: trace.Tracer, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(MozlogHandler())
    log.info("before")
    with trace.use_span(trace.INVALID_SPAN):
        log.info("of no trace")
    with tracer.start_as_current_span("a"):
        log.info("own", extra={"trace_id": "of the app"})
        log.info("not sampled")
    before, invalid, own, line = lines_of(capsys)
    assert before == {"msg": "before"}
    assert invalid == {"msg": "of no trace"}
    assert own == {"msg": "own", "trace_id": "of the app"}
    assert (line["msg"], int(line["trace_flags"], 16) & 1) == ("not sampled", 0)


def test_a_record_that_is_passed_on_later_has_its_own_span_or_none(
    tracer: trace.Tracer, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = logging.handlers.MemoryHandler(1000, logging.CRITICAL, target=MozlogHandler())
    log = make_log(memory)

    def pass_on() -> None:
        with tracer.start_as_current_span("another"):
            memory.flush()

    for has_filter in (False, True):
        if has_filter:
            memory.addFilter(RequestIdLogFilter())
        with tracer.start_as_current_span("own") as span:
            log.info("m")
        thread = threading.Thread(target=pass_on)
        thread.start()
        thread.join()
        [line] = lines_of(capsys)
        own = f"{span.get_span_context().span_id:016x}"
        assert line.get("span_id") == (own if has_filter else None)


def test_a_handler_of_another_package_has_no_span_without_the_filter() -> None:
    record = logging.makeLogRecord({"msg": "m", "args": None})
    for formatter in (MozlogFormatter(), GoogleCloudFormatter()):
        assert "trace" not in formatter.format(record)


SERVER = trace.SpanKind.SERVER


@pytest.mark.parametrize(
    ("path", "is_kept"),
    [
        ("/__heartbeat__", False),
        ("/__lbheartbeat__/", False),
        ("/mount/__version__?x=1", False),
        ("/__error__", False),
        ("/__heartbeat__/ready", False),
        ("/", True),
        ("/heartbeat", True),
        ("/x__heartbeat__", True),
        ("/?next=/__heartbeat__", True),
    ],
)
@pytest.mark.parametrize("attribute", ["url.path", "http.target", "url.full", "http.url", None])
def test_which_spans_are_of_probes(path: str, is_kept: bool, attribute: str | None) -> None:
    name = "GET" if attribute else f"GET {path}"
    url = f"http://site.test{path}" if attribute in ("url.full", "http.url") else path
    attributes = {attribute: url} if attribute else {}
    assert is_sampled(traces_sampler(), name, SERVER, attributes) is is_kept
    assert is_sampled(traces_sampler(ALWAYS_OFF), name, SERVER, attributes) is False
    # A request to another app's endpoint is none of ours.
    assert is_sampled(traces_sampler(ALWAYS_ON), name, trace.SpanKind.CLIENT, attributes)


def is_sampled(sampler: Sampler, name: str, kind: Any, attributes: Any = None) -> bool:
    return sampler.should_sample(None, 2**128 - 1, name, kind, attributes).decision.is_sampled()


def test_a_rate_is_for_traces_that_begin_here() -> None:
    assert not is_sampled(traces_sampler(0.1), "GET /", SERVER)
    assert is_sampled(traces_sampler("1.0"), "GET /", SERVER)
    parent = trace.NonRecordingSpan(trace.SpanContext(1, 1, True, trace.TraceFlags(1)))
    context = trace.set_span_in_context(parent)
    result = traces_sampler(0.0).should_sample(context, 1, "GET /", SERVER, {})
    assert result.decision.is_sampled()
    with pytest.raises(ValueError):
        traces_sampler("x")


def test_the_environment_names_the_sampler() -> None:
    """As opentelemetry-instrument reads it."""
    code = """
from opentelemetry.sdk._configuration import _get_sampler, _import_sampler
print('"' + _import_sampler(_get_sampler()).get_description() + '"')
"""
    environ = {"OTEL_TRACES_SAMPLER": "dockerflow", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    assert run(code, **environ) == ["DockerflowProbes"]
