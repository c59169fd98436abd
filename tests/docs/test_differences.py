"""Each difference from python-dockerflow that migrating.md lists is observed or held by a test.

compat/test_side_by_side.py observes those in its rules; these tests hold what is here, by name.
"""

from __future__ import annotations

import pages
import pytest
from compat.side_by_side import rules

HELD_BY = {
    "checks-together": "contract/test_endpoints.py::test_sync_and_async_checks_run_at_the_same_time",
    "checks-timeout": "contract/test_endpoints.py::test_hung_and_raising_checks_are_contained",
    "checks-shared": "core/test_check_running.py::test_100_probes_run_each_check_of_a_chain_once",
    "check-raises": "contract/test_endpoints.py::test_hung_and_raising_checks_are_contained",
    "check-nonsense": "core/test_check_results.py::test_nonsense",
    "check-async": "contract/test_endpoints.py::test_sync_and_async_checks_run_at_the_same_time",
    "message-ids": "contract/test_endpoints.py::test_the_heartbeats_payload_is_the_same_everywhere",
    "name-twice": ("core/test_check_registering.py::test_another_function_replaces_with_a_warning"),
    "register-arguments": (
        "core/test_check_registering.py::test_a_check_that_needs_arguments_is_refused"
    ),
    "get-checks": (
        "core/test_check_registering.py::test_changing_what_get_checks_returns_changes_the_registry"
    ),
    "check-log": (
        "core/test_check_log.py::test_a_line_when_it_changes_and_one_a_minute_while_it_lasts"
    ),
    "message-without-id": "core/test_check_results.py::test_log_without_id",
    "message-without-level": "core/test_messages.py::test_level_must_be_a_number",
    "check-texts": "contrib/test_factories.py::test_an_error_is_logged_with_its_traceback",
    "server-timing": "core/test_endpoints.py::test_server_timing",
    "methods": "contract/test_endpoints.py::test_other_methods_are_refused",
    "slash": "contract/test_endpoints.py::test_a_slash_at_the_end_and_mounts",
    "no-store": "contract/test_endpoints.py::test_the_three_endpoints",
    "first": "integrations/test_flask.py::test_the_apps_hooks_do_not_run_for_probes",
    "version-bytes": "contract/test_endpoints.py::test_the_three_endpoints",
    "version-missing": (
        "contract/test_endpoints.py::test_version_is_missing_then_there_then_changed"
    ),
    "version-beside": (
        "integrations/test_flask.py::test_a_single_module_has_its_version_beside_itself"
    ),
    "version-broken": "contract/test_endpoints.py::test_a_broken_version_file",
    "error-endpoint": "contract/test_endpoints.py::test_the_error_endpoint",
    "lbheartbeat-type": "contract/test_endpoints.py::test_the_three_endpoints",
    "several-apps": "integrations/test_flask.py::test_one_extension_for_several_apps",
    "extension-logger": "compat/test_flask.py::test_extension",
    "extension-arguments": "compat/test_flask.py::test_signatures",
    "version-callback": "compat/test_flask.py::test_version_callback",
    "heartbeat-failure": "compat/test_flask.py::test_a_failing_heartbeat_raises_nothing",
    "names-gone": "compat/test_flask.py::test_names_that_are_gone",
    "sanic-hooks": "compat/test_sanic.py::test_middlewares_called_by_hand_log_nothing",
    "sanic-404": "compat/test_sanic.py::test_summaries_of_errors",
    "fastapi-views": "compat/test_fastapi.py::test_views_by_hand_return_responses",
    "fastapi-format": "compat/test_fastapi.py::test_names",
    "fastapi-schema": "compat/test_fastapi.py::test_the_schema",
    "fastapi-routes": "compat/test_fastapi.py::test_names",
    "fastapi-errors": "compat/test_fastapi.py::test_an_exception_is_an_error",
    "trapped-errors": "compat/test_flask.py::test_http_exceptions_that_escape",
    "user-unsaved": "compat/test_flask.py::test_user_id",
    "django-checks": "integrations/test_django.py::test_a_setting_brings_the_system_checks_back",
    "django-live": "integrations/test_django_surroundings.py::test_system_checks_come_and_go",
    "django-404": "compat/test_django.py::test_process_exception_of_a_404_is_none",
    "django-user": "integrations/test_django.py::test_the_user_is_never_loaded",
    "django-errno": "compat/test_django.py::test_process_response_of_an_errors_response",
    "django-connection": "compat/test_django.py::test_a_replaced_connection_in_the_heartbeat",
    "django-clients": "compat/test_django.py::test_redis_without_its_client",
    "django-views": "compat/test_django.py::test_the_views_alone",
    "django-names": "compat/test_django.py::test_names_that_are_gone",
    "django-patched": "compat/test_django.py::test_what_tests_replace",
    "types": "project/test_packaging.py::test_wheel_has_the_package_and_nothing_else",
    "probe-summaries": (
        "compat/test_flask.py::test_summaries_of_probes_have_the_standard_fields_only"
    ),
    "registries": "integrations/test_flask.py::test_two_apps_with_registries_of_their_own",
    "id-reset": "core/test_wsgi.py::test_10_000_requests_on_reused_threads_never_swap_ids",
    "id-header-case": "core/test_asgi.py::test_header_names_are_read_in_any_case",
    "id-several": "core/test_request_id.py::test_the_first_acceptable_header_counts",
    "id-checked": "contract/test_requests.py::test_request_ids_are_echoed_made_or_replaced",
    "id-echoed": "contract/test_requests.py::test_the_first_configured_header_is_echoed",
    "summary-once": "compat/test_fastapi.py::test_the_middlewares_in_any_order",
    "summary-outside": "core/test_asgi.py::test_a_client_gone_before_the_status",
    "summary-fields": "contract/test_requests.py::test_one_summary_with_the_same_fields_everywhere",
    "summary-message": "core/test_summary.py::test_the_record_of_a_summary",
    "summary-code": "core/test_asgi.py::test_the_app_adds_fields_and_cannot_fake_the_code",
    "summary-stream": "contract/test_requests.py::test_streams_and_bodies_arrive_whole",
    "summary-time": "contract/test_requests.py::test_durations_are_of_the_monotonic_clock",
    "querystring": "core/test_summary.py::test_redact",
    "log-span": "integrations/test_traces.py::test_lines_have_the_span_and_probes_have_none",
    "log-context": "core/test_logging_formats.py::test_request_and_user_on_every_line",
    "log-nested": "core/test_logging_mozlog.py::test_field",
    "log-null": "core/test_logging_mozlog.py::test_no_fields",
    "log-arrays": "core/test_logging_mozlog.py::test_field",
    "log-values": "core/test_logging_mozlog.py::test_field",
    "log-nan": "core/test_logging_mozlog.py::test_huge_integer",
    "log-levels": "core/test_logging_mozlog.py::test_severity",
    "log-jsonlike": "core/test_logging_mozlog.py::test_jsonlike",
    "log-traceback": "core/test_logging_mozlog.py::test_chain_notes_and_groups",
    "log-stack": "core/test_logging_mozlog.py::test_stack",
    "log-text": "core/test_logging_formats.py::test_json_has_nothing_that_a_terminal_obeys",
    "contained": "core/test_wsgi.py::test_broken_logging_does_not_break_the_app",
    "settings": "core/test_config.py::test_wrong_environment",
    "environment": (
        "core/test_settings.py::test_given_wins_over_settings_over_environment_over_defaults"
    ),
}


def table() -> list[list[str]]:
    page = pages.DOCS / "migrating.md"
    return pages.rows(pages.between(page.read_text(encoding="utf-8"), "differences")[1])


def test_each_difference_is_observed_or_held_by_a_test():
    ids = [row[0] for row in table()]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(HELD_BY) | set(rules.DIFFERENCES)


@pytest.mark.parametrize("difference", HELD_BY)
def test_the_test_is_there(difference):
    assert pages.is_test(HELD_BY[difference]), HELD_BY[difference]


def test_each_row_says_what_is_different():
    for row in table():
        _, where, before, here = row
        assert where, row
        assert before, row
        assert here, row
        assert before != here, row


def test_the_readmes_comparison_is_of_these_differences():
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    known = [row[0] for row in table()]
    rows = pages.rows(pages.between(readme, "comparison")[1])
    assert len(rows) > 5
    for _, before, here, ids in rows:
        assert before, ids
        assert here, ids
        assert {name.strip("`") for name in ids.split(", ")} <= set(known)
