#!/usr/bin/env bash
# Build the image, test the code and the app in it, and keep what was said. For any CI, and by hand:
#
#     pip install 'dockerflow-middleware[cli]'
#     examples/ci/build-and-test.sh --build-arg FRAMEWORK=flask
#
# Arguments go to `docker build`. From the environment:
#     IMAGE       the name of the image              links
#     DOCKERFILE  the Dockerfile                     Dockerfile.example
#     REPORTS     a folder for logs and JUnit files  reports
#     PORT        where the app listens              8000
#     DOCKER      the engine's command               docker
# The image that passed is saved as image.tar, for whoever publishes it.
set -euo pipefail

image=${IMAGE:-links}
dockerfile=${DOCKERFILE:-Dockerfile.example}
reports=${REPORTS:-reports}
port=${PORT:-8000}
docker=${DOCKER:-docker}
containers=("tests-$$" "app-$$")

finish() {
    "$docker" logs "${containers[1]}" >"$reports/app.log" 2>&1 || true
    "$docker" rm --force "${containers[@]}" >/dev/null 2>&1 || true
}
mkdir -p "$reports"
trap finish EXIT

# What runs later can be found again: it knows the CI by its environment, else the git checkout.
dockerflow version write
dockerflow version check

"$docker" build --file "$dockerfile" "$@" --tag "$image" . 2>&1 | tee "$reports/build.log"
"$docker" build --file "$dockerfile" "$@" --target test --tag "$image-test" . 2>&1 |
    tee "$reports/build-test.log"

# The code, in the container.
code=0
"$docker" run --name "${containers[0]}" "$image-test" --junit-xml=/tmp/tests.xml tests || code=$?
"$docker" cp "${containers[0]}:/tmp/tests.xml" "$reports/tests.xml"
((code == 0)) || exit "$code"

# The app, in the container, with no more rights than it will have.
"$docker" run --detach --name "${containers[1]}" --read-only --tmpfs /tmp --cap-drop ALL \
    --security-opt no-new-privileges --env PORT="$port" --publish "127.0.0.1:$port:$port" "$image"
dockerflow healthcheck --port "$port" --wait 60 /__heartbeat__
dockerflow verify --format junit --fail-on warning --dockerfile "$dockerfile" --image "$image" \
    --version-json version.json "http://127.0.0.1:$port" | tee "$reports/dockerflow.xml"
"$docker" stop -t 30 "${containers[1]}"
"$docker" logs "${containers[1]}" >"$reports/app.log" 2>&1
dockerflow verify --format junit --fail-on warning --logs "$reports/app.log" |
    tee "$reports/logs.xml"

"$docker" save --output image.tar "$image"
