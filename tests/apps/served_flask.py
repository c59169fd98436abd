"""What tests/servers/ serves of Flask."""

import os

from flask import Flask, Response, request, stream_with_context

from apps import BROKEN, CHUNKS, served
from dockerflow.flask import Dockerflow

wsgi = Flask(__name__)
Dockerflow(wsgi)


@wsgi.get("/")
def root() -> str:
    served.log.info("/")
    return str(os.getpid())


@wsgi.get("/fail")
def fail() -> str:
    raise ValueError(BROKEN)


@wsgi.get("/stream")
def stream() -> Response:
    return Response(stream_with_context(served.stream("/stream", CHUNKS)))


@wsgi.post("/upload")
def upload() -> str:
    served.log.info("/upload")
    request.get_data()
    return ""


@wsgi.get("/endless")
def endless() -> Response:
    return Response(stream_with_context(served.endless()), 206)
