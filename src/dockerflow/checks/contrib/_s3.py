"""Storage with the interface of S3, by boto3."""

from __future__ import annotations

import functools
from typing import Any

from dockerflow import health
from dockerflow.checks.contrib._common import Check, fail, load, named
from dockerflow.checks.messages import CheckMessage


def s3(client: Any, bucket: str) -> Check:
    """Make a check that a bucket exists and is accessible, with a HEAD request.

    :param client: the app's own client, ``boto3.client("s3")``, with its timeouts and retries.
    :param bucket: the bucket's name.
    :returns: the check, to be registered. It gives ``dockerflow.health.E031`` when it can't
        connect, ``E032`` when there is no such bucket, ``E033`` when access is denied, ``E034``
        without usable credentials, and ``E035`` on any other error.
    :raises TypeError: when ``client`` isn't a client for S3.

    .. versionadded:: 0.1.0
    """
    if not callable(getattr(client, "head_bucket", None)):
        message = f'client must be boto3.client("s3"), not {type(client).__name__}'
        raise TypeError(message)
    return functools.partial(_s3, client, bucket)


_FORBIDDEN = ("Access to the bucket is denied.", health.ERROR_S3_FORBIDDEN)
_MISSING = ("The bucket doesn't exist.", health.ERROR_S3_NO_BUCKET)
_OTHER = ("The storage failed.", health.ERROR_S3_EXCEPTION)
_BY_STATUS = {401: _FORBIDDEN, 403: _FORBIDDEN, 404: _MISSING}


@named("s3")
def _s3(client: Any, bucket: str) -> CheckMessage | None:
    exc = load("botocore.exceptions", "s3")
    try:
        client.head_bucket(Bucket=bucket)
    except exc.ClientError as error:
        # The response to a HEAD has no body, so only the status shows the cause.
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return fail(*_BY_STATUS.get(status, _OTHER), error)
    except (exc.NoCredentialsError, exc.PartialCredentialsError, exc.CredentialRetrievalError,
            exc.TokenRetrievalError) as error:  # fmt: skip
        return fail("There are no credentials.", health.ERROR_S3_NO_CREDENTIALS, error)
    except (exc.HTTPClientError, exc.ConnectionError) as error:
        return fail("Could not connect to the storage.", health.ERROR_CANNOT_CONNECT_S3, error)
    except exc.BotoCoreError as error:
        return fail(*_OTHER, error)
    return None
