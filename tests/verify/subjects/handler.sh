#!/bin/sh
# Answers one request: from stdin to stdout, as inetd has it.
read -r method path _
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
status="404 Not Found" body=""
case $path in
    /__lbheartbeat__) status="200 OK" ;;
    /__heartbeat__) if [ "$DATABASE" = down ]; then status="503 No"; else status="200 OK"; fi ;;
    /__version__) status="200 OK" body=$(cat "$(dirname "$0")/version.json") ;;
esac
case $method in GET | HEAD) ;; *) status="405 No" body="" ;; esac
printf 'HTTP/1.1 %s\r\nContent-Length: %s\r\nConnection: close\r\n\r\n' "$status" "${#body}"
[ "$method" = HEAD ] || printf %s "$body"
echo "$method $path: $status" >&2
