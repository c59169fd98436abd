#!/usr/bin/env bash
# Publish the image that was tested, which is in image.tar. From the environment:
#     IMAGE              its name in image.tar  links
#     TARGET             where to, such as docker.io/example/links
#                        or europe-west1-docker.pkg.dev/project/repository/links
#     TAGS               one or several, such as "v1.2.3 latest"
#     REGISTRY_USER      for Google Artifact Registry oauth2accesstoken
#     REGISTRY_PASSWORD  a password or a token, which is no argument of any command and never printed
#     DOCKER             the engine's command   docker
set -euo pipefail
set +x # whatever the caller had set: what is expanded below is a secret

image=${IMAGE:-links}
docker=${DOCKER:-docker}
registry=${TARGET:?names where the image goes}
registry=${registry%%/*}
read -ra tags <<<"${TAGS:?names one tag at least}"

# The credentials are in a folder of their own, which is gone with this script.
DOCKER_CONFIG=$(mktemp -d)
export DOCKER_CONFIG
trap 'rm -rf "$DOCKER_CONFIG"' EXIT

printf '%s' "${REGISTRY_PASSWORD:?is empty: is this job allowed to have it?}" |
    "$docker" login --username "${REGISTRY_USER:?is empty}" --password-stdin "$registry"
"$docker" load --input image.tar
for tag in "${tags[@]}"; do
    "$docker" tag "$image" "$TARGET:$tag"
    "$docker" push "$TARGET:$tag"
done
