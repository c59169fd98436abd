"""Which difference belongs to which row of docs/migrating.md, in the order of the rows.

A pattern is the path of an observation, with wildcards, and usually both values. A difference that
no pattern matches fails the test, as does a pattern that matches none.
"""

from .compare import ABSENT, ANY

# Summaries are observed by their numbers, other records by their messages.
SUMMARY = "*summary/[0-9]"
NAMES = "names/modules/observed"
VALUES = "logs/values/observed"

DIFFERENCES = {
    "checks-together": [
        "flask_app/checks_in_time/observed/together/*",
    ],
    "checks-timeout": ["flask_app/checks_in_time/observed/slow/*"],
    "checks-shared": [
        ("flask_app/checks_in_time/observed/runs of three probes", "three", "fewer"),
    ],
    "check-raises": [
        "checks/unusual_results/observed/raises/*",
        "flask_app/checks_need_the_application/observed/raises/*",
    ],
    "check-nonsense": [
        "checks/unusual_results/observed/text/*",
        "checks/unusual_results/observed/number/*",
        "checks/unusual_results/observed/a message that isn't a text/*",
    ],
    "check-results": [
        "checks/unusual_results/observed/None/result/*",
        "checks/unusual_results/observed/one message/*",
        "checks/unusual_results/observed/generator/*",
    ],
    "check-async": [
        "checks/runs/observed/async check without a loop/*",
        "flask_app/checks_need_the_application/observed/with async/*",
    ],
    "message-ids": [
        "checks/unusual_results/observed/twice/result/*",
        "checks/unusual_results/observed/two without id/*/messages/*#2",
    ],
    "message-without-id": [
        "checks/unusual_results/observed/no id/*",
        "checks/unusual_results/observed/two without id/*",
    ],
    "check-texts": [
        "flask_app/*_checks/observed/*/msg",
        "sanic_app/*_checks/observed/*/msg",
        "flask_app/*/details/check_*/messages/*",
    ],
    "check-errors": [
        ("flask_app/database_checks/observed/migrations, ValueError/raised", "ValueError", ABSENT),
        ("flask_app/database_checks/observed/migrations, ValueError/0", ABSENT, ANY),
    ],
    "sanic-ping": [
        ("sanic_app/redis_checks/observed/other", ANY, []),
        ("sanic_app/redis_checks/observed/true", ANY, []),
    ],
    "django-texts": [
        "django_app/*_checks/observed/*/msg",
        "django_app/*_checks/observed/*/hint",
        "django_app/*/details/check_*/messages/*",
    ],
    "django-clients": [
        ("django_app/redis_checks/observed/*Error*/raised", ANY, ABSENT),
        ("django_app/redis_checks/observed/*Error*/0", ABSENT, ANY),
        ("django_app/database_checks/observed/*patched, ProgrammingError/raised", ANY, ABSENT),
        ("django_app/database_checks/observed/*patched, ProgrammingError/0", ABSENT, ANY),
    ],
    "check-log": [
        ("*/records/dockerflow.checks.registry*", ANY, ABSENT),
        ("*/records/dockerflow.checks.registry*", ABSENT, ANY),
        "checks/debug_records/observed/*/dockerflow.checks.registry",
    ],
    "loggers-enabled": ["flask_app/logging_configured_first/observed/types"],
    "added-twice": [("sanic_app/added_twice/observed/again/raised", "RouteExists", "ValueError")],
    "name-twice": [("checks/registering_again/records", ABSENT, ANY)],
    "get-checks": [("checks/registering/observed/the same each time", True, False)],
    "register-returns": [
        ("checks/registering/observed/returned", False, True),
        ("checks/registering/observed/wrapped", True, ANY),
        "checks/registering/observed/a partial without a name",
    ],
    "message-without-level": [
        "checks/messages/observed/level as text*",
        "checks/messages/observed/level 0*",
        "checks/messages/observed/without level/raised",
    ],
    "flask-messages": ["checks/flask_messages_module/observed/warned"],
    "no-store": [("*/headers/cache-control", ABSENT, "no-store")],
    "server-timing": [("*/headers/server-timing", ABSENT, ANY)],
    "methods": [
        "*/observed/HEAD |__*/response/*",
        "*/observed/POST |__*/response/*",
        "*/observed/OPTIONS |__*/response/*",
        "*/observed/post |__*/response/*",
        "*/observed/options |__*/response/*",
        "sanic_app/*/observed/HEAD |__*",
        ("fastapi_app/*/observed/HEAD |__version__/*/code", 405, 200),
        "sanic_app/*/observed/POST |__*",
        "django_app/*/observed/post |__*",
        "django_app/*/observed/options |__*",
        "sanic_app/endpoints/observed/routes/*",
    ],
    "slash": ["*/observed/GET |__*__|/*"],
    "lbheartbeat-type": [
        ("*lbheartbeat*/headers/content-type", ANY, "text/plain; charset=utf-8"),
        ("*/factories/observed/later/headers/content-type", ANY, "text/plain; charset=utf-8"),
        ("*/unknown host/*/headers/content-type", ANY, "text/plain; charset=utf-8"),
        ("*/before CommonMiddleware/*/headers/content-type", ANY, "text/plain; charset=utf-8"),
    ],
    "content-length": [("*/headers/content-length", ABSENT, "<present>")],
    "first": [
        "*/hooks_of_the_app/observed/|__*__/called",
        "*/hooks_of_the_app/*/headers/x-app",
        ("flask_app/summaries_of_probes/observed/|__*__/response/headers/vary", "Cookie", ABSENT),
    ],
    "probe-summaries": [
        (
            "flask_app/summaries_of_probes/observed/|__*__/records/request.summary/0/fields/uid",
            "5",
            "",
        ),
        (
            "flask_app/summaries_of_probes/observed/|__*__/records/request.summary/0/fields/asked",
            "1",
            ABSENT,
        ),
        (
            "flask_app/summaries_of_probes/observed/|__lb*__/records/request.summary/0/fields/host",
            ANY,
            ABSENT,
        ),
    ],
    "heartbeat-text": ["*_app/endpoints/observed/text"],
    "version-bytes": [
        "django_app/hooks_by_hand/observed/|__version__*/body",
    ],
    "django-views": [
        ("django_app/*/type", "<JsonResponse>", "<HttpResponse>"),
        ("django_app/views_by_hand/observed/error/response/raised", "Exception", "RuntimeError"),
    ],
    "version-missing": [
        "*/without_a_version/observed/*/headers/content-type",
        "*/without_a_version/observed/*/body",
        "*/versions/observed/*missing/*",
        "*/versions/observed/*None/*",
        ("*/records/dockerflow", ABSENT, ANY),
    ],
    "version-beside": ["flask_app/version_path/observed/beside/*"],
    "version-broken": [
        "*/observed/not JSON/*",
        "flask_app/version_replaced_and_patched/observed/raises/*",
    ],
    "version-function": [
        "*/observed/get_version, after/version",
        "fastapi_app/versions/observed/patched in version/*",
    ],
    "version-callback": [("*/observed/decorated", None, "<function>")],
    "error-endpoint": [
        "*/error_endpoint/observed/off/*",
        "sanic_app/error_endpoint/observed/on, set later/*",
        "fastapi_app/without_middlewares/observed/|__error__/*",
        "fastapi_app/views_on_own_routes/observed/error/*",
        f"{NAMES}/django.middleware/own/DockerflowMiddleware/attributes/viewpatterns/*",
    ],
    "error-exception": [
        (f"{SUMMARY}/message", "*test exception*", "*: The __error__ endpoint was called"),
        ("*/exception", "Exception", "RuntimeError"),
    ],
    "django-checks": [
        "django_app/default_heartbeat/observed/*/response/body/checks/*",
        "django_app/dockerflow_checks_beside/*",
        (
            "django_app/default_heartbeat/observed/without DEBUG/response/body/status",
            "warning",
            "ok",
        ),
    ],
    "django-live": [
        "django_app/endpoints/observed/*set later",
        "django_app/versions/observed/set later/*",
    ],
    "django-404": [
        "django_app/summaries/observed/raised 404/records/request.summary/0/*",
        "django_app/summaries/observed/forbidden/records/request.summary/0/*",
    ],
    "django-user": [
        "django_app/users/observed/lazy, not used by the view/*/uid",
        ("django_app/users/observed/loads", 1, 0),
        "django_app/users/observed/None/*",
        ("django_app/users/observed/zero/request.summary/0/fields/uid", "", 0),
    ],
    "registries": ["flask_app/registry_of_one_app/observed/heartbeat*"],
    "id-reset": [
        ("*/observed/after the request", ANY, None),
        ("django_app/*/fields/rid", None, "given"),
    ],
    "django-connection": [
        "django_app/broken_database_in_the_heartbeat/observed/its method patched/*",
        (
            "django_app/uncommitted/observed/in the transaction/details/counted/messages/app.I001",
            "1 groups",
            "0 groups",
        ),
    ],
    "django-patched": [
        ("django_app/views_by_hand/observed/extract_request_id replaced", ["own"], ["given"]),
        ("django_app/views_by_hand/observed/checks", True, False),
    ],
    "django-probes": [
        "django_app/subclassed/observed/Whole/|__lbheartbeat__/*/fields/*",
        ("django_app/*/fields/t", ABSENT, "<int>"),
        "django_app/error_endpoint/observed/on/records/request.summary",
    ],
    "id-header-case": [
        "logs/request_ids/observed/other case*",
        "fastapi_app/ids/observed/other header, in capitals/*",
    ],
    "id-several": ["flask_app/ids/observed/several headers/*"],
    "id-checked": [
        ("logs/request_ids/observed/*", ANY, "<uuid>"),
        ("*/ids/observed/odd/*", "a b", "<uuid>"),
        ("*/ids_of_requests/observed/odd/*", "a b", "<uuid>"),
    ],
    "id-echoed": [
        ("*/headers/x-request-id", ABSENT, ANY),
        ("*/other header*/headers/x-trace", ABSENT, "t"),
    ],
    "id-on-records": [
        ("*/records/django.request/*/fields/rid", ABSENT, "given"),
        ("logs/helpers/observed/filter replaces", "abc", "own"),
        ("logs/helpers/observed/filter by name", True, False),
    ],
    "id-alone": [
        ("fastapi_app/middlewares/*/rid", None, "given"),
        ("fastapi_app/middlewares/*/body/id", None, "given"),
        ("fastapi_app/by_hand/*/rid", None, "<uuid>"),
    ],
    "summary-once": [
        ("fastapi_app/handlers/observed/after two apps", 2, 1),
        ("fastapi_app/printed/observed/mozlog", [["request.summary", "/", "given"]], []),
        ("fastapi_app/mozlog/*/Logger", "Dockerflow", "app"),
    ],
    "summary-outside": [
        "fastapi_app/by_hand/observed/without app in the scope, *",
        "fastapi_app/by_hand/observed/no response, *",
    ],
    "summary-fields": [
        (f"{SUMMARY}/fields/code", ABSENT, ANY),
        (f"{SUMMARY}/fields/uid", ABSENT, ""),
        (f"fastapi_app{SUMMARY}/fields/errno", ABSENT, ANY),
        ("fastapi_app/*/app.replaced/0/fields/errno", ABSENT, 0),
        ("fastapi_app/*/app.replaced/0/fields/uid", ABSENT, ""),
        (f"fastapi_app{SUMMARY}/fields/lang", None, ""),
        ("*/mozlog/*/Fields/code", ABSENT, ANY),
        ("*/mozlog/*/Fields/uid", ABSENT, ""),
        ("fastapi_app/mozlog/*/Fields/errno", ABSENT, ANY),
        (f"{SUMMARY}/fields/t", ABSENT, "<int>"),
        ("*/t", ABSENT, "<int>"),
    ],
    "summary-message": [
        (f"{SUMMARY}/message", "", "* <n> ms"),
        (f"{SUMMARY}/message", ANY, "* 500 <n> ms: *"),
        ("*/app.replaced/0/message", "", "* <n> ms"),
        (f"{SUMMARY}/fields/summary_error", ABSENT, ANY),
    ],
    "summary-code": [("*/subclassed/*/fields/code", 1, ANY)],
    "sanic-404": [
        (f"sanic_app{SUMMARY}/level", "ERROR", "INFO"),
        (f"sanic_app{SUMMARY}/message", "?*", "* <n> ms"),
        (f"sanic_app{SUMMARY}/fields/errno", 500, 0),
        (f"sanic_app{SUMMARY}/exception", ANY, None),
        ("sanic_app/mozlog/*/Fields/error", ANY, ABSENT),
        ("sanic_app/mozlog/*/Fields/traceback", ANY, ABSENT),
    ],
    "fastapi-errors": [
        (f"fastapi_app{SUMMARY}/level", "INFO", "ERROR"),
        ("fastapi_app/mozlog/*/Severity", 6, 3),
        ("fastapi_app/mozlog/*/Fields/msg", ABSENT, "no"),
    ],
    "trapped-errors": [
        ("flask_app/connexion/observed/*/records/request.summary/0/level", "ERROR", "INFO"),
        ("flask_app/connexion/observed/*/records/request.summary/0/message", "?*", "* <n> ms"),
        ("flask_app/connexion/observed/*/records/request.summary/0/fields/errno", 500, 0),
    ],
    "user-unsaved": [("flask_app/users/*/unsaved/*/uid", "None", "")],
    "django-errno": [(f"django_app{SUMMARY}/fields/errno", 0, ANY)],
    "summary-errno": [(f"{SUMMARY}/fields/errno", 0, ANY)],
    "summary-own-errno": [
        ("flask_app/subclassed/observed/raises/records/request.summary/0/fields/errno", 500, 7),
    ],
    "summary-path": [("*/mounted/records/request.summary/0/fields/path", "/", "/mounted/")],
    "summary-stream": ["*, not closed/request.summary"],
    "summary-time": [("flask_app/clock_set_back/observed/negative", [True], [False])],
    "querystring-decoded": [
        ("flask_app/summaries/*/fields/querystring", "a=1&b=%C3%BC+x&c=%2F", "a=1&b=ü+x&c=/"),
        ("flask_app/summaries/*/fields/querystring", "a=%ff", "a=\ufffd"),
    ],
    "querystring": [("*/fields/querystring", "password=x&a=1", "password=[redacted]&a=1")],
    "contained": [
        ("flask_app/parts_that_fail/observed/*", ANY, 200),
        "flask_app/users/observed/broken/records/dockerflow.flask",
    ],
    "settings": ["flask_app/wrong_settings/*", "django_app/system_checks/observed/unknown/raised"],
    "django-system-checks": ["django_app/system_checks/observed/registered at start"],
    "environment": ["flask_app/environment/observed/request.summary/0/fields/querystring"],
    "log-nested": [f"{VALUES}/nested dict/*"],
    "log-null": [
        f"{VALUES}/none/*",
        ("logs/messages/observed/field rid/Fields/rid", None, ABSENT),
    ],
    "log-arrays": [
        f"{VALUES}/{value}/*"
        for value in ("empty list", "empty dict", "mixed list", "list with none", "list of dicts")
    ],
    "log-values": [
        f"{VALUES}/{value}/*"
        for value in ("set", "bytes", "uuid", "date", "datetime", "timedelta", "decimal")
    ],
    "log-nan": [f"{VALUES}/{value}/*" for value in ("NaN", "infinity", "large number")],
    "log-keys": [f"{VALUES}/dict with a tuple as key/*"],
    "log-levels": [
        ("logs/messages/observed/level 25/Severity", 7, 5),
        ("logs/messages/observed/level 60/Severity", 7, 2),
        ("logs/subclasses/observed/settings, other level/severity", 1, 5),
    ],
    "log-jsonlike": [
        ("logs/messages/observed/JSON/Fields/msg", ABSENT, '{"a": 1}'),
        ("logs/messages/observed/a dict/Fields/msg", ABSENT, "{'a': 1}"),
    ],
    "log-required": [
        ("logs/messages/observed/empty/Fields", {}, ABSENT),
        ("logs/subclasses/observed/convert_record alone/Timestamp", ABSENT, "<int>"),
        ("logs/subclasses/observed/convert_record gives None", None, ANY),
    ],
    "log-traceback": [
        "logs/messages/observed/*/Fields/traceback",
        "logs/helpers/observed/traceback",
        ("logs/messages/observed/*/Fields/error", "None", ABSENT),
    ],
    "log-stack": [("logs/messages/observed/stack/Fields/stack", ABSENT, ANY)],
    "log-clash": [("logs/messages/observed/field error/Fields/error_", ABSENT, "mine")],
    "log-text": [
        ("logs/text_of_a_line/observed/ASCII", True, False),
        ("logs/text_of_a_line/observed/spaces", True, False),
    ],
    "log-context": [("logs/dict_config/observed/handler/0/Fields/rid", ABSENT, "abc")],
    "encoder": ["logs/helpers/observed/encoder"],
    "logger-name": [
        ("logs/subclasses/observed/class attribute", "Dockerflow", "of the class"),
        (
            f"{NAMES}/logging/own/MozlogFormatter/parameters/3",
            "logger_name='Dockerflow'",
            "logger_name=None",
        ),
    ],
    "extension-logger": [
        ("flask_app/loggers/observed/logger", ["dockerflow.flask", 20], ["dockerflow.flask", 0]),
        ("sanic_app/loggers/observed/logger", ["dockerflow.sanic", 20], ["dockerflow.sanic", 0]),
        ("*/loggers/observed/handlers", ["NullHandler"], []),
    ],
    "extension-arguments": [
        (f"{NAMES}/*/own/Dockerflow*/parameters/[*]*", ANY, ABSENT),
    ],
    "several-apps": [
        ("flask_app/factories/observed/twice on one app/raised", "AssertionError", "ValueError"),
        "flask_app/factories/observed/one extension for two apps/*",
    ],
    "heartbeat-failure": [
        ("flask_app/hooks_of_the_app/observed/handler of HeartbeatFailure", 555, 500),
    ],
    "sanic-hooks": ["sanic_app/patched/observed/middleware by hand/request.summary"],
    "fastapi-views": [
        (f"{NAMES}/fastapi*/own/*/kind", "function", "coroutine function"),
        (f"{NAMES}/fastapi*/own/heartbeat/parameters/1", "response", ABSENT),
        "fastapi_app/views_on_own_routes/observed/* called*",
        ("fastapi_app/views_on_own_routes/observed/status set", 500, 200),
        ("fastapi_app/views_on_own_routes/records*", ANY, ABSENT),
    ],
    "fastapi-format": [
        "fastapi_app/middlewares/observed/_format overridden/records/request.summary/0/fields/added",
    ],
    "fastapi-schema": [
        ("fastapi_app/routes/observed/openapi/*/head", ANY, ABSENT),
        ("fastapi_app/routes/observed/openapi/|__error__", ANY, ABSENT),
        ("fastapi_app/routes/observed/tags", ["Dockerflow"], []),
    ],
    "fastapi-routes": ["fastapi_app/routes/observed/routes/*"],
    "django-names": [(f"{NAMES}/django*/imported/*", ANY, ABSENT)],
    "names-gone": [
        (f"{NAMES}/*/imported/*", ANY, ABSENT),
        (f"{NAMES}/flask.app/own/has_flask_login", True, ABSENT),
        (f"{NAMES}/*/own/get_or_generate_request_id", ANY, ABSENT),
    ],
    "results-class": [
        ("checks/runs/observed/type", "ChecksResults", "CheckResults"),
        "checks/runs/observed/as a dictionary/*",
    ],
    "get-checks-replaced": ["*_app/patched/observed/get_checks/*"],
    "excluded-attributes": [f"{NAMES}/logging/own/*/attributes/EXCLUDED_LOGRECORD_ATTRS/set"],
    "names-new": [
        (f"{NAMES}/*/attributes/summary_extra/parameters/0", "request", "request=None"),
        (f"{NAMES}/*", ABSENT, ANY),
    ],
}
