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
#     DOCKER      the engine's command               docker
#     BREAK       NAME=VALUE that breaks a backing service of the app
#     SLOW        a path that the app takes more than half a second to answer
# The image that passed is saved as image.tar, for whoever publishes it.
set -euo pipefail

image=${IMAGE:-links}
dockerfile=${DOCKERFILE:-Dockerfile.example}
reports=${REPORTS:-reports}
docker=${DOCKER:-docker}
break=${BREAK:-DATABASE_URL=postgresql://app:none@127.0.0.1:1/app}
slow=${SLOW:-/api/links?wait=2}
tests="tests-$$"

finish() {
    "$docker" rm --force "$tests" >/dev/null 2>&1 || true
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
"$docker" run --name "$tests" "$image-test" --junit-xml=/tmp/tests.xml tests || code=$?
"$docker" cp "$tests:/tmp/tests.xml" "$reports/tests.xml"
((code == 0)) || exit "$code"

# The app, in the container, with no more rights than it will have: once stopped in the middle of a
# request, once without its backing service. A rule that was not checked fails, too: what yours has
# no use for, such as DF115 without static files, goes after --ignore. The rules on deployment files
# (DF4) are for where those are; in the same repository, give them by --manifest instead.
dockerflow verify --format junit --fail-on not-checked --ignore DF4 --dockerfile "$dockerfile" \
    --version-json version.json --image "$image" --run --read-only --wait 60 --grace 30 \
    --break "$break" --slow "$slow" | tee "$reports/dockerflow.xml"

"$docker" save --output image.tar "$image"
