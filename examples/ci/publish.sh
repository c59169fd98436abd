#!/usr/bin/env bash
# Publish the images that were tested, one for each architecture, under the same tags, and sign them.
# They are in image-*.tar, with their bills of materials and provenance. From the environment:
#     IMAGE               their name in these files  links
#     TARGET              where to, such as docker.io/example/links
#                         or europe-west1-docker.pkg.dev/project/repository/links
#     TAGS                one or several, such as "v1.2.3 latest"
#     REGISTRY_USER       for Google Artifact Registry oauth2accesstoken
#     REGISTRY_PASSWORD   a password or a token, which is no argument of any command and never printed
#     DOCKER              the engine's command       docker
# What signs is one of
#     ACTIONS_ID_TOKEN_REQUEST_URL, ACTIONS_ID_TOKEN_REQUEST_TOKEN   GitHub sets them
#     SIGSTORE_ID_TOKEN                                an OIDC token whose audience is sigstore
#     COSIGN_PRIVATE_KEY, COSIGN_PASSWORD              a key of `cosign generate-key-pair`
set -euo pipefail
set +x # even if the caller has set it: secrets are expanded below

image=${IMAGE:-links}
docker=${DOCKER:-docker}
registry=${TARGET:?names where the image goes}
registry=${registry%%/*}
read -ra tags <<<"${TAGS:?names one tag at least}"
# Dependabot doesn't look here: replace it by hand.
cosign=ghcr.io/sigstore/cosign/cosign:v3.1.3@sha256:9e5c2f2edc34351160407ca3416c61855bdf9403c3c5936e0f0be7fc261611b8
key=()
if [[ -n ${COSIGN_PRIVATE_KEY:-} ]]; then
    key=(--key env://COSIGN_PRIVATE_KEY)
elif [[ -z ${SIGSTORE_ID_TOKEN:-}${ACTIONS_ID_TOKEN_REQUEST_TOKEN:-} ]]; then
    echo "There is nothing to sign with: neither an OIDC token nor COSIGN_PRIVATE_KEY" >&2
    exit 1
fi

# The credentials are in their own folder, which is deleted with this script's end.
DOCKER_CONFIG=$(mktemp -d)
export DOCKER_CONFIG
trap 'rm -rf "$DOCKER_CONFIG"' EXIT

cosign() {
    "$docker" run --rm --user "$(id -u):$(id -g)" --tmpfs /tmp:mode=1777 --env HOME=/tmp \
        --volume "$DOCKER_CONFIG:/docker:ro" --env DOCKER_CONFIG=/docker --volume "$PWD:/statements:ro" \
        --env ACTIONS_ID_TOKEN_REQUEST_URL --env ACTIONS_ID_TOKEN_REQUEST_TOKEN \
        --env SIGSTORE_ID_TOKEN --env COSIGN_PRIVATE_KEY --env COSIGN_PASSWORD \
        "$cosign" "$1" --yes "${key[@]}" "${@:2}"
}

printf '%s' "${REGISTRY_PASSWORD:?is empty: is this job allowed to have it?}" |
    "$docker" login --username "${REGISTRY_USER:?is empty}" --password-stdin "$registry"
images=()
for archive in image-*.tar; do
    name=${archive%.tar}
    part=$TARGET:${tags[0]}-${name#image-}
    "$docker" load --input "$archive"
    "$docker" tag "$image" "$part"
    "$docker" push "$part"
    digest=$("$docker" image inspect --format '{{index .RepoDigests 0}}' "$part")
    cosign attest --type spdxjson --predicate "/statements/$name.spdx.json" "$digest"
    cosign attest --type slsaprovenance1 --predicate "/statements/$name.provenance.json" "$digest"
    images+=("$digest")
done
# Whoever pulls one of the tags gets the image of their architecture.
"$docker" buildx imagetools create "${tags[@]/#/--tag=$TARGET:}" "${images[@]}"
digest=$("$docker" buildx imagetools inspect --format '{{.Manifest.Digest}}' "$TARGET:${tags[0]}")
cosign sign --recursive "$TARGET@$digest"
