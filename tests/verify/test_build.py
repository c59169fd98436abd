"""What a Dockerfile builds is known, or that it isn't known."""

from __future__ import annotations

import json

import pytest
from verify_helpers import SUBJECTS

from dockerflow.verify import dockerfile
from dockerflow.verify.evidence import Evidence
from dockerflow.verify.verdicts import judge

RULES = ("DF201", "DF202", "DF203", "DF204", "DF205")
LETTERS = {"passed": "P", "failed": "F", "unknown": "?"}

B = "FROM python:3.13-slim\n"
IDS = "RUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\n"
E = 'USER app\nENTRYPOINT ["python"]\nCMD ["x.py"]\n'
T = "COPY . /app\n" + E

# What each rule is expected to yield: P passes, F a finding, ? it can't tell, - either.
# Of group and user, on Debian.
COMMANDS = [
    ("PP", "[ $(uname -m) = x86_64 ] || exit 1; useradd -u 10001 app"),
    ("PP", "case $(go version) in go*) ;; *) exit 1;; esac; useradd -u 10001 app"),
    ("??", "if [ $(nproc) = 1 ]; then useradd -u 10001 app; fi"),
    ("??", "if [ $(dpkg --print-architecture) = amd64 ]; then useradd -u 10001 app; fi"),
    ("??", "curl https://example.com/x.py | python -"),
    ("FF", "curl -sSL https://install.python-poetry.org | python3 -"),
    ("FF", "curl https://example.com/x.json | python -m json.tool"),
    ("?F", "useradd -u 1000 app; curl https://sh.rustup.rs | sh; groupmod -g $(cat /x) app; it's"),
    ("PP", "set -eux; groupadd -g 10001 app; useradd -u 10001 -g app app"),
    (
        "PP",
        "useradd -u 10001 app; grep ^app: /etc/passwd > /p; getent group app > /g;"
        " userdel app; mv /p /etc/passwd; mv /g /etc/group",
    ),
    (
        "PP",
        "useradd -u 10001 app; tail -n 1 /etc/passwd > /p; tail -1 /etc/group > /g;"
        " userdel app; mv /p /etc/passwd; mv /g /etc/group",
    ),
    ("FP", "useradd -u 10001 app; groupadd -g 1 x; tail -1 /etc/group > /g; mv /g /etc/group"),
    ("??", "useradd -u 10001 app; tail -2 /etc/group > /g; mv /g /etc/group"),
    ("??", "useradd -u 10001 app; grep -o app: /etc/group > /g; mv /g /etc/group"),
    (
        "FF",
        "getent group 1000 || groupadd -g 1000 app; getent passwd 1 || useradd -u 1 -g 1000 app",
    ),
    ("??", "[ -f /x ] || groupadd -g 10001 app; [ -f /x ] || useradd -u 10001 -g app app"),
    ("PP", "[ -f /x ] && groupadd -g 1 app; groupmod -g 10001 app; useradd -u 10001 -g app app"),
    ("PP", "useradd -o app; useradd -o -u 10001 app"),
    ("PP", "groupadd -o app; groupadd -o -g 10001 app; useradd -u 10001 -g app app"),
    ("PP", "groupadd -g 10001 app; useradd -U -g app -u 1 app; useradd -u 10001 -g app app"),
    ("PP", "groupadd -g 10001 app; useradd --system --uid 10001 --gid app app"),
    ("PP", "useradd -r -u 10001 app; groupmod -g 10001 app"),
    ("PP", "useradd -u 10001 app; chmod g+w /etc/passwd /etc/group; ls -l /etc/passwd"),
    ("PF", "groupadd -g 10001 app; useradd -N -u $(cat /uid) app"),
    ("P?", "groupadd -g 10001 app; useradd -g app -u $(cat /uid) app"),
    ("FF", "true || { groupadd -g 10001 app && useradd -u 10001 -g app app; }"),
    ("FF", "false && groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("PP", "false || groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("FF", "if false; then groupadd -g 10001 app && useradd -u 10001 -g app app; fi"),
    ("PP", "if true; then groupadd -g 10001 app && useradd -u 10001 -g app app; fi"),
    ("??", "if [ -f /x ]; then groupadd -g 10001 app && useradd -u 10001 -g app app; fi"),
    (
        "PP",
        "if [ -f /x ]; then groupadd -g 10001 app && useradd -u 10001 -g app app; else useradd -u 10001 app; fi",
    ),
    ("??", "if [ -f /x ]; then useradd -u 10001 app; else useradd -u 1000 app; fi"),
    ("PP", "f() { groupadd -g $1 $2; useradd -u $1 -g $2 $2; }; f 10001 app"),
    ("FF", "f() { groupadd -g 10001 app; useradd -u 10001 -g app app; }"),
    ("PP", "mk() { groupadd -g 10001 app && useradd -u 10001 -g app app; } && mk"),
    ("FF", "echo 'groupadd -g 10001 app && useradd -u 10001 -g app app'"),
    ("FF", "echo groupadd -g 10001 app; echo useradd -u 10001 app"),
    ("PP", "echo 'groupadd -g 10001 app && useradd -u 10001 -g app app' | sh"),
    (
        "PP",
        "echo 'groupadd -g 10001 app && useradd -u 10001 -g app app' > /tmp/x.sh && sh /tmp/x.sh",
    ),
    ("PP", "(groupadd -g 10001 app; useradd -u 10001 -g app app)"),
    ("PP", "{ groupadd -g 10001 app; useradd -u 10001 -g app app; }"),
    ("PP", "ID=10001; export ID; sh -c 'groupadd -g $ID app && useradd -u $ID -g app app'"),
    ("FF", "ID=10001; sh -c 'groupadd -g $ID app && useradd -u $ID -g app app'"),
    ("PP", "ID=10001 sh -c 'groupadd -g $ID app && useradd -u $ID -g app app'"),
    ("PP", 'ID=10001; sh -c "groupadd -g $ID app && useradd -u $ID -g app app"'),
    ("PP", "env ID=10001 sh -c 'groupadd -g $ID app && useradd -u $ID -g app app'"),
    ("FF", "ID=10001 groupadd -g $ID app && useradd -u 10001 -g app app"),
    ("PP", "for i in 1; do groupadd -g 10001 app; done; useradd -u 10001 -g app app"),
    (
        "PP",
        "for u in web app; do [ $u = web ] || { groupadd -g 10001 $u; useradd -u 10001 -g $u $u; }; done",
    ),
    (
        "PP",
        "n=app; case $n in web) groupadd web;; app) groupadd -g 10001 app; useradd -u 10001 -g app app;; esac",
    ),
    (
        "FF",
        "n=web; case $n in app) groupadd -g 10001 app; useradd -u 10001 -g app app;; *) echo;; esac",
    ),
    (
        "PP",
        "case $(uname -m) in x86_64) a=1;; *) a=2;; esac; groupadd -g 10001 app && useradd -u 10001 -g app app",
    ),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -g app app || exit 1"),
    ("PP", "groupadd -g 10001 app || exit 1; useradd -u 10001 -g app app || exit 1"),
    ("FF", "exit 0; groupadd -g 10001 app; useradd -u 10001 -g app app"),
    ("FF", "exec true; groupadd -g 10001 app; useradd -u 10001 -g app app"),
    ("FP", "groupadd -g 1000 app && useradd -u 10001 -g app app"),
    ("PF", "groupadd -g 10001 app && useradd -u 1000 -g app app"),
    ("FF", "groupadd app && useradd -g app app"),
    ("FP", "groupadd app && useradd -u 10001 -g app app"),
    ("PP", "useradd -u 10001 -U app"),
    ("FF", "useradd -u 10001 -N app"),
    ("FP", "groupadd -g 10001 web && useradd -u 10001 app"),
    ("PF", "groupadd -g 10001 app && useradd -u 10001 -N app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -N app && usermod -g app app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -N -G app app"),
    ("PF", "groupadd -g 10001 app && useradd -u 10001 -N -G app app && gpasswd -d app app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -N app && gpasswd -a app app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -N app && gpasswd -M app app"),
    ("PF", "groupadd -g 10001 app && useradd -u 10001 -N -G app app && usermod -G users app"),
    (
        "PF",
        "useradd -u 10001 web; groupadd -g 10005 app; groupmod -o -g 10001 app; useradd -u 10001 -g app app",
    ),
    (
        "PP",
        "groupadd -g 10001 web && useradd -u 10001 -g web web && groupmod -n app web && usermod -l app web",
    ),
    ("PF", "groupadd -g 10001 app && useradd -u 10001 -g app web"),
    ("PF", "useradd -u 1000 app; groupmod -g 10001 app; useradd -u 10001 app"),
    ("PP", "useradd -u 1000 app; groupmod -g 10001 app; usermod -u 10001 app"),
    ("FF", "useradd -u 10001 app; usermod -u 1000 app; groupmod -g 1000 app"),
    ("FF", "useradd -u 10001 app; userdel app; groupdel app"),
    (
        "PP",
        "echo 'app:x:10001:' >> /etc/group; echo 'app:x:10001:10001::/app:/bin/sh' >> /etc/passwd",
    ),
    (
        "PP",
        "echo 'app:x:10001:' | tee -a /etc/group; echo 'app:x:10001:10001::/app:/bin/sh' | tee -a /etc/passwd >/dev/null",
    ),
    (
        "PP",
        "{ echo 'app:x:10001:10001::/app:/bin/sh'; } >> /etc/passwd; echo 'app:x:10001:' >> /etc/group",
    ),
    (
        "FF",
        "echo 'app:x:10001:' > /tmp/group; echo 'app:x:10001:10001::/app:/bin/sh' > /tmp/passwd",
    ),
    (
        "PP",
        "echo 'app:x:10001:' > /tmp/group; echo 'app:x:10001:10001::/app:/bin/sh' > /tmp/passwd; cp /tmp/group /tmp/passwd /etc/",
    ),
    (
        "PP",
        "echo 'app:x:10001:' > /tmp/group; echo 'app:x:10001:10001::/app:/bin/sh' > /tmp/passwd; cat /tmp/group >> /etc/group; cat /tmp/passwd >> /etc/passwd",
    ),
    (
        "PP",
        "printf '%s:x:%s:%s::/app:/bin/sh\\n' app 10001 10001 >> /etc/passwd; printf '%s:x:%d:\\n' app 10001 >> /etc/group",
    ),
    (
        "PP",
        'echo "app:x:10001:10001::/:" >> /etc/passwd && echo "app:x:$((10000+1)):" >> /etc/group',
    ),
    (
        "FF",
        "groupadd -g 1000 app; useradd -u 1000 -g app app; echo 'app:x:10001:10001::/:' >> /etc/passwd; echo 'app:x:10001:' >> /etc/group",
    ),
    (
        "??",
        "useradd -u 1000 app; sed -i 's/^app:x:1000:1000/app:x:10001:10001/' /etc/passwd; sed -i 's/^app:x:1000/app:x:10001/' /etc/group",
    ),
    ("P?", "groupadd -g 10001 app; useradd -u 10001 -g app app; sed -i 's/10001/1/' /etc/passwd"),
    ("PP", "groupadd -g 10001 app; useradd -u 10001 -g app app; sed -i 's/x/y/' /etc/hosts"),
    ("FF", "sed -i 's#root:/root#root:/app#' /etc/passwd.txt"),
    ("??", "awk '{print}' /etc/passwd > /tmp/p; mv /tmp/p /etc/passwd; cat /x > /etc/group"),
    (
        "??",
        "python -c \"open('/etc/passwd','a').write('app:x:10001:10001::/:/bin/sh'); open('/etc/group','a')\"",
    ),
    ("??", "./setup.sh"),
    ("??", "bash scripts/setup"),
    ("??", "chmod +x /setup.sh && /setup.sh"),
    ("PP", "./setup.sh; groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -g app app && ./setup.sh"),
    ("??", "curl https://example.com/x.sh | bash"),
    ("FF", "curl -sL https://deb.nodesource.com/setup_20.x | bash -"),
    ("FF", "apt-get update && apt-get install -y curl && pip install x"),
    ("FF", "npm install && npm run build"),
    ("FF", "make install"),
    (
        "PP",
        "addgroup --gid 10001 app && adduser --uid 10001 --gid 10001 --disabled-password --gecos '' app",
    ),
    ("FF", "adduser --uid 10001 --gid 10001 --disabled-password --gecos '' app"),
    ("PF", "addgroup --gid 10001 app && adduser --system --uid 10001 app"),
    ("PP", "addgroup --gid 10001 app && adduser --system --uid 10001 --group app"),
    ("PP", "adduser --system --uid 10001 --group app"),
    ("PP", "adduser --uid 10001 --disabled-password --gecos '' app"),
    ("PF", "addgroup --gid 10001 app; adduser --uid 10001 --disabled-password --gecos '' app"),
    (
        "PP",
        "addgroup --gid 10001 app; adduser --system --uid 10001 --no-create-home --ingroup app app",
    ),
    ("PP", "addgroup --gid 10001 app; adduser --system --uid 10001 app; adduser app app"),
    ("FF", "su - root -c 'echo groupadd -g 10001 app'"),
    ("PP", "su root -c 'groupadd -g 10001 app && useradd -u 10001 -g app app'"),
    ("PP", "su -c 'groupadd -g 10001 app && useradd -u 10001 -g app app' root"),
    ("PP", "sudo groupadd -g 10001 app && sudo -H -u root useradd -u 10001 -g app app"),
    ("FF", "chroot /mnt groupadd -g 10001 app && chroot /mnt useradd -u 10001 -g app app"),
    ("FF", "groupadd -R /mnt -g 10001 app && useradd --root /mnt -u 10001 -g app app"),
    ("PP", "echo app | xargs -n1 groupadd -g 10001; echo app | xargs useradd -u 10001 -g 10001"),
    ("PP", 'eval "groupadd -g 10001 app"; eval useradd -u 10001 -g app app'),
    ("PP", "CMD=useradd; groupadd -g 10001 app; $CMD -u 10001 -g app app"),
    ("PP", "OPTS='-u 10001 -g app'; groupadd -g 10001 app; useradd $OPTS app"),
    ("PF", "OPTS='-u 10001 -g app'; groupadd -g 10001 app; useradd \"$OPTS\" app"),
    ("PP", 'A=app; B=10001; groupadd -g "${B}" "${A}" && useradd -u "$B" -g "$A" "$A"'),
    ("PP", "groupadd -g 10001 'app' && useradd -u '10001' -g \"app\" a'p'p"),
    ("PP", 'groupadd -g 1"00"01 app && useradd -u 10001 -g app app'),
    ("FF", "groupadd -g 10001 app\\ x && useradd -u 10001 -g app app"),
    ("FF", "# groupadd -g 10001 app && useradd -u 10001 app true"),
    (
        "PP",
        "getent group app || groupadd -g 10001 app; getent passwd app || useradd -u 10001 -g app app",
    ),
    (
        "FF",
        "getent group app && groupadd -g 10001 app; getent passwd app && useradd -u 10001 -g app app",
    ),
    (
        "PP",
        "if ! getent passwd app >/dev/null; then groupadd -g 10001 app; useradd -u 10001 -g app app; fi",
    ),
    (
        "PP",
        'if [ -z "$(getent passwd app)" ]; then groupadd -g 10001 app; useradd -u 10001 -g app app; fi',
    ),
    (
        "PP",
        "grep -q '^app:' /etc/group || groupadd -g 10001 app; grep -q ^app: /etc/passwd || useradd -u 10001 -g app app",
    ),
    ("FF", "id app &>/dev/null || useradd -u 10001 app"),
    ("PP", "! id -u app || exit 1; useradd -u 10001 app"),
    (
        "PP",
        "command -v useradd && useradd -u 10001 app || adduser --uid 10001 --disabled-password --gecos '' app",
    ),
    ("PP", "groupadd -f -g 10001 app; useradd -u 10001 -g app app"),
    ("PP", "groupadd -rg 10001 app; useradd -rmu 10001 -g app app"),
    ("PP", "groupadd --g 10001 app; useradd --ui 10001 --gi app app"),
    ("PP", "groupadd app --gid 10001; useradd app --uid 10001 --gid app"),
    ("PP", "groupadd -g 010001 app; useradd -u 10001 -g app app"),
    ("PP", "useradd -D -s /bin/bash; groupadd -g 10001 app; useradd -u 10001 -g app app"),
    ("PF", "groupadd -g 10001 app; useradd -u 10001 -g app App"),
    ("FF", "groupadd -g 10001 App; useradd -u 10001 -g App App"),
    ("FF", "groupadd -g 100010 app; useradd -u 100010 -g app app"),
    ("FF", "groupadd -g 10002 app; useradd -u 10002 -g app app"),
    ("PP", "groupadd -g 10001 app; useradd -u 10001 -g 10001 -G 0 app"),
    ("PF", "groupadd -g 10001 app; useradd -u 10001 -g 0 app"),
    ("PF", "groupadd -g 10001 app; groupadd -g 10002 x; useradd -u 10001 -g x app"),
    ("PP", "groupadd -g 10001 app; groupadd -g 10002 x; useradd -u 10001 -g x -G app app"),
    (
        "PP",
        "groupadd -g 10001 app; groupadd -g 10002 x; useradd -u 10001 -g x app; usermod -aG app app",
    ),
    (
        "PP",
        "groupadd -g 10001 app; groupadd -g 10002 x; useradd -u 10001 -g x app; usermod -a -G app,x app",
    ),
    ("FP", "cat <<EOF >> /etc/passwd\napp:x:10001:10001::/:\nEOF\n"),
    ("FF", "useradd -u 10001 app >/dev/null & true; userdel app; groupdel app"),
    ("PP", "while ! groupadd -g 10001 app; do sleep 1; done; useradd -u 10001 -g app app"),
    ("PP", "until groupadd -g 10001 app; do sleep 1; done; useradd -u 10001 -g app app"),
    ("PP", '[ "$(id -u)" = 0 ] && groupadd -g 10001 app && useradd -u 10001 -g app app'),
    ("FF", '[ "a" = "b" ] && groupadd -g 10001 app && useradd -u 10001 -g app app; true'),
    ("FF", "[[ a == b ]] && useradd -u 10001 app; true"),
    ("FF", "[[ app == a* ]] && useradd -u 10001 app"),
    ("FF", "test 1 -eq 2 && useradd -u 10001 app; :"),
    ("PP", "x=1; [ $x -eq 1 ] && useradd -u 10001 app"),
    ("FF", "unset X; X=; useradd -u $X app"),
    ("PP", "X=; useradd -u ${X:-10001} app"),
    ("FF", "X=5; useradd -u ${X:-10001} app"),
    ("PP", "useradd -u ${X:+5}10001 app"),
    ("PP", "useradd -u 10001 app; su app -c 'groupadd -g 5 web'"),
    (
        "PP",
        "useradd -u 10001 app && echo app:x | chpasswd && chown -R app:app /srv && passwd -l app && usermod -L app",
    ),
    ("PP", "nohup useradd -u 10001 app"),
    ("PP", "time useradd -u 10001 app"),
    ("PP", "timeout 5 useradd -u 10001 app"),
    ("PP", 'bash -lc "useradd -u 10001 app"'),
    ("PP", "/bin/bash -ec 'useradd -u 10001 app'"),
    ("PP", "sh -c 'useradd -u \"$1\" app' -- 10001"),
    ("PP", "set -- 10001 app; useradd -u $1 $2"),
    ("PP", "useradd -u 10001 -c 'App; user && more' -s /bin/false app"),
    ("PP", 'useradd -u 10001 -d "/home/app" -p "$(openssl passwd -1 x)" app'),
    ("?F", "groupadd -g $(cat /gid) app; useradd -u 5 -g app app"),
    ("??", "useradd -u $(cat /uid) app"),
    ("??", "useradd $(cat /opts) app"),
    ("??", "$(cat /cmd) app"),
    ("??", "useradd -u 10001 $(cat /name)"),
    ("FP", "useradd -u 10001 app && groupmod -g 5 app"),
    ("PP", "printf 'groupadd -g 10001 app\\nuseradd -u 10001 -g app app\\n' | bash -e"),
    ("PP", "source /etc/os-release && useradd -u 10001 app"),
    ("PP", "UID_=10001 && readonly UID_ && useradd -u $UID_ app"),
    ("PP", "local_id=$(echo 10001) && useradd -u $local_id app"),
    ("PP", "useradd -u `echo 10001` app"),
    ("PP", "useradd -u 10001 app;"),
    ("PP", "useradd \\\n  --uid 10001 \\\n  # the name\n  app"),
    ("PF", "groupadd -g 10001 app && (useradd -u 10001 -g app app; userdel app)"),
    ("FF", "newgrp app"),
    ("??", "newusers /users.txt"),
    ("??", "ansible-playbook users.yml"),
    ("FF", "useradd --system web && chown app /x"),
    ("FF", "mkdir /home/app && chown 10001:10001 /home/app"),
    ("FF", "install -d -o app -g app /app && grep app /etc/passwd"),
    ("FF", "apt-get install -y app-useradd && pip install groupadd"),
    ("PP", "systemd-sysusers --inline 'u app 10001'"),
    (
        "PP",
        "printf 'g app 10001\\nu app 10001:10001\\n' > /etc/sysusers.d/a.conf && systemd-sysusers",
    ),
    ("FF", "echo 'u app 10001' > /etc/sysusers.d/a.conf"),
    ("??", "useradd -u 10001 app; if [ -f /x ]; then userdel app; groupdel app; fi"),
    ("PF", "useradd -u 10001 app; [ -f /x ] || true; usermod -u 5 app"),
    (
        "P?",
        "groupadd -g 10001 app; useradd -u 10001 -g app app; test -f /x && usermod -u 5 app || true",
    ),
    ("PP", "useradd -u 10001 app || useradd -u 1000 app"),
    ("PF", "groupadd -g 10001 app; useradd -u 1000 app || useradd -u 1000 -g app app"),
    ("PP", "groupadd -g 10001 app; useradd -u 10001 app || useradd -u 10001 -g app app"),
    ("FF", "useradd app || true"),
    (
        "PP",
        "for u in app; do for g in $u; do groupadd -g 10001 $g; useradd -u 10001 -g $g $u; done; done",
    ),
    ("??", "for u in; do useradd -u 10001 app; done"),
    ("FF", "while false; do useradd -u 10001 app; done"),
    ("??", "while [ -f /x ]; do useradd -u 10001 app; done"),
    ("FF", "until true; do useradd -u 10001 app; done"),
    ("FF", "for u in app; do break; useradd -u 10001 $u; done"),
    ("PP", "for u in x app; do [ $u = x ] && continue; useradd -u 10001 $u; done"),
    ("FF", "f() { return 0; useradd -u 10001 app; }; f"),
    ("PP", "f() { return 0; }; f; useradd -u 10001 app"),
    ("FF", "f() { exit 0; }; f; useradd -u 10001 app"),
    ("PP", "(exit 0); useradd -u 10001 app"),
    ("FF", 'if [ -z "$X" ]; then exit 0; fi; useradd -u 10001 app'),
    ("??", "if [ -f /x ]; then exit 0; fi; useradd -u 10001 app"),
    ("PP", "if [ -f /x ]; then exit 1; fi; useradd -u 10001 app"),
    ("PP", "[ -f /x ] || { echo no; exit 1; }; useradd -u 10001 app"),
    ("??", "[ -f /x ] && exit 0; useradd -u 10001 app"),
    ("FP", "groupadd -g 10002 app; N=10001; groupmod -g 10003 app; useradd -u $N -g app app"),
    ("PP", "N=10001; (N=5); useradd -u $N app"),
    ("PP", "N=10001; N=5 true; useradd -u $N app"),
    ("PP", "N=10001; echo x | N=5; useradd -u $N app"),
    ("FF", "N=10001; { N=5; }; useradd -u $N app"),
    ("??", "N=10001; if [ -f /x ]; then N=5; fi; useradd -u $N app"),
    ("PP", "read N < /x; useradd -u 10001 app"),
    ("??", "read N; useradd -u $N app"),
    ("FF", "useradd -u 10001 'app '"),
    ("FF", 'useradd -u 10001 "app\\n"'),
    ("FF", "useradd -u '' app"),
    ("FF", "useradd -u abc app"),
    ("FF", "useradd -u -10001 app"),
    ("FF", "useradd -u 10001"),
    ("FF", "useradd -x -u 10001 app"),
    ("FF", "useradd --nope -u 10001 app"),
    ("FF", "useradd -u 10001 app web"),
    ("FF", "useradd app 10001"),
    ("FF", "groupadd 10001 app; useradd 10001 app"),
    ("FF", "useradd -u 10001 -g nope app"),
    ("P?", "useradd -u 10001 -G nope app"),
    ("FF", "useradd --help -u 10001 app"),
    ("PP", "useradd -u 10001 -g 0 -G users web; useradd -u 10001 -o app"),
    ("PF", "useradd -u 10001 web; groupadd -o -g 10001 app; useradd -u 10001 -g app app"),
    ("FF", "echo app:x:10001:10001 >/etc/passwd.bak"),
    ("FF", "echo '#app:x:10001:10001::/:' >> /etc/passwd; echo '#app:x:10001:' >> /etc/group"),
    ("PP", "echo 'app:x:10001:10001::/:' > /etc/passwd; echo 'app:x:10001:' > /etc/group"),
    ("PF", "useradd -u 10001 app; echo 'root:x:0:0::/:' > /etc/passwd"),
    ("F-", "useradd -u 10001 app; echo 'root:x:0:' > /etc/group"),
    ("F-", "useradd -u 10001 app; : > /etc/group"),
    ("PF", "useradd -u 10001 app; rm /etc/passwd"),
    ("P?", "useradd -u 10001 app; cp /etc/passwd- /etc/passwd"),
    ("PF", "cp /etc/passwd /tmp/p; useradd -u 10001 app; cp /tmp/p /etc/passwd"),
    ("PP", "useradd -u 10001 app; cp /etc/passwd /tmp/p; cp /tmp/p /etc/passwd"),
    ("P?", "useradd -u 10001 app; grep -v app /etc/passwd > /tmp/p; mv /tmp/p /etc/passwd"),
    ("P?", "useradd -u 10001 app; sed -i '/^app/d' /etc/passwd"),
    ("P?", "useradd -u 10001 app; sed -i -e '$d' /etc/passwd"),
    ("??", "useradd -u 10001 app; perl -pi -e 's/10001/5/' /etc/passwd /etc/group"),
    ("??", "useradd -u 10001 app; awk -i inplace '!/app/' /etc/passwd"),
    ("PP", "useradd -u 10001 app; cat /etc/passwd; grep app /etc/group"),
    ("??", 'printf "app:x:$(cat /uid):10001::/:\\n" >> /etc/passwd; cat /group >> /etc/group'),
    ("F-", "printf 'app:x:%s:%s::/:\\n' 10001 10001 >> /etc/passwd"),
    ("PF", "useradd -u 10001 app; chroot / userdel app"),
    ("PP", "useradd -u 10001 app; chroot /mnt userdel app"),
    ("??", "ssh host useradd -u 10001 app"),
    ("??", "docker run x useradd -u 10001 app"),
    ("??", "man useradd -u 10001 app"),
    ("FF", "which useradd -u 10001 app"),
    ("FF", "command -v useradd"),
    ("PP", "command useradd -u 10001 app"),
    ("PP", "exec useradd -u 10001 app"),
    ("PP", "env -i useradd -u 10001 app"),
    ("PP", "env -u X Y=1 useradd -u 10001 app"),
    ("PP", "nice -n 5 useradd -u 10001 app"),
    ("PP", "sudo -n -- useradd -u 10001 app"),
    ("PP", "sudo sh -c 'useradd -u 10001 app'"),
    ("PP", 'sudo bash -c "groupadd -g 10001 app; useradd -u 10001 -g app app"'),
    ("PP", "echo y | useradd -u 10001 app"),
    ("PP", "yes | adduser --uid 10001 --disabled-password app"),
    ("PP", "useradd -u 10001 app 2>/dev/null || true"),
    ("PP", "useradd -u 10001 app > /dev/null 2>&1"),
    ("PP", "2>/dev/null useradd -u 10001 app"),
    ("PP", "useradd -u 10001 app && unset X && export Y=1"),
    ("PP", "useradd -u 10001 app && cd /x && ls *.py | wc -l"),
    ("PP", "[ -d /x ] && rm -rf /x; useradd -u 10001 app"),
    ("PP", "set -o pipefail; curl -s x | tar xz && useradd -u 10001 app"),
    ("PP", "a=$(mktemp -d) && cd $a && useradd -u 10001 app"),
    ("PP", "export PATH=$PATH:/usr/sbin && useradd -u 10001 app"),
    (
        "PP",
        'arch="$(dpkg --print-architecture)"; case "${arch##*-}" in amd64) x=1 ;; *) echo >&2 no; exit 1 ;; esac; useradd -u 10001 app',
    ),
    ("PP", 'if [ "$(uname -m)" = x86_64 ]; then A=1; else A=2; fi && useradd -u 10001 app'),
    ("PP", "mkdir -p /x && { echo a; echo b; } > /x/y && useradd -u 10001 app"),
    (
        "PP",
        "dpkgArch=$(dpkg --print-architecture | awk -F- '{ print $NF }') && useradd -u 10001 app",
    ),
    (
        "PP",
        'for k in A B C; do gpg --recv-keys "$k" || gpg --keyserver x --recv-keys "$k"; done && useradd -u 10001 app',
    ),
    ("PP", "useradd -u 10001 app && find / -name '*.pyc' -exec rm -rf {} +"),
    ("PP", "find /x -type f -exec sed -i 's/a/b/' {} \\; && useradd -u 10001 app"),
    ("PP", "useradd -u 10001 app && (crontab -l; echo '* * * * * x') | crontab -"),
    ("FF", "[[ $(id -u) -eq 0 ]] && useradd -u 10001 app"),
    ("PP", 'useradd -u 10001 app && echo "app ALL=(ALL) NOPASSWD:ALL" >> /etc/sudoers'),
    (
        "PP",
        "useradd -u 10001 app && sed -i 's/^#//' /etc/sudoers && sed -i -e 's/a/b/g' -e \"s/c/d/\" x",
    ),
    ("PP", "wget -qO- https://x | bash -s -- a; useradd -u 10001 app"),
    ("PP", "useradd -u 10001 app && su app -c 'pip install x'"),
    ("PP", 'useradd -u 10001 app && su - app -s /bin/bash -c "cd && ls"'),
    ("PP", "python - <<EOF\nprint('hello')\nEOF\nRUN useradd -u 10001 app"),
    ("FF", "python -c 'print(1)'"),
    ("FF", "python manage.py collectstatic --noinput"),
    ("FF", "python manage.py createsuperuser --username app"),
    ("??", "bundle exec rake db:useradd"),
    ("FF", "pip install django-groupadd"),
    ("??", "ruby -e 'system(\"useradd -u 10001 app\")'"),
    ("PP", "useradd\t-u\t10001\tapp"),
    ("PP", " useradd   -u 10001   app  "),
    ("PP", "useradd -u 10001 -- app"),
    ("PP", "useradd -mu10001 app"),
    ("PP", "useradd -d/app -u10001 -s/bin/sh app"),
    ("FF", "useradd -du 10001 app"),
    ("PP", "useradd -u 10001 app"),
    (
        "PP",
        "addgroup --system --gid 10001 app && adduser --system --uid 10001 --gid 10001 --no-create-home app",
    ),
    (
        "PP",
        "addgroup --system --gid 10001 app && adduser --system --disabled-login --ingroup app --no-create-home --home /nonexistent --gecos 'app user' --shell /bin/false --uid 10001 app",
    ),
    ("FF", "addgroup --system app && adduser --system --ingroup app app"),
    ("FF", "adduser --system --group app"),
    (
        "PP",
        "groupadd -g 10001 app; useradd --uid=10001 --gid=app --comment='x y' --shell=/bin/sh app",
    ),
    (
        "PP",
        "GROUP_ID=${GROUP_ID:-10001}; USER_ID=${USER_ID:-10001}; groupadd -g ${GROUP_ID} app; useradd -u ${USER_ID} -g app app",
    ),
    ("PP", ": ${ID:=10001}; useradd -u $ID app"),
    ("PP", "ID=${ID:=10001}; useradd -u $ID app"),
    ("PP", "useradd -u ${ID-10001} app"),
    ("FF", "ID=; useradd -u ${ID-10001} app"),
    ("FF", "useradd -u ${ID:+10001} app"),
    ("PP", "A=100; B=01; useradd -u $A$B app"),
    ("PP", "A=ap; useradd -u 10001 ${A}p"),
    ("PF", "A=ap; groupadd -g 10001 app; useradd -u 10001 -g app $Ap"),
    ("PP", "useradd -u \\10001 app"),
    ("PP", 'useradd -u 1000"1" \\\n app'),
    ("PP", "u=app id=10001; useradd -u $id $u"),
    ("PP", "useradd -u $((10000 + 1)) app"),
    ("??", "useradd -u $((RANDOM)) app"),
    ("??", "useradd -u $RANDOM app"),
    ("??", "useradd -u $HOSTNAME app"),
]

ON_ALPINE = [
    ("PP", "case $(apk --print-arch) in x*) ;; *) exit 1;; esac; adduser -D -u 10001 app"),
    ("PP", "addgroup -g 10001 app && adduser -D -u 10001 -G app app"),
    ("PF", "addgroup -g 10001 app && adduser -D -u 10001 app"),
    ("PP", "addgroup -g 10001 -S app && adduser -S -G app -u 10001 app"),
    ("FF", "groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("PP", "apk add shadow && groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("PP", "adduser -D -H -h /app -s /sbin/nologin -g '' -u 10001 app"),
    ("PF", "addgroup -g 10001 app && adduser -D -u 10001 -g app app"),
    ("PP", "adduser --disabled-password --uid 10001 app"),
    ("PP", "addgroup -g 10001 app; adduser -D -u 10001 -G users app; addgroup app app"),
    ("PP", "addgroup -g 10001 app; adduser -D -u 10001 -G users app; adduser app app"),
    ("PF", "addgroup -g 10001 app; adduser -D -u 10001 -G app app; delgroup app app; deluser app"),
    ("FF", "addgroup app; adduser -D -G app app"),
    ("PP", "addgroup --gid=10001 app && adduser --disabled-password --uid=10001 --ingroup=app app"),
    (
        "PP",
        "set -x ; addgroup -g 10001 -S app ; adduser -u 10001 -D -S -G app app && exit 0 ; exit 1",
    ),
]

ON_FEDORA = [
    ("PP", "groupadd -g 10001 app && adduser -u 10001 -g app app"),
    ("PP", "adduser -u 10001 app"),
    ("PF", "groupadd -g 10001 app && adduser -u 10001 app"),
    ("FF", "addgroup -g 10001 app && adduser -D -u 10001 -G app app"),
    ("PP", "dnf -y install shadow-utils && useradd -u 10001 app"),
]

ON_AN_UNKNOWN_BASE = [
    ("?P", "groupadd -f -g 10001 app; useradd -u 10001 -g app app"),
    ("?P", "adduser --system --uid 10001 --group app"),
    ("PP", "useradd -u 10001 app"),
    ("PP", "groupadd -g 10001 app && useradd -u 10001 -g app app"),
    ("?P", "useradd -u 10001 -g app app"),
    ("??", "getent group app || groupadd -g 10001 app; id app || useradd -u 10001 -g app app"),
    ("??", "echo hello"),
    ("??", "userdel web"),
    ("?F", "userdel app"),
    ("FF", "userdel app; groupdel app"),
    ("??", "usermod -l app web; groupmod -n app web"),
    ("PP", "groupadd -g 10001 app && adduser -S -u 10001 -G app app"),
    ("PP", "addgroup -g 10001 app && adduser -D -u 10001 -G app app"),
    ("PP", "adduser -D -u 10001 app"),
    ("FF", "useradd -u 1000 app"),
]

# Of the sources in /app.
SOURCES = [
    ("P", "RUN mkdir /app && cp -r /src/. /app/"),
    ("F", "RUN mkdir /app"),
    ("F", "WORKDIR /app"),
    ("F", "COPY version.json /app/version.json"),
    ("F", "COPY foo.json /app/version.json"),
    ("F", "RUN cp /app/x /usr/bin"),
    ("P", "RUN mv /src /app"),
    ("P", "COPY . /srv\nRUN ln -s /srv /app"),
    ("F", "COPY . /app\nRUN rm -rf /app"),
    ("F", "COPY . /app\nRUN mv /app /srv"),
    ("P", "COPY . /app\nRUN rm -rf /app/tests"),
    ("P", "RUN wget -O /app/x https://x/y"),
    ("P", "WORKDIR /app\nRUN wget https://x/y"),
    ("F", "RUN wget https://x/y"),
    ("P", "RUN wget -P /app https://x/y"),
    ("P", "WORKDIR /app\nRUN curl -LO https://x/y"),
    ("P", "RUN curl https://x/y > /app/y"),
    ("F", "RUN curl https://x/app/y -o /usr/bin/y"),
    ("P", "RUN cd /app && curl -sSLo y https://x/y"),
    ("P", "RUN curl -L https://x | tar -xzC /app"),
    ("P", "RUN tar -C /app -xzf /x.tgz"),
    ("P", "RUN tar --extract --directory=/app --file /x.tgz"),
    ("P", "WORKDIR /app\nRUN tar xf /x.tar"),
    ("F", "RUN tar cf /x.tar /app"),
    ("F", "RUN tar -czf /app.tgz /srv"),
    ("F", "RUN tar -xzf /x.tgz -C /opt"),
    ("P", "RUN unzip x.zip -d /app"),
    ("P", "WORKDIR /app\nRUN unzip /x.zip"),
    ("P", "RUN git clone --depth 1 -b main https://x/y.git /app"),
    ("P", "WORKDIR /app\nRUN git clone https://x/y.git ."),
    ("P", "WORKDIR /\nRUN git clone https://x/app.git"),
    ("P", "RUN git clone https://x/app"),
    ("F", "RUN git clone https://x/y"),
    ("F", "RUN git clone https://x/y /srv/app"),
    ("P", "WORKDIR /app\nRUN git init && git pull https://x/y"),
    ("P", "RUN go build -o /app/server ./cmd"),
    ("P", "WORKDIR /app\nRUN go build -o server ."),
    ("F", "RUN go build -o /usr/local/bin/server"),
    ("P", "RUN cd /src && GOBIN=/app go install ./..."),
    ("P", "RUN pip install --target=/app x"),
    ("P", "RUN pip install -t /app x"),
    ("F", "RUN pip install x"),
    ("F", "WORKDIR /app\nRUN pip install x"),
    ("P", "RUN python -m pip install --prefix /app x"),
    ("P", "RUN python -m venv /app/venv"),
    ("P", "WORKDIR /app\nRUN python -m venv venv"),
    ("P", "RUN virtualenv /app/env"),
    ("F", "RUN apt-get install -y curl && rm -rf /var/lib/apt/lists/*"),
    ("F", "WORKDIR /app\nRUN apt-get install -y curl"),
    ("F", "WORKDIR /app\nRUN chown -R app:app /app && chmod 755 /app"),
    ("P", "RUN touch /app/x"),
    ("P", "RUN echo x > /app/x"),
    ("F", "RUN echo '{}' > /app/version.json"),
    ("P", "RUN echo x | tee /app/x.py"),
    ("P", "RUN cat > /app/x.py <<EOF\nprint()\nEOF"),
    ("P", "COPY <<EOF /app/x.py\nprint()\nEOF"),
    ("F", "COPY <<EOF /app/version.json\n{}\nEOF"),
    ("P", "COPY a b /app/"),
    ("P", 'COPY ["a b", "/app/"]'),
    ("P", "COPY --chown=app:app . /app"),
    ("P", "ADD x.tar.gz /app"),
    ("P", "ADD https://x/y.tgz /app/"),
    ("F", "ADD https://x/app.tgz /"),
    ("?", "ADD rootfs.tar.gz /"),
    ("P", "COPY --parents src/x /app/"),
    ("P", "COPY --parents app/x /"),
    ("F", "COPY . /application"),
    ("F", "COPY . /opt/app"),
    ("P", "COPY . /app/src"),
    ("P", "COPY . //app"),
    ("P", "COPY . /app/../app/x"),
    ("F", "COPY . /app/../srv"),
    ("P", "WORKDIR /app/src\nCOPY . ."),
    ("P", "WORKDIR /app\nWORKDIR src\nCOPY . ."),
    ("F", "WORKDIR /app\nWORKDIR ../srv\nCOPY . ."),
    ("P", "WORKDIR /srv\nCOPY . /app"),
    ("F", "WORKDIR /srv\nCOPY . app"),
    ("P", "ARG D=/app\nWORKDIR $D\nCOPY . ."),
    ("P", "ENV D=/app\nWORKDIR ${D}\nCOPY . ${D}/"),
    ("?", "ARG D\nWORKDIR $D\nCOPY . ."),
    ("P", "ARG D\nWORKDIR ${D:-/app}\nCOPY . ."),
    ("P", "ENV APP_HOME /app\nADD . $APP_HOME"),
    ("P", "RUN install -D -m 644 /x.py /app/x.py"),
    ("F", "RUN install -d /app/x"),
    ("P", "RUN rsync -a --exclude .git /src/ /app/"),
    ("F", "RUN rsync -a /app/ /srv/"),
    ("P", "RUN cp -t /app x y"),
    ("P", "RUN cd /app && cp /src/x ."),
    ("F", "RUN cd /app; cd /; cp /src/x ."),
    ("P", "RUN (cd /app && cp /src/x .)"),
    ("F", "RUN (cd /app); cp /src/x ."),
    ("F", "RUN --mount=type=bind,target=/app cp /src/x /app/y"),
    ("F", "RUN --mount=type=cache,target=/app pip install --target /app x"),
    ("P", "RUN --mount=type=bind,source=.,target=/mnt cp -r /mnt/. /app"),
    ("?", "RUN ./build.sh"),
    ("?", "WORKDIR /app\nRUN ./fetch"),
    ("F", "HEALTHCHECK CMD cp x /app"),
    ("F", "VOLUME /app"),
    ("F", "LABEL x='COPY . /app'"),
    ("F", "# COPY . /app"),
    ("F", "RUN echo COPY . /app"),
    ("F", "RUN ls /app || true"),
    ("?", "RUN if [ -f /x ]; then cp -r /src /app; fi"),
    ("P", "RUN dotnet publish -c Release -o /app"),
    ("P", "RUN cargo install --root /app x"),
    ("?", "WORKDIR /app\nRUN npm run build"),
    ("F", "RUN npm install -g yarn"),
    ("?", "COPY . ."),
    ("F", "COPY app.py /"),
    ("F", "ONBUILD COPY . /app"),
    ("F", "COPY version.json /app"),
    ("F", "ADD ./version.json /app/"),
    ("P", "COPY version.json app.py /app/"),
    ("F", "RUN cp version.json /app/"),
    ("F", "RUN curl -o /app/version.json https://x"),
    ("P", "COPY . /app\nRUN cp /x /app/version.json"),
    ("F", "RUN cp -r /app /srv"),
    ("F", "RUN cp -r /app/. /srv/"),
    ("F", "RUN ls -l /app && cat /app/x"),
    ("F", "RUN find /app -name x"),
    ("F", "COPY . /app\nRUN find /app -mindepth 1 -delete"),
    ("F", "WORKDIR /app\nCOPY . .\nRUN find -delete"),
    ("P", "COPY . /app\nRUN find /app -name '*.pyc' -delete"),
    ("P", "COPY . /app\nRUN find /tmp -delete"),
    ("F", "RUN chmod -R g+w /app && chown -R app /app"),
    ("F", "RUN mkdir -p /app/a /app/b"),
    ("F", "RUN install -o app -d /app"),
    ("F", "RUN rm -rf /app && mkdir /app"),
    ("F", "COPY . /app\nRUN rm -rf /app/*"),
    ("F", "COPY . /app/\nRUN rm -r /app && mkdir /app"),
    ("F", "COPY . /app\nRUN rm -rf /app/* /app/.git"),
    ("P", "COPY . /app\nRUN rm -rf /app/.git"),
    ("P", "COPY a /app/a\nCOPY b /app/b\nRUN rm /app/a"),
    ("F", "COPY a /app/a\nRUN rm /app/a"),
    ("F", "RUN touch /app/x && rm /app/x"),
    ("F", "COPY . /src\nRUN mv /app/x /src"),
    ("F", "RUN echo hi > /dev/null"),
    ("F", "RUN git clone https://x/y /src && cp -r /src/app /opt"),
    ("F", "RUN pip install --target /opt x"),
    ("F", "RUN curl -o /dev/null https://x/app/"),
    ("F", "RUN curl -sf https://x/app | sh -c 'cat >/dev/null'"),
    ("F", "RUN wget -O- https://x/app > /srv/app"),
    ("F", "RUN wget -q -O /dev/null https://x"),
    ("F", "WORKDIR /app\nRUN wget -qO- https://x > /srv/x"),
    ("F", "WORKDIR /app\nRUN curl -s https://x > /srv/x"),
    ("F", "WORKDIR /app\nRUN tar -C /opt -xf /x.tar"),
    ("F", "WORKDIR /app\nRUN unzip /x.zip -d /opt"),
    ("F", "WORKDIR /app\nRUN git clone https://x /src"),
    ("F", "WORKDIR /app\nRUN go build -o /bin/x ./..."),
    ("P", "WORKDIR /app\nRUN go build"),
    ("F", "WORKDIR /app\nRUN go env"),
    ("F", "WORKDIR /app\nRUN go mod download"),
    ("F", "WORKDIR /app\nRUN pip install -r /x.txt && pip --version"),
    ("F", "WORKDIR /app\nRUN mkdir -p static media"),
    ("F", "WORKDIR /app\nRUN useradd x; chown x ."),
    ("F", "WORKDIR /app\nRUN apk add --no-cache x"),
    ("F", "WORKDIR /app\nRUN echo x"),
    ("F", "WORKDIR /app\nRUN ln -s /x y"),
    ("P", "WORKDIR /app\nRUN echo x > y"),
    ("P", "WORKDIR /app\nRUN echo x >> ./y/z"),
    ("F", "WORKDIR /app\nRUN echo x > ../y"),
    ("F", "WORKDIR /app\nRUN cd .. && echo x > y"),
    ("F", "WORKDIR /app\nRUN cp /x /y"),
    ("P", "WORKDIR /app\nRUN cp /x y"),
    ("P", "WORKDIR /app\nRUN mv /x/* ."),
    ("P", "WORKDIR /app\nRUN cp -a /x/. ./"),
    ("F", "WORKDIR /app\nRUN cp -r . /x"),
    ("F", "WORKDIR /app\nRUN cp a /x/"),
    ("P", "WORKDIR /app\nADD . ."),
    ("P", "WORKDIR /app\nADD https://x/y ."),
    ("P", "WORKDIR /app\nCOPY --from=org/x /x ."),
    ("P", "COPY --from=org/x /x /app/y"),
    ("P", "COPY --chmod=755 --link a /app/"),
    ("F", "COPY --from=org/x /app/version.json /app/version.json"),
    ("F", "WORKDIR /app\nCOPY version.json ."),
    ("F", "WORKDIR /app\nCOPY version.json version.json"),
    ("F", "WORKDIR /app\nCOPY ./version.json ./"),
    ("F", "WORKDIR /app/\nADD version.json ./version.json"),
    ("F", 'COPY ["version.json", "/app/"]'),
    ("F", "ENV D=/app\nCOPY version.json $D/"),
    ("F", "WORKDIR /app\nRUN echo '{\"version\": 1}' > version.json"),
    ("F", "RUN printf x | tee /app/version.json"),
    ("F", "RUN cp /src/version.json /app/version.json"),
    ("F", "COPY . /src\nRUN cp /src/version.json /app"),
    ("F", "RUN mv /tmp/version.json /app/"),
    ("F", "RUN ln -s /x /app/version.json"),
    ("F", "RUN install -m 644 version.json /app/version.json"),
    ("F", "RUN cp /tmp/v.json /app/version.json"),
    ("F", "RUN touch /app/version.json"),
    ("F", "RUN wget -O /app/version.json x"),
    ("F", "WORKDIR /app\nRUN wget https://x/version.json"),
    ("F", "WORKDIR /app\nRUN curl -O https://x/version.json"),
    ("?", "RUN python -c \"open('/app/x','w')\""),
    ("P", "ARG DIR=app\nCOPY . /$DIR"),
    ("F", "ARG DIR=srv\nCOPY . /$DIR"),
    ("?", "ARG DIR\nCOPY . /$DIR"),
    ("F", "ARG DIR\nCOPY . /opt/$DIR"),
    ("P", "ARG DIR\nCOPY . /app/$DIR"),
    ("?", "ARG DIR\nCOPY . /app$DIR"),
    ("F", "ENV A=/app B=${A}/x\nCOPY . ${B}"),
    ("P", "ENV A=/app\nENV B=${A}/x\nCOPY . ${B}"),
    ("F", "ENV A=/srv\nENV A=/srv B=$A\nCOPY . $B"),
    ("F", "COPY --from=b . /srv\n#COPY . /app"),
    ("F", "RUN true \\\n#  && cp x /app\n && true"),
    ("F", 'RUN echo "cp x /app"'),
    ("F", "RUN sh -c 'cd /app' && cp /a b"),
    ("P", "RUN sh -c 'cd /app && cp /a b'"),
    ("P", "RUN pushd /app && cp /a b"),
    ("F", "RUN pushd /app && popd && cp /a /b"),
    ("?", "RUN cd $(cat /y) && cp /a b"),
    ("P", "RUN for f in a b; do cp /src/$f /app/; done"),
    ("P", "RUN set -e; D=/app; mkdir -p $D; cp -r /src $D"),
    ("P", "RUN test -f /x && true; cp /a /app/"),
    ("P", "RUN cp /a /app/ || true"),
    ("P", "RUN apt-get install -y x && cp /a /app/"),
    ("F", "RUN false && cp /a /app/ || true"),
    ("?", "RUN test -f /a && cp /a /app/ || true"),
    ("F", "RUN true || cp /a /app/"),
    ("P", "RUN --mount=target=/src cp -r /src/* /app/"),
    ("P", "RUN --mount=type=bind,target=/src,ro cd /src && cp -r . /app"),
    ("F", "RUN --mount=type=tmpfs,target=/app touch /app/x"),
    ("F", "RUN --mount=type=bind,dst=/app ls /app"),
    ("F", "WORKDIR /app\nRUN --mount=type=bind,target=. go build -o /x ."),
    ("F", "WORKDIR /app\nRUN --mount=type=bind,target=. npm run build"),
    ("P", "RUN dd if=/x of=/app/y"),
    ("P", "RUN base64 -d /x > /app/y"),
    ("P", "RUN cat /x > /app/y"),
    ("P", "RUN cat /x | tee /app/y > /dev/null"),
    ("P", "RUN rsync -a /x /app"),
    ("P", "RUN scp h:/x /app/"),
    ("P", "RUN cp -r --target-directory=/app /x"),
    ("P", "RUN svn co https://x /app"),
    ("P", "RUN hg clone https://x /app"),
    ("P", "RUN 7z x a.7z -o/app"),
    ("P", "RUN bsdtar -xf x -C /app"),
    ("P", "RUN python3 -m venv /app/.venv && /app/.venv/bin/pip install x"),
    ("P", "RUN uv venv /app/.venv"),
    ("P", "RUN pip wheel -w /app/wheels x"),
    ("P", "RUN pip download -d /app/x y"),
    ("P", "RUN cargo build --release --target-dir /app/target"),
    ("P", "RUN gcc -o /app/x x.c"),
    ("P", "RUN javac -d /app X.java"),
    ("P", "RUN dotnet publish --output=/app"),
    ("?", "RUN mvn package -DoutputDirectory=/app"),
    ("?", "RUN npm install --prefix /app x"),
    ("?", "RUN make install DESTDIR=/app"),
    ("?", "WORKDIR /app\nRUN npm install express"),
    ("?", "RUN django-admin startproject x /app"),
    ("?", "RUN composer create-project x /app"),
    ("F", "RUN make install"),
    ("F", "RUN npm ci"),
]

# Of all five.
DOCKERFILES = [
    (
        "PPPPP",
        "FROM alpine:3\nRUN addgroup -g 10001 app && adduser -u 10001 -G app -s /bin/sh -D app\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM org/x\nRUN addgroup -g 10001 app && adduser -u 10001 -G app -s /bin/sh -D app\n" + T,
    ),
    (
        "PPPPP",
        "FROM org/x\nRUN addgroup --gid 10001 app && adduser --uid 10001 --gid 10001 --disabled-password --gecos '' app\n"
        + T,
    ),
    ("PPPPP", "FROM alpine:3\nRUN adduser -u 10001 -D app && sed -i 's/x/y/' /etc/motd\n" + T),
    (
        "PPPPP",
        "FROM alpine:3\nRUN apk add --update shadow && groupadd -g 10001 app; useradd -u 10001 -g app app\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM alpine:3\nRUN apk --no-cache add shadow~=4 && groupadd -g 10001 app && useradd -u 10001 -g app app\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM alpine:3\nRUN apk add --no-cache $(cat pkgs) && groupadd -g 10001 app && useradd -u 10001 -g app app\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM alpine:3\nRUN addgroup -g 10001 app; adduser -h /app -D -u 10001 -G app app; chown app:app /x\n"
        + T,
    ),
    ("PPFPP", "FROM alpine:3\nRUN addgroup -g 10001 app; adduser -D -u 10001 -G nogroup app\n" + T),
    ("PFFPP", "FROM alpine:3\nRUN adduser -D -u 10001 -G app app\n" + T),
    (
        "PPPPP",
        "FROM alpine:3\nRUN set -ex \\\n && addgroup -S -g 10001 app \\\n && adduser -S -u 10001 -D -h /app -s /sbin/nologin -G app app\n"
        + T,
    ),
    ("PFFPP", "FROM alpine:3\nRUN addgroup -S app && adduser -S -G app app\n" + T),
    (
        "PPPPP",
        "FROM alpine:3\nRUN echo 'app:x:10001:10001:app:/:/bin/sh' >> /etc/passwd && echo 'app:x:10001:app' >> /etc/group && echo 'app:!::' >> /etc/shadow\n"
        + T,
    ),
    (
        "PPPPP",
        'FROM org/x\nRUN if [ "$(cat /etc/alpine-release | wc -l)" = 1 ]; then addgroup -g 10001 app && adduser -D -u 10001 -G app app; else groupadd -g 10001 app && useradd -u 10001 -g app app; fi\n'
        + T,
    ),
    ("PPPPP", B + "RUN useradd -u 10001 -U -m app && id app\n" + T),
    ("PPPPP", B + "RUN useradd app --uid 10001 --user-group --create-home --shell /bin/bash\n" + T),
    ("PPPPP", B + "RUN useradd -u 10001 -M -N -g $(groupadd -g 10001 app; echo app) app\n" + T),
    ("PFFPP", B + "RUN useradd() { :; }; useradd -u 10001 app\n" + T),
    (
        "PFFPP",
        B
        + "RUN groupadd() { true; }; useradd() { true; }; groupadd -g 10001 app; useradd -u 10001 -g app app\n"
        + T,
    ),
    ("PFFPP", B + "RUN set -n; false || exit 0; useradd -u 10001 app\n" + T),
    ("PFFPP", B + "RUN echo ok; exit; useradd -u 10001 app\n" + T),
    ("PFFPP", B + "RUN : useradd -u 10001 app\n" + T),
    ("PFFPP", B + "RUN true useradd -u 10001 app\n" + T),
    ("PFFPP", B + "RUN test useradd -u 10001 app || true\n" + T),
    ("PFFPP", B + "RUN cat <<E\nuseradd -u 10001 app\nE\n" + T),
    ("PFFPP", B + "RUN X='useradd -u 10001 app'\n" + T),
    ("PFFPP", B + "RUN X='useradd -u 10001 app'; echo $X\n" + T),
    ("PPPPP", B + "RUN X='useradd -u 10001 app'; $X\n" + T),
    ("PPPPP", B + "RUN X='useradd -u 10001 app'; eval \"$X\"\n" + T),
    ("PFFPP", B + "RUN X='useradd -u 10001 app'; \"$X\"\n" + T),
    ("PFFPP", B + "RUN export X=10001 && bash -c 'useradd -u $Y app'\n" + T),
    ("PPPPP", B + "RUN export X=10001 && bash -c 'useradd -u $X app'\n" + T),
    ("PFFPP", B + "RUN grep -q '^app:' /etc/passwd && useradd -u 10001 app || true\n" + T),
    ("PPPPP", B + "RUN grep -q '^app:' /etc/passwd || useradd -u 10001 app\n" + T),
    (
        "PPPPP",
        B
        + "RUN if id -u app 2>/dev/null; then usermod -u 10001 app; else useradd -u 10001 app; fi\n"
        + T,
    ),
    (
        "P??PP",
        "FROM org/x\nRUN if id -u app 2>/dev/null; then echo ok; else useradd -u 10001 app; fi\n"
        + T,
    ),
    ("P?PPP", "FROM org/x\nRUN groupadd -f -g 10001 app; useradd -u 10001 -g app app\n" + T),
    ("PPPPP", "FROM org/x\nRUN groupadd -o -g 10001 app; useradd -o -u 10001 -g app app\n" + T),
    (
        "PPPPP",
        "FROM node:20\nRUN userdel -r node; groupadd -g 10001 app; useradd -u 10001 -g app app\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM node:20\nRUN usermod -u 10001 node; groupmod -g 10001 node; usermod -l app node; groupmod -n app node\n"
        + T,
    ),
    ("PFPPP", "FROM node:20\nRUN usermod -u 10001 -l app node; groupmod -n app node\n" + T),
    ("PPFPP", "FROM node:20\nRUN groupmod -g 10001 -n app node\n" + T),
    ("PFFPP", "FROM node:20-alpine\nRUN usermod -u 10001 node && groupmod -g 10001 node\n" + T),
    (
        "P?PPP",
        "FROM org/x\nRUN usermod -l app -u 10001 web; groupmod -n app web; usermod -g app app\n"
        + T,
    ),
    ("FPPPP", B + IDS + "COPY . /src\nRUN cp -r /src/version.json /app/version.json\n" + E),
    ("FPPPP", B + IDS + "COPY . /src\nRUN cd /src && cp version.json /app\n" + E),
    ("FPPPP", B + IDS + "COPY . /app\nRUN mv /app /opt/app && mkdir /app\n" + E),
    ("FPPPP", B + IDS + "RUN ls /app/*\n" + E),
    ("?PPPP", B + IDS + "ARG X\nCOPY . /app\nRUN rm -rf $X\n" + E),
    ("?PPPP", B + IDS + "COPY . /app\nRUN if [ -f /x ]; then rm -rf /app; fi\n" + E),
    ("PPPPP", B + IDS + "COPY . /app\nRUN cd /app && rm -rf tests docs\n" + E),
    ("FPPPP", B + IDS + "COPY . /app\nWORKDIR /\nRUN rm -rf app\n" + E),
    ("FPPPP", B + IDS + "COPY . /app\nRUN cd / && rm -rf ./app\n" + E),
    ("PPPPP", B + IDS + "COPY . /app\nVOLUME /app/data\n" + E),
    ("PPPPP", B + IDS + "COPY --chown=app . /app/\nRUN pip install -e /app\n" + E),
    ("FPPPP", B + IDS + "WORKDIR /app\nUSER app\nRUN id\n" + E),
    ("PPPPP", B + IDS + "COPY src/ /app/src/\nCOPY version.json /app/\n" + E),
    ("PPPPP", B + IDS + "COPY *.py /app/\n" + E),
    ("PPPPP", B + IDS + "COPY package*.json ./\nWORKDIR /app\nCOPY . ./\n" + E),
    ("PPPPP", B + IDS + 'COPY ["package.json", "yarn.lock", "/app/"]\n' + E),
    ("FPPPP", B + IDS + 'COPY ["version.json", "/app/version.json"]\n' + E),
    ("FPPPP", B + IDS + "COPY --from=x --chown=a:b /app/ /srv/\n" + E),
    ("PPPPP", B + IDS + "ADD --chown=app:app https://x/y.git /app\n" + E),
    ("PPPPP", B + IDS + "ADD git@github.com:x/y.git /app\n" + E),
    ("PPPPP", B + IDS + "COPY <<EOF1 <<EOF2 /app/\na\nEOF1\nb\nEOF2\n" + E),
    ("PPPPP", B + IDS + "RUN <<EOF\nmkdir /app\ncat <<X > /app/y\nhello\nX\nEOF\n" + E),
    ("FPPPP", B + IDS + "RUN <<EOF\nmkdir /app\ncat <<X > /srv/y\ncp x /app\nX\nEOF\n" + E),
    (
        "PPPPP",
        B
        + IDS
        + "RUN mkdir /app \\\n && cd /app \\\n && curl -sL https://x | tar xz --strip-components=1\n"
        + E,
    ),
    (
        "FPPPP",
        B
        + IDS
        + "RUN mkdir /app \\\n && cd /opt \\\n && curl -sL https://x | tar xz --strip-components=1\n"
        + E,
    ),
    (
        "PPPPP",
        B + IDS + "RUN mkdir -p /app && git clone --branch=$V https://x/y.git /app --depth=1\n" + E,
    ),
    ("PPPPP", B + IDS + "RUN git clone https://x/y.git /tmp/y && mv /tmp/y /app\n" + E),
    (
        "PPPPP",
        B
        + IDS
        + "RUN git clone https://x/y.git /tmp/y && cp -R /tmp/y/* /app && rm -rf /tmp/y\n"
        + E,
    ),
    (
        "PPPPP",
        B + IDS + "RUN set -eux; wget -O /tmp/x.zip https://x; unzip -q /tmp/x.zip -d /app\n" + E,
    ),
    (
        "PPPPP",
        B
        + IDS
        + "RUN apt-get update && apt-get install -y git && git clone https://x /app && apt-get purge -y git\n"
        + E,
    ),
    (
        "PPPPP",
        B
        + IDS
        + "ENV APP_HOME=/app\nRUN mkdir $APP_HOME\nWORKDIR $APP_HOME\nADD . $APP_HOME\n"
        + E,
    ),
    ("PPPPP", B + IDS + "ENV HOME=/app\nWORKDIR $HOME\nCOPY . .\n" + E),
    ("PPPPP", B + IDS + "RUN mkdir /app\nWORKDIR app\nCOPY . .\n" + E),
    ("FPPPP", B + IDS + "WORKDIR /usr/src/app\nCOPY . .\n" + E),
    ("FPPPP", B + IDS + "WORKDIR /home/app\nCOPY . .\n" + E),
    ("FPPPP", B + IDS + "WORKDIR /opt\nCOPY . app\n" + E),
    ("PPPPP", B + IDS + "WORKDIR /\nCOPY . app/\n" + E),
    ("PPPPP", B + IDS + "COPY ./app /app\n" + E),
    ("PPPPP", B + IDS + "COPY app app\n" + E),
    ("FPPPP", B + IDS + "COPY app /\n" + E),
    ("FPPPP", B + IDS + "ADD app.tar.gz /srv\n" + E),
    (
        "PPPPP",
        "FROM composer AS v\nCOPY . .\nFROM python:3\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=v /app /app\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM python AS v\nWORKDIR /app\nCOPY . .\nRUN make\nFROM python:3\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=v /app/x /usr/bin/x\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM python AS v\nWORKDIR /app\nCOPY . .\nFROM python:3\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nWORKDIR /app\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM python AS v\nWORKDIR /app\nCOPY . .\nFROM python:3\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nWORKDIR /app\nCOPY --from=v /app .\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM python AS v\nWORKDIR /app\nCOPY . .\nFROM python:3\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=v /app/ /app/\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM python AS v\nWORKDIR /b\nCOPY . .\nFROM python:3\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=v /b/dist /app\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM python AS v\nWORKDIR /app\nCOPY version.json .\nFROM python:3\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=v /app /app\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM python AS v\nWORKDIR /app\nCOPY version.json .\nFROM v\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM python AS v\nWORKDIR /app\nCOPY . .\nFROM v AS w\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM python AS base\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM base AS deps\nRUN pip install x\nFROM base AS final\nCOPY --from=deps /usr/local /usr/local\n"
        + T,
    ),
    (
        "PFFPP",
        "FROM python AS base\nFROM base AS deps\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM base AS final\nCOPY --from=deps /usr/local /usr/local\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS base\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=base / /\n"
        + T,
    ),
    (
        "FPPPP",
        "FROM python AS base\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=base / /\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM python AS base\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nFROM scratch\nCOPY --from=base / /\n"
        + E,
    ),
    ("FFFFF", "FROM scratch\n"),
    ("FFFFF", "FROM python\n"),
    ("?????", "FROM org/x\n"),
    ("?????", "FROM ${X}\n"),
    ("FFF?F", "FROM nginx\n"),
    (
        "FPPPP",
        "FROM golang AS b\nRUN go build -o /out/app .\nFROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=b /out/app /\n"
        + E,
    ),
    (
        "?PPPP",
        "FROM golang AS b\nRUN go build -o /out/server .\nFROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=b /out/server /app\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM golang AS b\nRUN go build -o /out/server .\nFROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=b /out/server /app/\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM golang AS b\nRUN go build -o /out/server .\nFROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nWORKDIR /app\nCOPY --from=b /out/server .\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM golang AS b\nRUN go build -o /out/server .\nFROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=b /out /app\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM golang AS b\nCOPY . /src\nFROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=b /src /app\n"
        + E,
    ),
    ("?PPPP", B + IDS + "RUN go build -o /app .\n" + E),
    ("?PPPP", B + IDS + "RUN curl -o /app https://x\n" + E),
    ("PPPPP", B + IDS + "RUN cp -r /src /app\n" + E),
    ("PPPPP", B + IDS + "RUN mkdir /app && cp x /app\n" + E),
    ("PPPPP", B + IDS + "RUN mv /src /app\n" + E),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM a\n"
        + T,
    ),
    (
        "PFFPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM python\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM a AS b\nFROM b\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=a /etc /etc\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=a /etc/ /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=0 / /\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=a --chown=0:0 /etc/passwd /etc/group /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=a /etc/pass* /etc/group /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=a --parents /etc/passwd /etc/group /\n"
        + T,
    ),
    (
        "PPFPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=a /etc/group /etc/group\n"
        + T,
    ),
    (
        "PFFPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=a /etc/passwd /etc/group /\n"
        + T,
    ),
    (
        "PFFPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM scratch\nCOPY --from=a /etc/hosts /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN mkdir -p /out/etc && echo 'app:x:10001:10001::/:' > /out/etc/passwd && echo 'app:x:10001:' > /out/etc/group\nFROM scratch\nCOPY --from=a /out/ /\n"
        + T,
    ),
    ("P??PP", "FROM scratch\nCOPY passwd group /etc/\n" + T),
    ("P??PP", "FROM scratch\nCOPY --from=org/img /etc/passwd /etc/group /etc/\n" + T),
    ("PFFPP", "FROM scratch\nCOPY --from=busybox /etc/passwd /etc/group /etc/\n" + T),
    (
        "PPPPP",
        "FROM scratch\nCOPY <<A /etc/passwd\napp:x:10001:10001::/:\nA\nCOPY <<B /etc/group\napp:x:10001:\nB\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM scratch\nARG ID=10001\nCOPY <<A /etc/passwd\napp:x:${ID}:$ID::/:\nA\nCOPY <<B /etc/group\napp:x:$ID:\nB\n"
        + T,
    ),
    (
        "PFFPP",
        "FROM scratch\nARG ID=10001\nCOPY <<'A' /etc/passwd\napp:x:${ID}:$ID::/:\nA\nCOPY <<'B' /etc/group\napp:x:$ID:\nB\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN <<EOF\nset -e\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN <<-EOF\n\tgroupadd -g 10001 app\n\tuseradd -u 10001 -g app app\n\tEOF\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN <<EOF bash -e\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN bash <<'EOF'\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN <<EOF\n#!/bin/bash\ngroupadd -g 10001 app\nuseradd -u 10001 -g app app\nEOF\n"
        + T,
    ),
    ("PFFPP", "FROM python:3.13-slim\nRUN <<EOF\n#!/usr/bin/env python\nprint('hello')\nEOF\n" + T),
    (
        "P??PP",
        "FROM python:3.13-slim\nRUN <<EOF\n#!/usr/bin/env python\nimport os; os.system('useradd -u 10001 app')\nEOF\n"
        + T,
    ),
    ("PFFPP", "FROM python:3.13-slim\nRUN cat <<EOF > /x\ngroupadd -g 10001 app\nEOF\n" + T),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN cat <<EOF >> /etc/passwd && echo app:x:10001: >> /etc/group\napp:x:10001:10001::/:\nEOF\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nCOPY <<EOF /s.sh\nuseradd -u 10001 app\nEOF\nRUN sh /s.sh\n" + T,
    ),
    ("P??PP", "FROM python:3.13-slim\nCOPY s.sh /\nRUN sh /s.sh\n" + T),
    ("PPPPP", 'FROM python:3.13-slim\nSHELL ["/bin/bash", "-c"]\nRUN useradd -u 10001 app\n' + T),
    ("P??PP", 'FROM python:3.13-slim\nSHELL ["pwsh", "-Command"]\nRUN useradd -u 10001 app\n' + T),
    ("PFFPP", "FROM python\nENV ID=1000\nARG ID=10001\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python\nARG ID=1000\nENV ID=10001\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python AS a\nENV ID=10001\nFROM a\nARG ID=5\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python AS a\nARG ID=10001\nFROM a\nRUN useradd -u $ID app\n" + T),
    ("PFFPP", "FROM python AS a\nARG ID=10001\nFROM python\nRUN useradd -u $ID app\n" + T),
    ("P??PP", "FROM python\nARG ID\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python\nARG ID\nRUN useradd -u ${ID:-10001} app\n" + T),
    ("PPPPP", "FROM python\nARG A=1000${X}1\nARG ID=${A:+10001}\nRUN useradd -u $ID app\n" + T),
    ("PPPPP", "FROM python\nENV A=10001\nENV ID=${A:-5}\nRUN useradd -u ${ID} app\n" + T),
    ("PPPPP", "FROM python\nENV A=x A2=$A\nENV ID 10001\nRUN useradd -u ${ID} app\n" + T),
    (
        "PPPPP",
        "ARG BASE=python:3\nFROM ${BASE} AS x\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\n"
        + T,
    ),
    ("P??PP", "ARG BASE\nFROM ${BASE} AS x\n" + T),
    ("PFFPP", "FROM --platform=linux/amd64 python:3.13@sha256:aa AS x\n" + T),
    ("PFFPP", "FROM docker.io/library/python:3\n" + T),
    ("P??PP", "FROM quay.io/org/python:3\n" + T),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER root\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER root\nUSER app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER web\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPP?",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nARG U\nUSER $U\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nARG U\nUSER ${U:-app}\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER $U\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER 10001\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER 'app'\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER 1000:10001\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPF-",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nCMD y\n",
    ),
    (
        "PPPFP",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT y\n",
    ),
    (
        "PPPFP",
        'FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT ["x"]\nCMD ["y"]\nENTRYPOINT []\n',
    ),
    (
        "PPPFP",
        'FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT ["x"]\nCMD []\n',
    ),
    (
        "PPP?P",
        'FROM node:20\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nCMD ["npm", "start"]\n',
    ),
    (
        "PPPFP",
        'FROM node:20\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT ["npm", "start"]\n',
    ),
    (
        "PPPFP",
        'FROM scratch\nCOPY --from=python /x /y\nCOPY <<A /etc/passwd\napp:x:10001:10001::/:\nA\nCOPY <<A /etc/group\napp:x:10001:\nA\nCOPY . /app\nUSER app\nCMD ["y"]\n',
    ),
    (
        "PPPFP",
        'FROM python AS b\nENTRYPOINT ["x"]\nCMD ["y"]\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nFROM b\nENTRYPOINT ["z"]\n',
    ),
    (
        "PPPPP",
        'FROM python AS b\nENTRYPOINT ["x"]\nCMD ["y"]\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nFROM b\nCMD ["z"]\n',
    ),
    (
        "PPPPP",
        'FROM python AS b\nONBUILD COPY . /app\nONBUILD USER app\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM b\nENTRYPOINT ["z"]\nCMD ["a"]\n',
    ),
    (
        "FPPPF",
        'FROM python AS b\nONBUILD COPY . /app\nONBUILD USER app\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nFROM b AS c\nFROM python AS d\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nENTRYPOINT ["z"]\nCMD ["a"]\n',
    ),
    (
        "PFFPP",
        "FROM python\nUSER nobody\nRUN groupadd -g 10001 app && useradd -u 10001 -g app app\n" + T,
    ),
    ("PPPPP", "FROM python\nUSER nobody\nRUN sudo useradd -u 10001 app\n" + T),
    ("PPPPP", "FROM python\nUSER root\nRUN useradd -u 10001 app\n" + T),
    (
        "PPPPP",
        "FROM node:20\nRUN groupmod -g 10001 -n app node && usermod -u 10001 -l app node\n" + T,
    ),
    (
        "PPPPP",
        "FROM node:20\nRUN usermod -l app -u 10001 node && groupmod -n app -g 10001 node\n" + T,
    ),
    (
        "PPPPP",
        "FROM node:20-alpine\nRUN deluser --remove-home node && addgroup -S app -g 10001 && adduser -S -G app -u 10001 app\n"
        + T,
    ),
    ("P-FPP", "FROM node:20\nRUN usermod -l app node\n" + T),
    (
        "FPPPP",
        "FROM golang AS b\nRUN go build -o /server\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /server /\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM golang AS b\nRUN go build -o /server\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /server /usr/local/bin/\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM node AS b\nWORKDIR /app\nCOPY . .\nRUN npm ci\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /app /app\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM node AS b\nWORKDIR /app\nCOPY . .\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /app/dist /usr/share/x\n"
        + E,
    ),
    (
        "FPPPP",
        "FROM alpine AS b\nWORKDIR /app\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b /app /app\n"
        + E,
    ),
    (
        "PPPPP",
        "FROM alpine AS b\nWORKDIR /app\nCOPY . .\nFROM alpine\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\nCOPY --from=b / /\nRUN addgroup -g 10001 app && adduser -D -u 10001 -G app app\n"
        + E,
    ),
    ("PFFPP", "FROM scratch\nCOPY --from=debian /etc/passwd /etc/passwd\n" + T),
    (
        "PFFPP",
        "FROM debian AS a\nRUN useradd -u 10001 app\nFROM a AS b\nRUN userdel app && groupdel app\nFROM b\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM debian AS a\nRUN useradd -u 10001 app\nFROM a AS b\nRUN userdel app\nFROM a\n" + T,
    ),
    ("PFFPP", "FROM debian AS a\nRUN useradd -u 10001 app\nFROM debian AS a\nFROM a\n" + T),
    ("PPPPP", "FROM debian AS Base\nRUN useradd -u 10001 app\nFROM base\n" + T),
    (
        "PPPPP",
        "FROM debian AS a\nRUN useradd -u 10001 app\nFROM scratch AS s\nCOPY --from=a /etc/passwd /etc/group /etc/\nFROM scratch\nCOPY --from=s / /\n"
        + T,
    ),
    (
        "PFPPP",
        "FROM debian AS a\nRUN useradd -u 10001 app\nFROM scratch\nCOPY --from=a /etc/passwd /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM debian AS a\nRUN useradd -u 10001 app && cp /etc/passwd /etc/group /out/\nFROM scratch\nCOPY --from=a /out/passwd /out/group /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM debian AS a\nRUN useradd -u 10001 app && mkdir /out && grep app /etc/passwd > /out/p && grep app /etc/group > /out/g\nFROM scratch\nCOPY --from=a /out/p /etc/passwd\nCOPY --from=a /out/g /etc/group\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM busybox AS a\nRUN echo 'app:x:10001:10001:app:/app:' > /passwd && echo 'app:x:10001:' > /group\nFROM scratch\nCOPY --from=a /passwd /group /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM busybox AS a\nWORKDIR /x/etc\nRUN echo 'app:x:10001:10001:app:/app:' > passwd && echo 'app:x:10001:' > group\nFROM scratch\nCOPY --from=a /x /\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM busybox AS a\nRUN adduser -D -u 10001 app\nFROM scratch\nCOPY --from=a /etc/passwd /etc/passwd\nCOPY --from=a /etc/group /etc/group\n"
        + T,
    ),
    ("P??PP", "FROM org/x AS a\nFROM scratch\nCOPY --from=a /etc/passwd /etc/group /etc/\n" + T),
    (
        "PPPPP",
        "FROM org/x AS a\nRUN useradd -u 10001 app\nFROM scratch\nCOPY --from=a /etc/passwd /etc/group /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM org/x AS a\nFROM python\nCOPY --from=a /x /usr/x\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\n"
        + T,
    ),
    ("P??PP", "FROM python\nCOPY --from=org/x /etc /etc\n" + T),
    ("P??PP", "FROM python\nCOPY --from=org/x / /\n" + T),
    (
        "PPPPP",
        "FROM python\nCOPY --from=org/x / /\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\n"
        + T,
    ),
    (
        "P??PP",
        "FROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=org/x / /\n"
        + T,
    ),
    (
        "P??PP",
        "FROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=org/x /etc/passwd /etc/group /etc/\n"
        + T,
    ),
    (
        "PFFPP",
        "FROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY --from=busybox /etc/passwd /etc/group /etc/\n"
        + T,
    ),
    (
        "P??PP",
        "FROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY passwd group /etc/\n"
        + T,
    ),
    (
        "P??PP",
        "FROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nADD passwd /etc/passwd\nADD group /etc/group\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY nginx.conf /etc/nginx/\nCOPY x /etc/x\nCOPY rootfs/ /x/\n"
        + T,
    ),
    (
        "PPPPP",
        "FROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY a b /etc/\n"
        + T,
    ),
    (
        "PPPPP",
        'FROM python AS a\nSHELL ["/bin/bash", "-o", "pipefail", "-euxc"]\nRUN useradd -u 10001 app\n'
        + T,
    ),
    ("PFFPP", 'FROM python AS a\nSHELL ["/bin/bash", "-c"]\nRUN echo useradd -u 10001 app\n' + T),
    ("PPPPP", 'FROM python\nRUN ["sh", "-c", "useradd -u 10001 app"]\n' + T),
    ("PFFPP", 'FROM python\nENV ID=10001\nRUN ["useradd", "-u", "$ID", "app"]\n' + T),
    ("PPPPP", 'FROM python\nENV ID=10001\nRUN ["sh", "-c", "useradd -u $ID app"]\n' + T),
    ("P??PP", "FROM python\nRUN ['useradd', '-u', '10001', 'app']\n" + T),
    ("PPPPP", 'FROM python\nRUN useradd -u 10001 app # ["x"]\n' + T),
    ("PPPPP", "FROM python\nARG A=1\nARG B=${A}0001\nRUN useradd -u $B app\n" + T),
    ("PFFPP", "FROM python\nRUN useradd -u $B app\nARG B=10001\n" + T),
    ("PPPPP", "ARG B=10001\nFROM python\nARG B=10001\nRUN useradd -u $B app\n" + T),
    ("PFFPP", "ARG B=10001\nFROM python\nARG B=1000\nRUN useradd -u $B app\n" + T),
    ("PPPPP", "FROM python\nARG A B=10001\nRUN useradd -u $B app\n" + T),
    ("PPPPP", 'FROM python\nARG B="10001"\nRUN useradd -u $B app\n' + T),
    ("PPPPP", "FROM python\nARG N='app'\nENV N=${N}\nRUN useradd -u 10001 $N\n" + T),
    ("PFFPP", "FROM python\nENV N=\nRUN useradd -u 10001 $N\n" + T),
    ("PPPPP", "FROM python\nENV B=10001\nENV B=$B\nRUN useradd -u $B app\n" + T),
    ("PFFPP", "FROM python\nENV B=5 C=10001\nRUN useradd -u $B app\n" + T),
    ("PFFPP", "FROM python\nONBUILD RUN useradd -u 10001 app\n" + T),
    ("PPPPP", "FROM python AS a\nONBUILD ARG B=10001\nONBUILD RUN useradd -u $B app\nFROM a\n" + T),
    (
        "PFFPP",
        "FROM python AS a\nONBUILD RUN useradd -u 10001 app\nFROM a AS b\nRUN userdel app && groupdel app\nFROM b\n"
        + T,
    ),
    ("PPPPP", "FROM python\nRUN <<A cat > /x && useradd -u 10001 app\nhello\nA\n" + T),
    ("P??PP", "FROM python\nCOPY bin/add-user /usr/local/bin/\nRUN add-user app\n" + T),
    ("P??PP", "FROM python\nCOPY bin/add-user /usr/bin/\nRUN /usr/bin/add-user app\n" + T),
    ("PPPPP", "FROM python\nCOPY bin/add-user /usr/bin/\nRUN add-user app\n" + IDS + T),
    ("PFFPP", "FROM python\nCOPY start /usr/local/bin/\nRUN chmod +x /usr/local/bin/start\n" + T),
    ("PFFPP", "FROM php\nADD https://example.com/add /usr/local/bin/\nRUN add gd\n" + T),
    ("PPPPP", "FROM php:cli\nWORKDIR app\nCOPY . .\n" + IDS + E),
    ("FPPPP", "FROM php:fpm\nWORKDIR app\nCOPY . .\n" + IDS + E),
    ("FPPPP", "FROM golang:1\nWORKDIR app\nCOPY . .\n" + IDS + E),
    ("?PPPP", "FROM redis:8\nWORKDIR app\nCOPY . .\n" + IDS + E),
    ("PPP?P", "FROM clojure\nCOPY . /app\n" + IDS + 'USER app\nCMD ["x"]\n'),
    ("PPPPP", 'FROM python\nRUN <<"A" bash\nB=10001\nuseradd -u $B app\nA\n' + T),
    ("PPPPP", 'FROM python\nSHELL ["bash", "-c"]\nRUN grep -q x <<<"xyz"\n' + IDS + T),
    ("PPPPP", "FROM python\nRUN bash -c 'read a <<< foo'\n" + IDS + T),
    ("PPPPP", 'FROM python\nRUN echo $((1<<B)) $((1 << B)) "see <<EOF in bash"\n' + IDS + T),
    ("PPPPP", "FROM python\nENV\tHOME_OF_APP\t/app\n" + IDS + "COPY . $HOME_OF_APP\n" + E),
    ("PFFPP", "FROM python\nRUN <<A cat > /x\nuseradd -u 10001 app\nA\n" + T),
    ("PPPPP", "FROM python\nRUN <<'A'\nuseradd -u 10001 app\nA\n" + T),
    ("PPPPP", "FROM python\nENV B=10001\nRUN <<A\nuseradd -u $B app\nA\n" + T),
    ("PPPPP", "FROM python\nENV B=10001\nRUN <<'A'\nuseradd -u $B app\nA\n" + T),
    ("PFFPP", "FROM python\nRUN cat > /x <<'A'\nuseradd -u 10001 app\nA\n" + T),
    ("PPPPP", "FROM python\nRUN cat > /x <<'A'\nuseradd -u 10001 app\nA\nRUN sh /x\n" + T),
    ("PPPPP", "FROM python\nRUN cat > /x.sh <<'A' && sh /x.sh\nuseradd -u 10001 app\nA\n" + T),
    (
        "PPPPP",
        "FROM python\nCOPY --chmod=755 <<A /x\n#!/bin/sh\nuseradd -u 10001 app\nA\nRUN /x\n" + T,
    ),
    (
        "PFFPP",
        "FROM python\nCOPY --chmod=755 <<A /x\n#!/bin/sh\necho useradd -u 10001 app\nA\nRUN /x\n"
        + T,
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nUSER 0\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER application\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER root:app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER 1001\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER APP\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nRUN su app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\n# USER app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPP",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nENV U=app\nUSER ${U}:${U}\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nENV U=app\nARG U=x\nUSER x$U\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPF",
        "FROM python AS a\nUSER app\nFROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPPP",
        "FROM python AS a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nUSER app\nFROM a\nCOPY . /app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPP?",
        "FROM org/a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPFP",
        "FROM org/a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT x\n",
    ),
    (
        "PPP?P",
        "FROM org/a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nCMD x\n",
    ),
    (
        "PPPFP",
        "FROM org/a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT []\nCMD x\n",
    ),
    (
        "PPPFP",
        "FROM org/a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nCMD []\n",
    ),
    (
        "PPPFP",
        "FROM gcr.io/distroless/static AS x\nFROM python\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nONBUILD ENTRYPOINT x\nCMD y\n",
    ),
    (
        "PPPFP",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT x\nLABEL CMD=x\n",
    ),
    (
        "PPPFP",
        "FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT x\nHEALTHCHECK NONE\n",
    ),
    (
        "PPPPP",
        'FROM python:3.13-slim\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nCMD ["y"]\nCMD ["z"]\nENTRYPOINT ["x"]\n',
    ),
    (
        "PPPFP",
        'FROM python AS a\nCMD ["y"]\nFROM a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT ["x"]\n',
    ),
    (
        "PPPPP",
        'FROM python AS a\nCMD ["y"]\nENTRYPOINT ["x"]\nFROM a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\n',
    ),
    (
        "PPPFP",
        'FROM python AS a\nCMD ["y"]\nENTRYPOINT ["x"]\nFROM a\nRUN groupadd --gid 10001 app && useradd --uid 10001 --gid 10001 app\nCOPY . /app\nUSER app\nENTRYPOINT []\nCMD ["z"]\n',
    ),
]


def verdicts(text: str) -> str:
    seen = Evidence(dockerfiles=[dockerfile.parse(text, "Dockerfile")])
    return "".join(LETTERS[verdict.status] for verdict in judge(seen, RULES))


def expect(text: str, expected: str) -> None:
    found = verdicts(text)
    right = "".join(e if e == "-" else f for e, f in zip(expected, found, strict=True))
    assert right == expected, f"{found} for {text}"


@pytest.mark.parametrize(
    "case",
    json.loads((SUBJECTS / "dockerfiles.json").read_text()),
    ids=lambda case: case["name"],
)
def test_dockerfiles_of_others(case):
    expect(case["dockerfile"], case["expected"])


@pytest.mark.parametrize(("expected", "commands"), COMMANDS)
def test_commands(expected, commands):
    expect(f"{B}RUN {commands}\n{T}", f"P{expected}PP")


@pytest.mark.parametrize(
    ("base", "cases"),
    [("alpine:3.20", ON_ALPINE), ("fedora:40", ON_FEDORA), ("org/base", ON_AN_UNKNOWN_BASE)],
)
def test_commands_on_other_bases(base, cases):
    for expected, commands in cases:
        expect(f"FROM {base}\nRUN {commands}\n{T}", f"P{expected}PP")


@pytest.mark.parametrize(("expected", "instructions"), SOURCES)
def test_sources(expected, instructions):
    expect(f"{B}{IDS}{instructions}\n{E}", f"{expected}PPPP")


@pytest.mark.parametrize(("expected", "text"), DOCKERFILES)
def test_dockerfiles(expected, text):
    expect(text, expected)
