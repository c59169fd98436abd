#!/usr/bin/env bash
# Build the image, test the code and the app in it, and keep the logs. For any CI, and by hand:
#
#     pip install 'dockerflow-middleware[cli]'
#     examples/ci/build-and-test.sh --build-arg FRAMEWORK=flask
#
# Arguments go to `docker build`. From the environment:
#     IMAGE       the name of the image              links
#     DOCKERFILE  the Dockerfile                     Dockerfile.example
#     REPORTS     a folder for logs and JUnit files  reports
#     DOCKER      the engine's command               docker
#     CACHE       a folder that keeps the layers from one build to the next; none by default
#     SETTINGS    variables that the app needs, such as "DATABASE_URL=... NAME=VALUE"
#     BREAK       NAME=VALUE that breaks a backing service of the app
#     SLOW        a path that takes the app more than half a second
# What publish.sh needs is left, if all tests passed:
#     image-ARCHITECTURE.tar              the image
#     image-ARCHITECTURE.spdx.json        its bill of materials (SBOM)
#     image-ARCHITECTURE.provenance.json  where it comes from
set -euo pipefail

image=${IMAGE:-links}
dockerfile=${DOCKERFILE:-Dockerfile.example}
reports=${REPORTS:-reports}
docker=${DOCKER:-docker}
cache=${CACHE:-}
settings=${SETTINGS-DATABASE_URL=sqlite:////tmp/links.sqlite3}
break=${BREAK:-DATABASE_URL=postgresql://app:none@127.0.0.1:1/app}
slow=${SLOW:-/api/links?wait=2}
tests="tests-$$"
# Dependabot doesn't look here: replace these by hand.
syft=docker.io/anchore/syft:v1.52.0@sha256:500e2d872ac019436926e8322b4fc1f39441d94d21f6f4046c6ff29b30e8cb02
grype=docker.io/anchore/grype:v0.118.0@sha256:8a93fc48da96bd6ec5981279d099b69de11541dc68fdf222fb9161f8ff284af7

finish() {
    "$docker" rm --force "$tests" >/dev/null 2>&1 || true
}
mkdir -p "$reports"
trap finish EXIT

# What runs later can be found again: this knows the CI by its environment, else the git checkout.
dockerflow version write
dockerflow version check

# The image's labels have the same values.
version() {
    python3 -c 'import json, sys; print(json.load(open("version.json"))[sys.argv[1]])' "$1"
}
build=("$docker" build)
if [[ -n $cache ]]; then
    # Docker's own builder can't write a cache; this one can.
    "$docker" buildx inspect cached >/dev/null 2>&1 ||
        "$docker" buildx create --name cached --driver docker-container
    build=("$docker" buildx build --builder cached --load)
fi
build+=(--file "$dockerfile" --build-arg "DOCKERFLOW_SOURCE=$(version source)"
    --build-arg "DOCKERFLOW_VERSION=$(version version)" --build-arg "DOCKERFLOW_COMMIT=$(version commit)"
    --build-arg "DOCKERFLOW_BUILD=$(version build)" "$@")
first=("${build[@]}")
if [[ -n $cache ]]; then
    first+=(--cache-to "type=local,dest=$cache.new,mode=max")
    [[ ! -d $cache ]] || first+=(--cache-from "type=local,src=$cache")
fi
"${first[@]}" --tag "$image" . 2>&1 | tee "$reports/build.log"
if [[ -n $cache ]]; then
    rm -rf "$cache" # with the layers that nothing needs any more
    mv "$cache.new" "$cache"
fi
"${build[@]}" --target test --tag "$image-test" . 2>&1 | tee "$reports/build-test.log"

# The code, in the container.
code=0
"$docker" run --name "$tests" "$image-test" --junit-xml=/tmp/tests.xml tests || code=$?
"$docker" cp "$tests:/tmp/tests.xml" "$reports/tests.xml"
((code == 0)) || exit "$code"

# The app, in the container, with no more rights than it will have: once stopped in the middle of a
# request, once without its backing service. A rule that was not checked fails, too: what yours has
# no use for, such as DF115 without static files, goes after --ignore. The rules on deployment files
# (DF4) are for where those are; in the same repository, give them by --manifest instead.
verify=(dockerflow verify --format junit --fail-on not-checked --ignore DF4 --dockerfile "$dockerfile"
    --version-json version.json --image "$image" --run --read-only --wait 60 --grace 30
    --break "$break" --slow "$slow")
for setting in $settings; do
    verify+=(--env "$setting")
done
"${verify[@]}" | tee "$reports/dockerflow.xml"

# The bill of materials, and a scan of it, which fails for a severe vulnerability that has a fix.
name=image-$("$docker" image inspect --format '{{.Architecture}}' "$image")
"$docker" save --output "$name.tar" "$image"
"$docker" run --rm --volume "$PWD/$name.tar:/image.tar:ro" "$syft" scan docker-archive:/image.tar \
    --output spdx-json >"$name.spdx.json"
"$docker" run --rm --volume "$PWD/$name.spdx.json:/sbom.json:ro" "$grype" sbom:/sbom.json \
    --fail-on high --only-fixed | tee "$reports/scan.txt"

# The predicate of SLSA's provenance, https://slsa.dev/spec/v1.0/provenance
python3 - >"$name.provenance.json" <<'PYTHON'
import json
from urllib.parse import urlsplit

with open("version.json", encoding="utf-8") as file:
    version = json.load(file)
source, build = version["source"], urlsplit(version["build"])
definition = {
    "buildType": f"{source}/blob/{version['commit']}/examples/ci/build-and-test.sh",
    "externalParameters": {"source": source, "version": version["version"]},
    "resolvedDependencies": [{"uri": f"git+{source}", "digest": {"gitCommit": version["commit"]}}],
}
details = {
    "builder": {"id": f"{build.scheme}://{build.netloc}"},
    "metadata": {"invocationId": version["build"]},
}
print(json.dumps({"buildDefinition": definition, "runDetails": details}, indent=2))
PYTHON
