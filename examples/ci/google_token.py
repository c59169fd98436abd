#!/usr/bin/env python3
"""Print a token for Google Cloud in exchange for a CI job's OIDC token, so that no key is stored.

It reads from the environment OIDC_TOKEN, and GOOGLE_PROVIDER, which names a provider of Workload
Identity Federation as projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME.
Its principal needs the role roles/artifactregistry.writer on the repository, and no other.
"""

import json
import os
import sys
import urllib.request

TYPE = "urn:ietf:params:oauth:token-type:"
body = {
    "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
    "audience": f"//iam.googleapis.com/{os.environ['GOOGLE_PROVIDER']}",
    "scope": "https://www.googleapis.com/auth/cloud-platform",
    "requestedTokenType": f"{TYPE}access_token",
    "subjectTokenType": f"{TYPE}jwt",
    "subjectToken": os.environ["OIDC_TOKEN"],
}
request = urllib.request.Request(
    os.environ.get("GOOGLE_STS", "https://sts.googleapis.com/v1/token"),
    json.dumps(body).encode(),
    {"Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=30) as response:
    sys.stdout.write(json.load(response)["access_token"] + "\n")
